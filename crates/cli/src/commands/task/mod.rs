//! `runabout task`: durable work on a node: hand it in, look at it, wait for it, end it.

mod event_stream;
mod list;
mod show;
mod submit;
mod watch;

use clap::{Args, Subcommand};
use reqwest::Method;
use runabout_protocol::Task as Record;

use crate::exit::Exit;
use crate::node::{Target, read};
use crate::output;

/// Hands in tasks, durable pieces of work, and looks after them
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  runabout task submit report.js 2026
  runabout task submit --function fib 34 --wait
  runabout task list --state failed
  runabout task logs 0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f --follow")]
pub struct Task {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Submit(submit::Submit),
    Get(Get),
    List(list::List),
    Logs(watch::Logs),
    Cancel(Cancel),
    Delete(Delete),
}

impl Task {
    /// Does the one thing that was asked.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        match self.command {
            Command::Submit(submit) => submit.execute().await,
            Command::Get(get) => get.execute().await,
            Command::List(list) => list.execute().await,
            Command::Logs(logs) => logs.execute().await,
            Command::Cancel(cancel) => cancel.execute().await,
            Command::Delete(delete) => delete.execute().await,
        }
    }
}

/// Shows a task
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout task get 0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f
  runabout task get 0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f --wait --json")]
struct Get {
    /// The task's id
    id: String,
    /// Wait for its end first
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    target: Target,
}

impl Get {
    async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        let task = if self.wait {
            watch::until_its_end(&node, &self.id, watch::Output::Hidden).await?
        } else {
            let request = node.request(Method::GET, &["v1", "tasks", &self.id]);
            read(&node.ask_body(request).await?)?
        };
        tell(&task, self.target.json)
    }
}

/// Cancels a task; its record stays
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout task cancel 0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f")]
struct Cancel {
    /// The task's id
    id: String,
    #[command(flatten)]
    target: Target,
}

impl Cancel {
    async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        let request = node.request(Method::POST, &["v1", "tasks", &self.id, "cancel"]);
        tell(&read(&node.ask_body(request).await?)?, self.target.json)
    }
}

/// Removes a task's record, and cancels it first if need be
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout task delete 0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f")]
struct Delete {
    /// The task's id
    id: String,
    #[command(flatten)]
    target: Target,
}

impl Delete {
    async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        node.ask(node.request(Method::DELETE, &["v1", "tasks", &self.id])).await?;
        if self.target.json {
            return output::result_text(&serde_json::json!({ "deleted": self.id }).to_string());
        }
        output::note(&format!("deleted {}", self.id));
        Ok(Exit::Ok)
    }
}

fn tell(task: &Record, json: bool) -> anyhow::Result<Exit> {
    if json {
        return output::result_text(&serde_json::to_string(task)?);
    }
    output::result_text(&output::facts(&show::facts(task)))
}
