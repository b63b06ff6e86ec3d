//! `runabout schedule`: tasks that a node hands in by the clock.

mod list;
mod put;
mod show;

use clap::{Args, Subcommand};
use reqwest::Method;
use runabout_protocol::Schedule as Record;

use crate::exit::Exit;
use crate::node::{Target, read};
use crate::output;

/// Has tasks handed in by the clock
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  runabout schedule put nightly --cron '0 3 * * *' --time-zone Europe/Berlin report.js
  runabout schedule put warm --cron '*/5 * * * *' --function fib 34
  runabout schedule list
  runabout schedule pause nightly")]
pub struct Schedule {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Put(Box<put::Put>),
    List(list::List),
    Show(Show),
    Pause(Pause),
    Resume(Resume),
    Delete(Delete),
}

impl Schedule {
    /// Does the one thing that was asked.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        match self.command {
            Command::Put(put) => put.execute().await,
            Command::List(list) => list.execute().await,
            Command::Show(Show { name, target }) => ask(&target, Method::GET, &[&name]).await,
            Command::Pause(Pause { name, target }) => {
                ask(&target, Method::POST, &[&name, "pause"]).await
            }
            Command::Resume(Resume { name, target }) => {
                ask(&target, Method::POST, &[&name, "resume"]).await
            }
            Command::Delete(delete) => delete.execute().await,
        }
    }
}

/// Shows a schedule and when it is due next
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout schedule show nightly
  runabout schedule show nightly --json")]
struct Show {
    /// The schedule's name
    name: String,
    #[command(flatten)]
    target: Target,
}

/// Lets a schedule rest; what passes meanwhile is never made up for
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout schedule pause nightly")]
struct Pause {
    /// The schedule's name
    name: String,
    #[command(flatten)]
    target: Target,
}

/// Lets a schedule go on that rests
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout schedule resume nightly")]
struct Resume {
    /// The schedule's name
    name: String,
    #[command(flatten)]
    target: Target,
}

/// Removes a schedule; the tasks it has handed in stay
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout schedule delete nightly")]
struct Delete {
    /// The schedule's name
    name: String,
    #[command(flatten)]
    target: Target,
}

impl Delete {
    async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        node.ask(node.request(Method::DELETE, &["v1", "schedules", &self.name])).await?;
        if self.target.json {
            return output::result_text(&serde_json::json!({ "deleted": self.name }).to_string());
        }
        output::note(&format!("deleted {}", self.name));
        Ok(Exit::Ok)
    }
}

/// Asks for something about one schedule and tells of it.
async fn ask(target: &Target, method: Method, path: &[&str]) -> anyhow::Result<Exit> {
    let node = target.connect()?;
    let path = [&["v1", "schedules"], path].concat();
    tell(&read(&node.ask_body(node.request(method, &path)).await?)?, target.json)
}

fn tell(schedule: &Record, json: bool) -> anyhow::Result<Exit> {
    if json {
        return output::result_text(&serde_json::to_string(schedule)?);
    }
    output::result_text(&output::facts(&show::facts(schedule)))
}
