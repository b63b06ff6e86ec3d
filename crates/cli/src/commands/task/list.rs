//! `runabout task list`.

use clap::{Args, ValueEnum};
use reqwest::Method;
use runabout_protocol::Task;
use serde::Deserialize;

use crate::exit::Exit;
use crate::node::{Target, read};
use crate::output;

/// Lists tasks, the newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout task list
  runabout task list --state failed --limit 10
  runabout task list --function fib --label run=nightly --json")]
pub struct List {
    /// Only those in this state
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// Only those of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Only those of this function; NAME@N for its version N
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only those with this label
    #[arg(long, value_name = "KEY=VALUE")]
    label: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Go on where the page before ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Task>,
    next_cursor: Option<String>,
}

impl List {
    /// Asks the node for a page.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        let state = self.state.as_ref().and_then(ValueEnum::to_possible_value);
        let query = [
            ("state", state.map(|state| state.get_name().to_owned())),
            ("name", self.name),
            ("function", self.function),
            ("label", self.label),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor),
        ];
        let request = node.request_with(Method::GET, &["v1", "tasks"], &query);
        let body = node.ask_body(request).await?;
        if self.target.json {
            return output::result_text(&String::from_utf8_lossy(&body));
        }
        let page: Page = read(&body)?;
        if page.items.is_empty() {
            output::note("no such tasks; hand one in with `runabout task submit FILE`");
            return Ok(Exit::Ok);
        }
        output::result_text(&table(&page.items))?;
        if let Some(cursor) = page.next_cursor {
            output::note(&format!("there are more: --cursor {cursor}"));
        }
        Ok(Exit::Ok)
    }
}

fn table(tasks: &[Task]) -> String {
    let head = ["ID", "STATE", "NAME", "FUNCTION", "ATTEMPT", "CREATED"].map(ToOwned::to_owned);
    let row = |task: &Task| {
        let text = |text: &Option<String>| output::one_line(text.as_deref().unwrap_or("-"));
        [
            task.id.to_string(),
            state(task),
            text(&task.name),
            text(&task.function),
            task.attempt.to_string(),
            task.created_at.clone(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(tasks.iter().map(row)).collect();
    output::table(&rows)
}

/// The state, with what tells one failure or one running task from another.
fn state(task: &Task) -> String {
    let state = task.state.as_str();
    match (&task.outcome, &task.progress) {
        (Some(outcome), _) if state == "failed" => format!("{state} {}", outcome.kind()),
        (None, Some(progress)) if state == "running" => {
            format!("{state} {:.0} %", progress.fraction * 100.0)
        }
        _ => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(more: &str) -> Task {
        let task = format!(
            r#"{{"id":"0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f","digest":"sha256:{}","language":"js",
                "args":[],"attempt":2,"max_attempts":2,"lost":0,"priority":0,
                "created_at":"2026-01-02T03:04:05Z",{more}}}"#,
            "ab".repeat(32)
        );
        serde_json::from_str(&task).expect("reads")
    }

    #[test]
    fn a_row_a_task_under_one_head() {
        let failed = task(r#""name":"a","state":"failed","outcome":{"kind":"cancelled"}"#);
        let running = task(r#""state":"running","function":"f@1","progress":{"fraction":0.25}"#);
        let id = "0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f";
        let expected = format!(
            "ID                                    STATE             NAME  FUNCTION  ATTEMPT  CREATED\n\
             {id}  failed cancelled  a     -         2        2026-01-02T03:04:05Z\n\
             {id}  running 25 %      -     f@1       2        2026-01-02T03:04:05Z"
        );
        assert_eq!(table(&[failed, running]), expected);
    }

    #[test]
    fn every_state_can_be_asked_for() {
        use runabout_protocol::TaskState;
        for state in State::value_variants() {
            let name = state.to_possible_value().expect("has a name");
            assert!(TaskState::from_str_exact(name.get_name()).is_some(), "{}", name.get_name());
        }
    }
}
