//! `runabout schedule put`.

use std::collections::BTreeMap;
use std::path::Path;

use clap::{Args, ValueEnum};
use reqwest::Method;
use runabout_protocol::{Missed, ScheduleRequest, TaskRequest};
use runabout_sandbox::SourceLanguage;

use super::tell;
use crate::arguments;
use crate::commands::limits::LimitFlags;
use crate::exit::{Exit, Failure};
use crate::node::{Target, read};
use crate::program::Program;

/// Makes a schedule, or changes the one of that name
#[derive(Debug, Args)]
#[command(override_usage = "\
runabout schedule put NAME --cron CRON FILE|DIR [ARGS]... [OPTIONS]
       runabout schedule put NAME --cron CRON --function NAME [ARGS]... [OPTIONS]")]
#[command(after_help = "\
Examples:
  runabout schedule put nightly --cron '0 3 * * *' --time-zone Europe/Berlin report.js
  runabout schedule put warm --cron '*/5 * * * *' --function fib 34
  runabout schedule put audit --cron @monthly --missed run_all --function audit --retries 3")]
pub struct Put {
    /// The schedule's name
    schedule: String,
    /// The file to run, unless --function names one, then its arguments: JSON or else strings
    #[arg(id = "args", value_name = "FILE|ARGS")]
    words: Vec<String>,
    /// When: minute, hour, day of the month, month, day of the week; or @hourly, @daily, @weekly,
    /// @monthly, @yearly
    #[arg(long, value_name = "CRON")]
    cron: String,
    /// Where the clock hangs: Europe/Berlin, for example; UTC if left out
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What becomes of times that were missed; run_once if left out
    #[arg(long, value_name = "POLICY")]
    missed: Option<Policy>,
    /// Let it rest for now
    #[arg(long)]
    paused: bool,
    /// Run this deployed function instead of a file; NAME@N for its version N
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// A name to find the tasks by
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
    /// A word to find and group the tasks by; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = arguments::label)]
    label: Vec<(String, String)>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Policy {
    /// Nothing
    Skip,
    /// One task, for the latest of them
    RunOnce,
    /// A task for each
    RunAll,
}

impl From<Policy> for Missed {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Skip => Self::Skip,
            Policy::RunOnce => Self::RunOnce,
            Policy::RunAll => Self::RunAll,
        }
    }
}

impl Put {
    /// Puts the schedule.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let request = self.request()?;
        let node = self.target.connect()?;
        let put = node.request(Method::PUT, &["v1", "schedules", &self.schedule]).json(&request);
        tell(&read(&node.ask_body(put).await?)?, self.target.json)
    }

    fn request(&self) -> anyhow::Result<ScheduleRequest> {
        Ok(ScheduleRequest {
            cron: self.cron.clone(),
            time_zone: self.time_zone.clone(),
            task: self.task()?,
            missed: self.missed.map(Missed::from),
            paused: self.paused.then_some(true),
        })
    }

    fn task(&self) -> anyhow::Result<TaskRequest> {
        let (source, words) = match (&self.function, self.words.split_first()) {
            (Some(_), _) => (None, self.words.as_slice()),
            (None, Some((file, words))) => (Some(source(Path::new(file))?), words),
            (None, None) => {
                let message = "say what to run: a file, or --function NAME";
                return Err(Failure::new(Exit::Usage, message).into());
            }
        };
        let (source, language) = source.unzip();
        let labels: BTreeMap<_, _> = self.label.iter().cloned().collect();
        Ok(TaskRequest {
            source,
            language,
            function: self.function.clone(),
            export: self.export.clone(),
            args: (!words.is_empty()).then(|| arguments::array(words)),
            name: self.name.clone(),
            limits: self.limits.wished(),
            retries: self.retries,
            priority: self.priority,
            labels: (!labels.is_empty()).then_some(labels),
            ..TaskRequest::default()
        })
    }
}

/// A file's text and its language; a schedule carries no bytes.
fn source(path: &Path) -> anyhow::Result<(String, String)> {
    let program = Program::read(path)?;
    let language = match program.language {
        SourceLanguage::JavaScript => "js",
        SourceLanguage::TypeScript => "ts",
        SourceLanguage::Wasm => {
            let hint = "deploy it with `runabout deploy`, and name it with --function";
            let message =
                format!("{} is WebAssembly, which a schedule cannot carry", path.display());
            return Err(Failure::ours(message).hint(hint).into());
        }
    };
    let text = String::from_utf8(program.bytes.to_vec())
        .map_err(|_| Failure::ours(format!("{} is no UTF-8 text", path.display())))?;
    Ok((text, language.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        put: Put,
    }

    fn request(words: &[&str]) -> anyhow::Result<String> {
        let put = Line::parse_from([&["put"], words].concat()).put;
        Ok(serde_json::to_string(&put.request()?)?)
    }

    #[test]
    fn with_a_function_every_word_is_an_argument() {
        let words = ["a", "--cron", "@daily", "--function", "fib", "34", "--missed", "run_all"];
        let expected =
            r#"{"cron":"@daily","task":{"function":"fib","args":[34]},"missed":"run_all"}"#;
        assert_eq!(request(&words).expect("a request"), expected);
    }

    #[test]
    fn without_a_function_the_first_word_is_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.ts");
        std::fs::write(&path, "1").expect("written");
        let path = path.to_string_lossy();
        let found = request(&["a", &path, "x", "--cron", "@daily"]).expect("a request");
        let expected = r#"{"cron":"@daily","task":{"source":"1","language":"ts","args":["x"]}}"#;
        assert_eq!(found, expected);
    }

    #[test]
    fn what_a_schedule_cannot_carry_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.wasm");
        std::fs::write(&path, "\0asm").expect("written");
        let refused = request(&["a", &path.to_string_lossy(), "--cron", "@daily"]);
        assert!(refused.expect_err("refused").to_string().contains("is WebAssembly"));
        let refused = request(&["a", "--cron", "@daily"]).expect_err("refused");
        assert_eq!(Failure::report(&refused), Exit::Usage);
    }
}
