//! What a person or a script sees: results on stdout, everything else on stderr; one line per fact
//! in aligned columns; colour only on a terminal.

use std::io::{self, IsTerminal, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runabout_protocol::{Encoding, LimitKind, MemoryScope, Outcome, Returned, Usage};

use crate::exit::Exit;
use crate::units::{show_bytes, show_milliseconds};

/// Writes a result to stdout, ended by one line end.
pub fn result_text(text: &str) -> anyhow::Result<Exit> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    result_bytes(format!("{text}{end}").as_bytes())
}

/// Writes a result to stdout as it is.
pub fn result_bytes(bytes: &[u8]) -> anyhow::Result<Exit> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // Whoever read us has seen enough: `runabout task list | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        other => Ok(other.map(|()| Exit::Ok)?),
    }
}

/// Writes a line to stderr.
pub fn note(line: &str) {
    // If stderr is gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// `text` in red, if stderr is a terminal.
pub fn red(text: &str) -> String {
    let wanted = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if wanted { format!("\u{1b}[31m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// One fact a line, the values aligned.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| format!("{name:width$}  {value}");
    facts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A table with aligned columns, the first row its head.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Text of other people's in one safe line: no line ends, no control sequences.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How a result that is a string is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strings {
    /// As JSON, like every other result.
    Quoted,
    /// Its text, ended by a line end.
    Unquoted,
    /// Its text and nothing else: it is what a WASI command wrote to its stdout.
    Exact,
}

impl Strings {
    /// The way for a run of a WASI command or of something else, where the user said `--raw` or
    /// did not.
    pub fn new(is_command: bool, raw: bool) -> Self {
        match (is_command, raw) {
            (true, _) => Self::Exact,
            (false, true) => Self::Unquoted,
            (false, false) => Self::Quoted,
        }
    }
}

/// Writes what a run returned: bytes as they are, strings as asked, everything else as JSON.
pub fn returned(value: &Returned, strings: Strings) -> anyhow::Result<Exit> {
    if value.encoding == Some(Encoding::Base64) {
        let text: String = value.value.read()?;
        return result_bytes(&STANDARD.decode(text)?);
    }
    match (strings, value.value.read::<String>()) {
        (Strings::Exact, Ok(text)) => result_bytes(text.as_bytes()),
        (Strings::Unquoted, Ok(text)) => result_text(&text),
        _ => result_text(value.value.text()),
    }
}

/// Tells on stderr how a run ended that returned nothing.
pub fn unhappy_end(outcome: &Outcome) {
    note(&format!("{} {}", red(&format!("{}:", outcome.kind())), describe(outcome)));
    if let Outcome::Threw(error) = outcome
        && let Some(stack) = &error.stack
    {
        stack.lines().for_each(|line| note(&format!("    {}", line.trim())));
    }
}

/// An outcome in a few words, for the place behind its kind.
pub fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Returned(Returned { encoding: Some(Encoding::Base64), .. }) => "bytes".to_owned(),
        Outcome::Returned(Returned { value, .. }) => value.text().to_owned(),
        Outcome::Threw(error) if error.message.is_empty() => error.name.clone(),
        Outcome::Threw(error) => format!("{}: {}", error.name, error.message),
        Outcome::TimedOut { limit, limit_ms } => {
            let clock = match limit {
                LimitKind::Wall => "of wall-clock time",
                LimitKind::Cpu => "of processor time",
            };
            format!("the limit of {limit_ms} ms {clock} was reached")
        }
        Outcome::OutOfMemory { limit_bytes, scope } => {
            let whose = match scope {
                MemoryScope::Run => "",
                MemoryScope::Node => " for all runs of the node",
            };
            format!("the limit of {}{whose} was reached", show_bytes(*limit_bytes))
        }
        Outcome::Cancelled => "somebody asked for it to stop".to_owned(),
        Outcome::Lost { attempts } => format!("{attempts} workers were lost while they ran it"),
    }
}

/// What a run used, in one line.
pub fn usage(usage: &Usage) -> String {
    let mut parts = vec![format!("{} wall", show_milliseconds(usage.wall_ms))];
    parts.extend(usage.cpu_ms.map(|ms| format!("{} cpu", show_milliseconds(ms))));
    parts.extend(usage.memory_peak_bytes.map(|bytes| format!("{} memory", show_bytes(bytes))));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 2]) -> [String; 2] {
        cells.map(ToOwned::to_owned)
    }

    #[test]
    fn facts_are_aligned() {
        let told = facts(&[("id", "1".to_owned()), ("state", "queued".to_owned())]);
        assert_eq!(told, "id     1\nstate  queued");
    }

    #[test]
    fn a_table_has_aligned_columns_and_no_trailing_space() {
        let told = table(&[row(["STATE", "NAME"]), row(["succeeded", "a"]), row(["x", ""])]);
        assert_eq!(told, "STATE      NAME\nsucceeded  a\nx");
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }

    #[test]
    fn outcomes_are_told_in_words() {
        assert_eq!(describe(&Outcome::threw("TypeError", "no")), "TypeError: no");
        let timed_out = Outcome::TimedOut { limit: LimitKind::Wall, limit_ms: 50 };
        assert_eq!(describe(&timed_out), "the limit of 50 ms of wall-clock time was reached");
        let full = Outcome::OutOfMemory { limit_bytes: 128 << 20, scope: MemoryScope::Node };
        assert_eq!(describe(&full), "the limit of 128.0 MiB for all runs of the node was reached");
    }

    #[test]
    fn usage_leaves_out_what_was_not_measured() {
        let used = Usage { wall_ms: 23.4, ..Usage::default() };
        assert_eq!(usage(&used), "23.4 ms wall");
    }
}
