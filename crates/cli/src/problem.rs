//! The node's errors (`application/problem+json`), read and told to a person.

use runabout_protocol::{Outcome, Stream};
use serde::Deserialize;

use crate::exit::{Exit, Failure};

/// A problem, as far as the command line shows it.
#[derive(Debug, Default, Deserialize)]
pub struct Problem {
    /// The stable code.
    #[serde(default)]
    pub code: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    suggestion: Option<String>,
    #[serde(default)]
    line: Option<u32>,
    #[serde(default)]
    column: Option<u32>,
    /// How the run ended, if there was one.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// The last of what the run wrote.
    #[serde(default)]
    output: Option<Output>,
}

/// A line of a call's output.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Line {
    /// Where it was written.
    pub stream: Stream,
    /// What was written, without a line end.
    pub text: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Output {
    Text(String),
    Lines(Vec<Line>),
}

impl Problem {
    /// Reads the body of an answer that is no success.
    pub fn read(status: u16, body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_else(|_| Self {
            // Something between us and the node answered.
            detail: Some(format!("the answer was HTTP {status} without an explanation")),
            ..Self::default()
        })
    }

    /// The last of what the run wrote, line by line.
    pub fn output(&self) -> Vec<String> {
        match &self.output {
            Some(Output::Text(text)) => text.lines().map(ToOwned::to_owned).collect(),
            Some(Output::Lines(lines)) => lines.iter().map(|line| line.text.clone()).collect(),
            None => Vec::new(),
        }
    }

    /// The failure that ends the command.
    pub fn failure(self) -> Failure {
        let hint = self.hint();
        let place = match (self.line, self.column) {
            (Some(line), Some(column)) => format!(" (line {line}, column {column})"),
            _ => String::new(),
        };
        let said = self.detail.or(self.title).unwrap_or_else(|| "no reason given".to_owned());
        // The detail may name the place already.
        let place = if said.contains("line ") { String::new() } else { place };
        let failure = Failure::new(Exit::Refused, format!("{said}{place}"));
        let failure = match self.code {
            Some(code) => failure.code(code),
            None => failure,
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    fn hint(&self) -> Option<String> {
        let code = self.code.as_deref()?;
        if let Some(suggestion) = &self.suggestion {
            let is_said = self.detail.as_ref().is_some_and(|detail| detail.contains(suggestion));
            return (!is_said).then(|| format!("did you mean {suggestion}?"));
        }
        if let Some((_, hint)) = HINTS.iter().find(|(known, _)| *known == code) {
            return Some((*hint).to_owned());
        }
        // The rest of the table speaks to programs of the fields and headers they got; what is of
        // use to a person at a terminal is said by the status: the node's own troubles.
        let row = runabout_server::error_codes().iter().find(|row| row.code == code)?;
        (row.status >= 500).then(|| row.what_to_do.to_owned())
    }
}

/// What can be done about an error, in words of the command line.
const HINTS: &[(&str, &str)] = &[
    ("artifact_rejected", "`runabout run FILE` shows more of what is wrong"),
    ("compile_too_costly", "make the module smaller, or split it"),
    ("foreign_host", "name the node by the address it listens on, in --node"),
    ("function_not_found", "deploy it with `runabout deploy FILE --name NAME`"),
    ("limit_above_maximum", "the node's own maxima are its --timeout-max and --memory-max"),
    ("queue_full", "try again in a few seconds"),
    ("task_finished", "`runabout task get ID` tells how it ended"),
    ("task_not_found", "`runabout task list` shows what there is; it may have been deleted"),
    ("unauthorized", "give the token with --token-file FILE, or in RUNABOUT_TOKEN"),
    ("unresolved_import", "bundle it into one file first, for example with esbuild"),
    ("unsupported_component", "build a core module or a WASI preview 1 command"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_becomes_a_failure_with_code_and_place() {
        let body = br#"{"code":"syntax_error","title":"t","detail":"unexpected token",
                        "status":422,"line":3,"column":5}"#;
        let failure = Problem::read(422, body).failure();
        assert_eq!(failure.to_string(), "unexpected token (line 3, column 5)");
    }

    #[test]
    fn an_answer_that_is_no_problem_is_told_by_its_status() {
        let failure = Problem::read(502, b"<html>").failure();
        assert_eq!(failure.to_string(), "the answer was HTTP 502 without an explanation");
    }

    #[test]
    fn every_hint_is_for_a_code_that_exists() {
        for (code, _) in HINTS {
            let rows = runabout_server::error_codes();
            assert!(rows.iter().any(|row| row.code == *code), "{code}");
        }
    }

    #[test]
    fn what_the_detail_says_is_not_said_again() {
        let hint = |detail: &str| {
            let problem = Problem {
                code: Some("unknown_field".to_owned()),
                detail: Some(detail.to_owned()),
                suggestion: Some("args".to_owned()),
                ..Problem::default()
            };
            problem.hint()
        };
        assert_eq!(hint("unknown field `agrs`").as_deref(), Some("did you mean args?"));
        assert_eq!(hint("unknown field `agrs`; did you mean `args`?"), None);
    }

    #[test]
    fn output_comes_as_text_or_as_lines() {
        let text = Problem::read(422, br#"{"output":"a\nb"}"#);
        let lines = Problem::read(
            422,
            br#"{"output":[{"stream":"stdout","text":"a"},{"stream":"stderr","text":"b"}]}"#,
        );
        assert_eq!(text.output(), ["a", "b"]);
        assert_eq!(lines.output(), ["a", "b"]);
    }

    #[test]
    fn the_outcome_of_a_run_that_threw_is_kept() {
        let body = br#"{"code":"function_threw","outcome":{"kind":"cancelled"}}"#;
        assert_eq!(Problem::read(422, body).outcome, Some(Outcome::Cancelled));
    }
}
