//! `runabout run`: runs code right here, in the same sandbox a node uses, with no node at all.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use parking_lot::Mutex;
use runabout_protocol::{Checkpoint, Language, Limits, Outcome, Stream};
use runabout_sandbox::{
    Accepted, Config, Error, Invocation, Observer, Rejection, Report, Sandbox, accept,
};
use tokio_util::sync::CancellationToken;

use super::limits::LimitFlags;
use super::progress::Bar;
use super::stdin;
use crate::arguments;
use crate::exit::{Exit, Failure};
use crate::output::{self, Strings};
use crate::program::Program;

/// The most a run of one's own code on one's own machine may ask for: all that a 32-bit Wasm
/// memory can hold, and some seven weeks.
const MAXIMUM: Limits =
    Limits { timeout_ms: u32::MAX as u64, cpu_ms: u32::MAX as u64, memory_bytes: 4 << 30 };

/// Runs a file here and prints what it returns; needs no node
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout run fib.js 34
  runabout run fib.wasm 34 --export fib
  runabout run greet.ts '{\"name\": \"Ada\"}'
  runabout run wc.wasm --stdin notes.txt -- -l
  runabout run spin.js --timeout 500ms --memory 64MiB
  runabout run my-folder")]
pub struct Run {
    /// A .js, .mjs, .ts, .mts or .wasm file, or a folder with package.json or index.js
    #[arg(value_name = "FILE|DIR")]
    file: PathBuf,
    /// Arguments: JSON where they parse as JSON, else strings
    #[arg(value_name = "ARGS")]
    args: Vec<String>,
    /// The export to call; not needed where there is one
    #[arg(long, value_name = "NAME")]
    export: Option<String>,
    /// What a WASI command reads: a file, or - for stdin
    #[arg(long, value_name = "FILE|-")]
    stdin: Option<String>,
    #[command(flatten)]
    limits: LimitFlags,
    /// Print a string result without quotes; a WASI command's text always is
    #[arg(long)]
    raw: bool,
    /// Print outcome and usage as JSON, for machines
    #[arg(long)]
    json: bool,
}

impl Run {
    /// Runs the file.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let program = Program::read(&self.file)?;
        let accepted = accept(program.bytes.clone(), program.language)
            .map_err(|rejection| rejected(&program.path, &rejection))?;
        let limits = self.limits.request().resolve(MAXIMUM).map_err(|above| {
            let (field, maximum) = (above.field, above.maximum);
            Failure::new(Exit::Usage, format!("{field} must be from 1 to {maximum}"))
        })?;
        let console = Arc::new(Console::new(accepted.language));
        let invocation = Invocation {
            export: self.export.clone(),
            args: arguments::from_words(&self.args),
            stdin: stdin::read(self.stdin.clone()).await?.map(Into::into),
            limits,
            task: None,
            observer: console.clone(),
            cancel: cancelled_by_signal(),
        };
        let language = accepted.language;
        let report =
            run(accepted, invocation).await.map_err(|error| failed(&program.path, error))?;
        console.bar.clear();
        self.tell(&report, &console, language)
    }

    fn tell(&self, report: &Report, console: &Console, language: Language) -> anyhow::Result<Exit> {
        if report.output_truncated {
            output::note("[there was more output than is kept]");
        }
        if self.json {
            let machine = serde_json::json!({
                "outcome": report.outcome,
                "usage": report.usage,
                "output_truncated": report.output_truncated,
            });
            output::result_text(&machine.to_string())?;
        } else if let Outcome::Returned(value) = &report.outcome {
            output::returned(value, Strings::new(language == Language::Wasi, self.raw))?;
        } else {
            console.release()?;
            output::unhappy_end(&report.outcome);
        }
        Ok(Exit::of(&report.outcome))
    }
}

async fn run(accepted: Accepted, invocation: Invocation) -> Result<Report, Error> {
    let mut config = Config::for_this_machine();
    config.maximum = MAXIMUM;
    config.memory_total_bytes = config.memory_total_bytes.max(invocation.limits.memory_bytes);
    config.threads = 1;
    config.concurrent_runs_max = 1;
    config.cache_dir = cache_dir(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"));
    let sandbox = Sandbox::new(config)?;
    let Accepted { bytes, digest, language, form, .. } = accepted;
    let program = sandbox.prepare(digest, language, form, bytes).await?;
    program.check(invocation.export.as_deref(), &invocation.args)?;
    sandbox.run(&program, invocation).await
}

/// Where compiled code is kept from one run to the next, as the XDG base directories say.
fn cache_dir(xdg_cache_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let base = xdg_cache_home
        .and_then(absolute)
        .or_else(|| Some(home.and_then(absolute)?.join(".cache")))?;
    Some(base.join("runabout").join("compiled"))
}

fn cancelled_by_signal() -> CancellationToken {
    let cancel = CancellationToken::new();
    let signalled = cancel.clone();
    // Ends with the process.
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            signalled.cancel();
        }
    });
    cancel
}

fn rejected(path: &Path, rejection: &Rejection) -> Failure {
    let place = match rejection.position {
        Some((line, column)) => format!("{}:{line}:{column}", path.display()),
        None => path.display().to_string(),
    };
    Failure::ours(format!("{place}: {}", rejection.message)).code(rejection.code)
}

fn failed(path: &Path, error: Error) -> Failure {
    match error {
        Error::Rejected(rejection) => rejected(path, &rejection),
        Error::BadCall { code, message } => Failure::ours(message).code(code),
        Error::Busy(message) | Error::Engine(message) => Failure::ours(message),
    }
}

/// Shows what a run says. Writing to a terminal may block its thread, which here runs nothing else.
struct Console {
    bar: Bar,
    /// Whether the run's stdout is its result and so must not be shown twice.
    stdout_is_result: bool,
    /// What such a run wrote to stdout, for the case that it ends without a result.
    held: Mutex<Vec<String>>,
}

impl Console {
    fn new(language: Language) -> Self {
        Self {
            bar: Bar::new(),
            stdout_is_result: language == Language::Wasi,
            held: Mutex::default(),
        }
    }

    fn release(&self) -> anyhow::Result<()> {
        for line in self.held.lock().drain(..) {
            output::result_text(&line)?;
        }
        Ok(())
    }
}

impl Observer for Console {
    fn log(&self, stream: Stream, text: &str) {
        if self.stdout_is_result && stream == Stream::Stdout {
            self.held.lock().push(text.to_owned());
        } else {
            self.bar.aside(|| output::note(text));
        }
    }

    fn progress(&self, fraction: f64, message: Option<&str>) {
        self.bar.show(fraction, message);
    }

    // There is no later attempt to leave it to.
    fn checkpoint(&self, _checkpoint: Checkpoint) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_code_is_kept_where_xdg_says() {
        let check = |xdg: Option<&str>, home: Option<&str>| {
            cache_dir(xdg.map(Into::into), home.map(Into::into))
        };
        let in_home = Some(PathBuf::from("/home/a/.cache/runabout/compiled"));
        assert_eq!(check(Some("/c"), Some("/h")), Some(PathBuf::from("/c/runabout/compiled")));
        assert_eq!(check(None, Some("/home/a")), in_home);
        assert_eq!(check(Some("relative"), Some("/home/a")), in_home);
        assert_eq!(check(None, None), None);
    }

    #[test]
    fn a_rejection_names_file_line_and_column() {
        let rejection = Rejection {
            code: "syntax_error",
            message: "unexpected token".to_owned(),
            position: Some((3, 5)),
        };
        let failure = rejected(Path::new("fib.js"), &rejection);
        assert_eq!(failure.to_string(), "fib.js:3:5: unexpected token");
    }

    #[test]
    fn stdout_of_a_wasi_command_is_held_back_as_its_result() {
        let console = Console::new(Language::Wasi);
        console.log(Stream::Stdout, "result");
        assert_eq!(*console.held.lock(), ["result"]);
    }
}
