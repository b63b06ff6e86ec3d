//! The node's errors (`application/problem+json`), read and told to a person.

use runabout_protocol::Outcome;
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
    /// What was written.
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
        if let Some(suggestion) = &self.suggestion {
            return Some(format!("did you mean {suggestion}?"));
        }
        let code = self.code.as_deref()?;
        let row = runabout_server::error_codes().iter().find(|row| row.code == code)?;
        // The table speaks of fields of the JSON; a person at a terminal does not see them.
        (!row.what_to_do.contains("names it") && !row.what_to_do.contains("Look at `line`"))
            .then(|| row.what_to_do.to_owned())
    }
}

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
