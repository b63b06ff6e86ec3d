//! Follows a task to its end: its progress, its output, and `runabout task logs`.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use reqwest::{Method, Response, StatusCode};
use runabout_protocol::{
    Attempt, LogEvent, LogLine, ProgressEvent, StateEvent, Stream, Task, TaskState, TruncatedEvent,
};
use serde::Deserialize;

use super::event_stream::{Event, EventStream};
use crate::commands::progress::Bar;
use crate::exit::{Exit, Failure};
use crate::node::{Node, Target, read};
use crate::output;

/// How often a node that went away is asked again before we give up. The task does not need us.
const TRIES_MAX: u32 = 30;
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Said of a task whose output was cut off.
const TRUNCATED: &str = "[there was more output than is kept]";

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
    /// Go on until the task has ended; with --json a line of JSON for each line of output
    #[arg(long, conflicts_with = "attempt")]
    follow: bool,
    #[command(flatten)]
    target: Target,
}

impl Logs {
    /// Prints them.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        if self.follow {
            let shown = if self.target.json { Output::Json } else { Output::Printed };
            until_its_end(&node, &self.id, shown).await?;
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
            output::note(TRUNCATED);
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
    /// It is what was asked for, by a program.
    Json,
}

/// Follows a task, with a progress bar, until nothing more will happen to it.
pub async fn until_its_end(node: &Node, id: &str, shown: Output) -> anyhow::Result<Task> {
    let mut watch = Watch::new(shown);
    let mut patience = Patience::default();
    let mut last_id = None;
    loop {
        // No answer to read means that the last event has been seen.
        let Some(answer) = ask_for_events(node, id, shown, last_id.as_deref()).await? else {
            break;
        };
        let mut events = EventStream::new(answer);
        while let Some(event) = events.next().await {
            patience = Patience::default();
            last_id = event.id.clone().or(last_id);
            if watch.hear(&event)? {
                watch.bar.clear();
                return task(node, id).await;
            }
        }
        // It ended before the task did: the node is stopping, or the connection was cut.
        patience.wait().await?;
    }
    watch.bar.clear();
    task(node, id).await
}

/// The bar, and what has been shown.
struct Watch {
    shown: Output,
    bar: Bar,
    /// The last line of each attempt that was shown: after a reset they are all told again.
    lines: HashMap<Attempt, u64>,
    /// The attempt of which it was said that there was more.
    truncated: Option<Attempt>,
}

impl Watch {
    fn new(shown: Output) -> Self {
        Self { shown, bar: Bar::new(), lines: HashMap::new(), truncated: None }
    }

    /// Shows an event, and says whether it is the last.
    fn hear(&mut self, event: &Event) -> anyhow::Result<bool> {
        let data = event.data.as_bytes();
        match event.name.as_str() {
            "state" => self.state(&read(data)?),
            "progress" => {
                let ProgressEvent { progress, .. } = read(data)?;
                self.bar.show(progress.fraction, progress.message.as_deref());
            }
            "log" => self.line(&read::<LogEvent>(data)?.line)?,
            "truncated" => self.truncated(read::<TruncatedEvent>(data)?.attempt),
            "outcome" | "deleted" => return Ok(true),
            // What a newer node may tell.
            _ => {}
        }
        Ok(false)
    }

    fn state(&self, event: &StateEvent) {
        let (TaskState::Queued, Some(previous)) = (event.state, &event.previous) else { return };
        if self.shown == Output::Hidden || self.shown == Output::Json {
            return;
        }
        let attempt =
            event.attempt.map(|attempt| format!("attempt {attempt} ")).unwrap_or_default();
        let again = event.ready_at.as_deref().unwrap_or("soon");
        self.bar.aside(|| output::note(&format!("[{attempt}{previous}; again at {again}]")));
    }

    fn truncated(&mut self, attempt: Attempt) {
        if self.truncated.replace(attempt) != Some(attempt) {
            self.bar.aside(|| output::note(TRUNCATED));
        }
    }

    fn line(&mut self, line: &LogLine) -> anyhow::Result<()> {
        if self.lines.get(&line.attempt).is_some_and(|shown| line.seq <= *shown) {
            return Ok(());
        }
        self.lines.insert(line.attempt, line.seq);
        let mut printed = Ok(());
        self.bar.aside(|| match self.shown {
            Output::Hidden => {}
            Output::Shown => output::note(&line.text),
            Output::Printed => printed = print(line),
            Output::Json => printed = print_json(line),
        });
        printed
    }
}

fn print_json(line: &LogLine) -> anyhow::Result<()> {
    output::result_text(&serde_json::to_string(line)?).map(drop)
}

/// Opens the stream where it was left; `None` if there is nothing more to come.
async fn ask_for_events(
    node: &Node,
    id: &str,
    shown: Output,
    last_id: Option<&str>,
) -> anyhow::Result<Option<Response>> {
    let only = (shown == Output::Hidden).then(|| "state,progress,outcome".to_owned());
    let request = || {
        let path = ["v1", "tasks", id, "events"];
        let request = node.request_with(Method::GET, &path, &[("only", only.clone())]);
        match last_id {
            Some(last_id) => request.header("Last-Event-ID", last_id),
            None => request,
        }
    };
    let mut patience = Patience::default();
    loop {
        match node.send(request()).await {
            Ok(answer) if answer.status() == StatusCode::NO_CONTENT => return Ok(None),
            // It is stopping, or as many follow tasks as may.
            Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
                if patience.is_over() {
                    return node.accept(answer).await.map(Some);
                }
            }
            Ok(answer) => return node.accept(answer).await.map(Some),
            Err(error) if !Failure::is_unreachable(&error) || patience.is_over() => {
                return Err(error);
            }
            Err(_) => {}
        }
        patience.wait().await?;
    }
}

async fn task(node: &Node, id: &str) -> anyhow::Result<Task> {
    let mut patience = Patience::default();
    loop {
        match node.ask_body(node.request(Method::GET, &["v1", "tasks", id])).await {
            Err(error) if Failure::is_unreachable(&error) && !patience.is_over() => {
                patience.wait().await?;
            }
            other => return read(&other?),
        }
    }
}

/// Asks again for a while if the node went away: it may be restarting, and the task survives that.
#[derive(Debug, Default)]
struct Patience {
    tries: u32,
}

impl Patience {
    fn is_over(&self) -> bool {
        self.tries >= TRIES_MAX
    }

    async fn wait(&mut self) -> anyhow::Result<()> {
        if self.is_over() {
            let message = "the node goes away again and again";
            return Err(Failure::new(Exit::Unreachable, message).into());
        }
        self.tries += 1;
        if self.tries == 1 {
            output::note("the node went away; asking again");
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
        Ok(())
    }
}
