//! Follows a task to its end: its progress, its output, and `runabout task logs`.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use runabout_protocol::{LogLine, Stream, Task};
use serde::Deserialize;

use crate::commands::progress::Bar;
use crate::exit::{Exit, Failure};
use crate::node::{Node, Target, read};
use crate::output;

/// How long the node holds a request for a task's end before we look at its progress.
const LOOK_EVERY_S: f64 = 0.5;
/// How often a node that went away is asked again before we give up. The task does not need us.
const TRIES_MAX: u32 = 30;
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Prints what a task wrote, stdout to stdout and stderr to stderr
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout task logs 0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f
  runabout task logs 0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f --follow
  runabout task logs 0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f --attempt 2 --json")]
pub struct Logs {
    /// The task's id
    id: String,
    /// Only those of this attempt
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Go on until the task has ended
    #[arg(long, conflicts_with_all = ["attempt", "json"])]
    follow: bool,
    #[command(flatten)]
    target: Target,
}

impl Logs {
    /// Prints them.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        if self.follow {
            until_its_end(&node, &self.id, Output::Printed).await?;
            return Ok(Exit::Ok);
        }
        let query = [("attempt", self.attempt.map(|attempt| attempt.to_string()))];
        let path = ["v1", "tasks", &self.id, "logs"];
        let body = node.ask_body(node.request_with(Method::GET, &path, &query)).await?;
        if self.target.json {
            return output::result_text(&String::from_utf8_lossy(&body));
        }
        let lines: Lines = read(&body)?;
        lines.items.iter().try_for_each(print)?;
        if lines.truncated {
            output::note("[there was more output than is kept]");
        }
        Ok(Exit::Ok)
    }
}

#[derive(Deserialize)]
struct Lines {
    items: Vec<LogLine>,
    truncated: bool,
}

fn print(line: &LogLine) -> anyhow::Result<()> {
    match line.stream {
        Stream::Stdout => output::result_bytes(format!("{}\n", line.text).as_bytes()).map(drop),
        Stream::Stderr => {
            output::note(&line.text);
            Ok(())
        }
    }
}

/// What becomes of a task's output while it is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing.
    Hidden,
    /// It goes to stderr, as the result goes to stdout.
    Shown,
    /// It is what was asked for, so it goes where the task wrote it.
    Printed,
}

/// Follows a task, with a progress bar, until nothing more will happen to it.
pub async fn until_its_end(node: &Node, id: &str, shown: Output) -> anyhow::Result<Task> {
    let bar = Bar::new();
    let mut seen = 0;
    loop {
        let task = look(node, id).await?;
        if let Some(progress) = &task.progress {
            bar.show(progress.fraction, progress.message.as_deref());
        }
        if shown != Output::Hidden {
            // Read after the task: if that has ended, these are all its lines.
            let lines = patiently(node, &["v1", "tasks", id, "logs"], &[]).await?;
            let lines: Lines = read(&lines)?;
            for line in lines.items.get(seen..).unwrap_or_default() {
                show(line, shown, &bar)?;
            }
            seen = seen.max(lines.items.len());
        }
        if task.state.is_final() {
            bar.clear();
            return Ok(task);
        }
    }
}

fn show(line: &LogLine, shown: Output, bar: &Bar) -> anyhow::Result<()> {
    let mut printed = Ok(());
    bar.aside(|| match shown {
        Output::Printed => printed = print(line),
        _ => output::note(&line.text),
    });
    printed
}

async fn look(node: &Node, id: &str) -> anyhow::Result<Task> {
    let wait = [("wait", Some(LOOK_EVERY_S.to_string()))];
    read(&patiently(node, &["v1", "tasks", id], &wait).await?)
}

/// Asks again for a while if the node went away: it may be restarting, and the task survives that.
async fn patiently(
    node: &Node,
    path: &[&str],
    query: &[(&str, Option<String>)],
) -> anyhow::Result<Vec<u8>> {
    for attempt in 1..TRIES_MAX {
        match node.ask_body(node.request_with(Method::GET, path, query)).await {
            Err(error) if Failure::is_unreachable(&error) => {
                if attempt == 1 {
                    output::note("the node went away; asking again");
                }
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
            other => return other,
        }
    }
    node.ask_body(node.request_with(Method::GET, path, query)).await
}
