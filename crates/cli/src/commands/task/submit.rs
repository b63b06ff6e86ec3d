//! `runabout task submit`.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder};
use runabout_protocol::{Json, Language, Outcome, Task, TaskRequest};

use super::watch::{self, Output};
use crate::arguments;
use crate::commands::limits::LimitFlags;
use crate::commands::stdin;
use crate::exit::{Exit, Failure};
use crate::node::{Node, Target, read};
use crate::output::{self, Strings};
use crate::program::Program;

/// Hands in a task and prints its id; with --wait, waits and prints what it returned
#[derive(Debug, Args)]
#[command(override_usage = "\
runabout task submit FILE|DIR [ARGS]... [OPTIONS]
       runabout task submit --function NAME [ARGS]... [OPTIONS]")]
#[command(after_help = "\
Examples:
  runabout task submit report.js 2026 --name report
  runabout task submit --function fib 34 --wait
  runabout task submit --function resize@2 '{\"width\": 64}' --retries 3 --timeout 5m
  runabout task submit long.js --follow --label run=nightly")]
pub struct Submit {
    /// The file to run, unless --function names one, then its arguments: JSON or else strings
    #[arg(id = "args", value_name = "FILE|ARGS")]
    words: Vec<String>,
    /// Run this deployed function instead of a file; NAME@N for its version N
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// A name to find the task by
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The export to call; not needed where there is one
    #[arg(long, value_name = "NAME")]
    export: Option<String>,
    #[command(flatten)]
    limits: LimitFlags,
    /// More attempts after one that threw, timed out or ran out of memory
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Higher goes first; 0 if left out
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Not before this time, RFC 3339: 2026-01-02T03:04:05Z
    #[arg(long, value_name = "TIME")]
    run_at: Option<String>,
    /// A word to find and group tasks by; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::label)]
    label: Vec<(String, String)>,
    /// What a WASI command reads: a text file, or - for stdin
    #[arg(long, value_name = "FILE|-")]
    stdin: Option<String>,
    /// Wait for its end and print what it returned
    #[arg(long)]
    wait: bool,
    /// Like --wait, and show its output while it runs
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    target: Target,
}

impl Submit {
    /// Hands the task in.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let (file, request) = self.request().await?;
        let node = self.target.connect()?;
        let accepted = match file {
            Some(program) => with_file(&node, program, &request)?,
            None => node.request(Method::POST, &["v1", "tasks"]).json(&request),
        };
        let task: Task = read(&node.ask_body(accepted).await?)?;
        if !self.wait && !self.follow {
            return self.accepted(&task);
        }
        output::note(&format!("task {}", task.id));
        let shown = if self.follow { Output::Shown } else { Output::Hidden };
        let task = watch::until_its_end(&node, &task.id.to_string(), shown).await?;
        self.ended(&task)
    }

    /// What to run, if it is a file, and everything else of the request.
    async fn request(&self) -> anyhow::Result<(Option<Program>, TaskRequest)> {
        let (program, words) = match (&self.function, self.words.split_first()) {
            (Some(_), _) => (None, self.words.as_slice()),
            (None, Some((file, words))) => (Some(Program::read(Path::new(file))?), words),
            (None, None) => {
                let message = "say what to run: a file, or --function NAME";
                return Err(Failure::new(Exit::Usage, message).into());
            }
        };
        let labels: BTreeMap<_, _> = self.label.iter().cloned().collect();
        let request = TaskRequest {
            function: self.function.clone(),
            export: self.export.clone(),
            args: (!words.is_empty()).then(|| arguments::array(words)),
            stdin: stdin::read(self.stdin.clone()).await?.map(text).transpose()?,
            name: self.name.clone(),
            limits: self.limits.wished(),
            retries: self.retries,
            priority: self.priority,
            run_at: self.run_at.clone(),
            labels: (!labels.is_empty()).then_some(labels),
            ..TaskRequest::default()
        };
        Ok((program, request))
    }

    fn accepted(&self, task: &Task) -> anyhow::Result<Exit> {
        if self.target.json {
            return output::result_text(&serde_json::to_string(task)?);
        }
        output::result_text(&task.id.to_string())?;
        output::note(&format!("accepted; look at it with `runabout task get {}`", task.id));
        Ok(Exit::Ok)
    }

    fn ended(&self, task: &Task) -> anyhow::Result<Exit> {
        let outcome = task.outcome.clone().unwrap_or(Outcome::Cancelled);
        match &outcome {
            _ if self.target.json => output::result_text(&serde_json::to_string(task)?)?,
            Outcome::Returned(value) => {
                let strings = Strings::new(task.language == Language::Wasi, false);
                output::returned(value, strings)?
            }
            unhappy => {
                output::unhappy_end(unhappy);
                Exit::Ok
            }
        };
        Ok(Exit::of(&outcome))
    }
}

fn text(bytes: Vec<u8>) -> anyhow::Result<String> {
    let message = "a task's stdin is text; hand bytes to `runabout call --stdin`";
    Ok(String::from_utf8(bytes).map_err(|_| Failure::ours(message))?)
}

/// A file goes as multipart, each field of the request as a part of its own.
fn with_file(
    node: &Node,
    program: Program,
    request: &TaskRequest,
) -> anyhow::Result<RequestBuilder> {
    let (file_name, media_type) = (program.file_name(), program.media_type());
    let file = Part::stream(program.bytes).file_name(file_name).mime_str(media_type)?;
    let form =
        parts(request)?.into_iter().fold(Form::new(), |form, (name, value)| form.text(name, value));
    Ok(node.request(Method::PUT, &["v1", "tasks"]).multipart(form.part("file", file)))
}

/// The fields that were given, strings as they are and everything else as JSON.
fn parts(request: &TaskRequest) -> anyhow::Result<Vec<(String, String)>> {
    let fields: BTreeMap<String, Json> = Json::of(request)?.read()?;
    let part = |(name, value): (String, Json)| {
        let text = value.read::<String>().unwrap_or_else(|_| value.text().to_owned());
        (name, text)
    };
    Ok(fields.into_iter().map(part).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        submit: Submit,
    }

    async fn request(words: &[&str]) -> anyhow::Result<(Option<Program>, TaskRequest)> {
        Line::parse_from([&["submit"], words].concat()).submit.request().await
    }

    #[tokio::test]
    async fn with_a_function_every_word_is_an_argument() {
        let words = ["--function", "fib", "34", "--label", "run=1", "--priority", "-2"];
        let (program, request) = request(&words).await.expect("a request");
        assert!(program.is_none());
        let json = serde_json::to_string(&request).expect("has JSON");
        let expected = r#"{"function":"fib","args":[34],"priority":-2,"labels":{"run":"1"}}"#;
        assert_eq!(json, expected);
    }

    #[tokio::test]
    async fn without_a_function_the_first_word_is_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.js");
        std::fs::write(&path, "1").expect("written");
        let (program, request) =
            request(&[&path.to_string_lossy(), "34", "--name", "7"]).await.expect("a request");
        assert_eq!(program.map(|program| program.name).as_deref(), Some("a"));
        let expected = [("args", "[34]"), ("name", "7")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parts(&request).expect("parts"), expected);
    }

    #[tokio::test]
    async fn nothing_to_run_is_a_wrong_command_line() {
        let refused = request(&[]).await.expect_err("refused");
        assert_eq!(Failure::report(&refused), Exit::Usage);
    }
}
