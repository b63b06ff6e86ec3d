//! Exit codes, and errors on their way to one. The table stands once, here; `--help` and the
//! reference print it.

use std::fmt;

use runabout_protocol::Outcome;

use crate::output;

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok,
    /// It could not.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// The function threw.
    Threw,
    /// The run reached its limit of time.
    TimedOut,
    /// The run reached its limit of memory.
    OutOfMemory,
    /// The run was cancelled, or its workers were lost.
    Stopped,
    /// No node answers.
    Unreachable,
    /// The node refused the request.
    Refused,
}

/// Every exit code and its meaning, in order.
pub const TABLE: [(Exit, &str); 9] = [
    (Exit::Ok, "it worked"),
    (Exit::Failed, "it could not be done: a file is missing, a port is in use"),
    (Exit::Usage, "the command line is wrong"),
    (Exit::Threw, "the function threw"),
    (Exit::TimedOut, "the run reached its limit of time"),
    (Exit::OutOfMemory, "the run reached its limit of memory"),
    (Exit::Stopped, "the run was cancelled, or its workers were lost"),
    (Exit::Unreachable, "the node cannot be reached"),
    (Exit::Refused, "the node refused the request, or could not serve it"),
];

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Threw => 3,
            Self::TimedOut => 4,
            Self::OutOfMemory => 5,
            Self::Stopped => 6,
            Self::Unreachable => 7,
            Self::Refused => 8,
        }
    }

    /// The exit code that tells how a run ended.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Returned(_) => Self::Ok,
            Outcome::Threw(_) => Self::Threw,
            Outcome::TimedOut { .. } => Self::TimedOut,
            Outcome::OutOfMemory { .. } => Self::OutOfMemory,
            Outcome::Cancelled | Outcome::Lost { .. } => Self::Stopped,
        }
    }
}

/// The table as it stands at the end of `--help`.
pub fn help_text() -> String {
    let lines = TABLE.map(|(exit, meaning)| format!("  {}  {meaning}\n", exit.code()));
    format!("Exit codes:\n{}", lines.concat())
}

/// Why a command could not do what was asked, with all that a person should be told.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    code: Option<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure that ends the command with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), code: None, hint: None }
    }

    /// A failure of the command line's own: exit code 1.
    pub fn ours(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// With the stable code of the error.
    pub fn code(self, code: impl Into<String>) -> Self {
        Self { code: Some(code.into()), ..self }
    }

    /// With what can be done about it.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Whether `error` means that no node answers.
    pub fn is_unreachable(error: &anyhow::Error) -> bool {
        error.downcast_ref::<Self>().is_some_and(|failure| failure.exit == Exit::Unreachable)
    }

    /// Tells `error` on stderr and says how the command ends.
    pub fn report(error: &anyhow::Error) -> Exit {
        let plain;
        let failure = match error.downcast_ref::<Self>() {
            Some(failure) => failure,
            None => {
                plain = Self::ours(format!("{error:#}"));
                &plain
            }
        };
        output::note(&failure.told(&output::red("error:")));
        failure.exit
    }

    fn told(&self, label: &str) -> String {
        let mut text = format!("{label} {}", self.message);
        for (name, value) in [("code", &self.code), ("hint", &self.hint)] {
            if let Some(value) = value {
                text.push_str(&format!("\n  {name}  {value}"));
            }
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_every_code_in_order() {
        let codes = TABLE.map(|(exit, _)| exit.code());
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn every_outcome_has_its_exit_code() {
        let out_of_memory =
            Outcome::OutOfMemory { limit_bytes: 1, scope: runabout_protocol::MemoryScope::Run };
        assert_eq!(Exit::of(&Outcome::threw("Error", "no")), Exit::Threw);
        assert_eq!(Exit::of(&out_of_memory), Exit::OutOfMemory);
        assert_eq!(Exit::of(&Outcome::Cancelled), Exit::Stopped);
        assert_eq!(Exit::of(&Outcome::Lost { attempts: 5 }), Exit::Stopped);
    }

    #[test]
    fn a_failure_tells_message_code_and_hint_on_lines_of_their_own() {
        let failure = Failure::new(Exit::Refused, "no function fob").code("gone").hint("try fib");
        assert_eq!(failure.told("error:"), "error: no function fob\n  code  gone\n  hint  try fib");
    }

    #[test]
    fn an_error_without_an_exit_code_of_its_own_ends_with_1() {
        assert_eq!(Failure::report(&anyhow::anyhow!("disk on fire")), Exit::Failed);
        assert_eq!(Failure::report(&Failure::new(Exit::Usage, "no").into()), Exit::Usage);
    }
}
