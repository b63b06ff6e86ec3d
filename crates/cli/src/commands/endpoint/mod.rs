//! `runabout endpoint`: URL paths of one's own.

mod list;
mod put;

use clap::{Args, Subcommand};
use reqwest::Method;

use crate::exit::Exit;
use crate::node::Target;
use crate::output;

/// Binds URL paths of one's own to functions
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  runabout endpoint put /getData --function fib '{n=30}' --offload query
  runabout endpoint put '/report/{year}' --function report '{year}' --method GET
  runabout endpoint list
  runabout endpoint delete /getData")]
pub struct Endpoint {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Put(Box<put::Put>),
    List(list::List),
    Delete(Delete),
}

impl Endpoint {
    /// Does the one thing that was asked.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        match self.command {
            Command::Put(put) => put.execute().await,
            Command::List(list) => list.execute().await,
            Command::Delete(delete) => delete.execute().await,
        }
    }
}

/// Removes an endpoint; those of the node's file are removed there
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout endpoint delete /getData
  runabout endpoint delete '/report/{year}'")]
struct Delete {
    /// The endpoint's path, as it was written
    path: String,
    #[command(flatten)]
    target: Target,
}

impl Delete {
    async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        let query = [("path", Some(self.path.clone()))];
        node.ask(node.request_with(Method::DELETE, &["v1", "endpoints"], &query)).await?;
        if self.target.json {
            return output::result_text(&serde_json::json!({ "deleted": self.path }).to_string());
        }
        output::note(&format!("deleted {}", self.path));
        Ok(Exit::Ok)
    }
}
