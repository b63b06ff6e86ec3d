//! `runabout call`: calls a function on a node and prints what it returns.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use reqwest::header::{self, HeaderMap};
use reqwest::{Method, Response};
use runabout_protocol::{Encoding, FunctionVersion, Json, Language, Outcome, Returned, Stream};

use super::limits::LimitFlags;
use super::stdin;
use crate::arguments;
use crate::exit::{Exit, Failure};
use crate::node::{Node, Target, read};
use crate::output::{self, Strings};
use crate::problem::{Line, Problem};

/// Where to run, as it stands in a URL.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Offload {
    #[value(name = "0")]
    Here,
    #[value(name = "1")]
    Upstream,
    Auto,
}

impl Offload {
    fn as_str(self) -> &'static str {
        match self {
            Self::Here => "0",
            Self::Upstream => "1",
            Self::Auto => "auto",
        }
    }
}

/// Calls a function on a node and prints what it returns
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout call fib 34
  runabout call fib@1 34
  runabout call stats --export mean '[1, 2, -3.5]'
  runabout call add -5 3
  runabout call grep -- --count needle
  runabout call upper --stdin notes.txt")]
pub struct Call {
    /// The function; NAME@N for its version N
    #[arg(value_name = "NAME")]
    name: String,
    /// Arguments: JSON where they parse as JSON, else strings
    #[arg(value_name = "ARGS")]
    args: Vec<String>,
    /// The export to call; not needed where there is one
    #[arg(long, value_name = "NAME")]
    export: Option<String>,
    /// That version; the latest if left out
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    /// Where to run: 0 on the node that is asked, 1 on the one behind it, auto wherever it is best
    #[arg(long, value_name = "0|1|auto", hide_possible_values = true)]
    offload: Option<Offload>,
    /// Hand over bytes as the only argument, or as a WASI command's stdin: a file, or - for stdin
    #[arg(long, value_name = "FILE|-", conflicts_with = "args")]
    stdin: Option<String>,
    #[command(flatten)]
    limits: LimitFlags,
    /// Print a string result without quotes; a WASI command's text always is
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    target: Target,
}

impl Call {
    /// Calls the function.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let (name, version) = self.function()?;
        let node = self.target.connect()?;
        let limits = self.limits.request();
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let query = [
            ("export", self.export.clone()),
            ("version", number(version.map(Into::into))),
            ("offload", self.offload.map(|offload| offload.as_str().to_owned())),
            ("timeout_ms", number(limits.timeout_ms)),
            ("cpu_ms", number(limits.cpu_ms)),
            ("memory_bytes", number(limits.memory_bytes)),
        ];
        let path = ["v1", "functions", name, "call"];
        let request = node.request_with(Method::POST, &path, &query);
        let request = match stdin::read(self.stdin.clone()).await? {
            Some(bytes) => {
                request.header(header::CONTENT_TYPE, "application/octet-stream").body(bytes)
            }
            None => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(arguments::array(&self.args).text().to_owned()),
        };
        let response = node.send(request.header("Runabout-Want-Logs", "1")).await?;
        let answer = Answer::of(&response);
        let body = node.body(response).await?;
        if answer.status != 200 {
            return self.tell_problem(answer.status, &body);
        }
        let may_be_text = body.starts_with(b"\"") && !self.target.json;
        let is_command = may_be_text && is_command(&node, name, version).await;
        self.tell(&answer, &body, is_command)
    }

    fn function(&self) -> anyhow::Result<(&str, Option<u32>)> {
        let Some((name, pinned)) = self.name.split_once('@') else {
            return Ok((&self.name, self.version));
        };
        let wrong = |message: String| Failure::new(Exit::Usage, message);
        let pinned =
            pinned.parse().map_err(|_| wrong(format!("{pinned:?} is no version's number")))?;
        match self.version {
            Some(version) if version != pinned => {
                Err(wrong(format!("{} and --version {version} exclude each other", self.name))
                    .into())
            }
            _ => Ok((name, Some(pinned))),
        }
    }

    /// What a WASI command returned is what it wrote to stdout: it is shown once, and as text.
    fn tell(&self, answer: &Answer, body: &[u8], is_command: bool) -> anyhow::Result<Exit> {
        // A command's output is its result, and shown whole.
        if answer.logs_are_cut && !is_command {
            output::note("(earlier lines are left out; a task keeps a mebibyte of them)");
        }
        let shown = answer.logs.iter().filter(|line| !is_command || line.stream == Stream::Stderr);
        shown.for_each(|line| output::note(&line.text));
        let value = if answer.is_bytes {
            let value = Json::string(&STANDARD.encode(body));
            Returned { value, encoding: Some(Encoding::Base64) }
        } else {
            let text = String::from_utf8(body.to_vec()).context("the answer is not UTF-8")?;
            let value = Json::parse(text).context("the answer is not JSON")?;
            Returned { value, encoding: None }
        };
        if !self.target.json {
            return output::returned(&value, Strings::new(is_command, self.raw));
        }
        let machine = serde_json::json!({
            "outcome": Outcome::Returned(value),
            "ran_on": answer.ran_on,
            "server_timing": answer.server_timing,
        });
        output::result_text(&machine.to_string())
    }

    fn tell_problem(&self, status: u16, body: &[u8]) -> anyhow::Result<Exit> {
        let problem = Problem::read(status, body);
        problem.output().iter().for_each(|line| output::note(line));
        let Some(outcome) = &problem.outcome else {
            return Err(problem.failure().into());
        };
        if self.target.json {
            output::result_text(&serde_json::json!({ "outcome": outcome }).to_string())?;
        } else {
            output::unhappy_end(outcome);
        }
        Ok(Exit::of(outcome))
    }
}

/// Whether the function is a WASI command; if the node does not say, it is none.
async fn is_command(node: &Node, name: &str, version: Option<u32>) -> bool {
    let query = [("version", version.map(|version| version.to_string()))];
    let request = node.request_with(Method::GET, &["v1", "functions", name], &query);
    let Ok(body) = node.ask_body(request).await else {
        return false;
    };
    read::<FunctionVersion>(&body).is_ok_and(|function| function.language == Language::Wasi)
}

/// What an answer says beside its body.
struct Answer {
    status: u16,
    is_bytes: bool,
    logs: Vec<Line>,
    /// There were lines before those.
    logs_are_cut: bool,
    ran_on: Option<String>,
    server_timing: Option<String>,
}

impl Answer {
    fn of(response: &Response) -> Self {
        let headers = response.headers();
        let text = |name: &str| headers.get(name)?.to_str().ok().map(ToOwned::to_owned);
        let media_type = text("content-type").unwrap_or_default();
        Self {
            status: response.status().as_u16(),
            is_bytes: media_type.starts_with("application/octet-stream"),
            logs: logs(headers),
            logs_are_cut: headers.contains_key("runabout-logs-cut"),
            ran_on: text("runabout-ran-on"),
            server_timing: text("server-timing"),
        }
    }
}

/// The console lines of a call. They are a courtesy: what cannot be read is left out.
fn logs(headers: &HeaderMap) -> Vec<Line> {
    let encoded = headers.get("runabout-logs").map(|value| value.as_bytes()).unwrap_or_default();
    let json = STANDARD.decode(encoded).unwrap_or_default();
    serde_json::from_slice(&json).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_version_flag = true)]
    struct Commandline {
        #[command(flatten)]
        call: Call,
    }

    fn call(words: &[&str]) -> Call {
        Commandline::parse_from([&["call"], words].concat()).call
    }

    #[test]
    fn a_version_stands_in_the_name_or_in_the_flag() {
        assert_eq!(call(&["fib"]).function().ok(), Some(("fib", None)));
        assert_eq!(call(&["fib@3"]).function().ok(), Some(("fib", Some(3))));
        assert_eq!(call(&["fib", "--version", "3"]).function().ok(), Some(("fib", Some(3))));
        assert!(call(&["fib@latest"]).function().is_err());
        assert!(call(&["fib@3", "--version", "2"]).function().is_err());
    }

    #[test]
    fn console_lines_come_in_a_header() {
        let json = r#"[{"stream":"stdout","text":"a"},{"stream":"stderr","text":"ä"}]"#;
        let mut headers = HeaderMap::new();
        headers.insert("runabout-logs", STANDARD.encode(json).parse().expect("a header"));
        let lines: Vec<String> = logs(&headers).into_iter().map(|line| line.text).collect();
        assert_eq!(lines, ["a", "ä"]);
    }

    #[test]
    fn no_header_is_no_lines() {
        assert!(logs(&HeaderMap::new()).is_empty());
    }
}
