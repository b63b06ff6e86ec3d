//! `runabout document`: plain files with revisions, on a node.

mod edit;
mod list;
mod put;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use reqwest::Method;
use runabout_protocol::DocumentChange;

use crate::exit::Exit;
use crate::node::{Target, read};
use crate::output;

/// Reads and edits documents: plain files with a history, edited by many at once
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  runabout document put page page.html
  runabout document edit page
  runabout document history page
  runabout document get page --revision 1")]
pub struct Document {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::List),
    Get(Get),
    Put(put::Put),
    Edit(edit::Edit),
    History(list::History),
    Delete(Delete),
}

impl Document {
    /// Does the one thing that was asked.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        match self.command {
            Command::List(list) => list.execute().await,
            Command::Get(get) => get.execute().await,
            Command::Put(put) => put.execute().await,
            Command::Edit(edit) => edit.execute().await,
            Command::History(history) => history.execute().await,
            Command::Delete(delete) => delete.execute().await,
        }
    }
}

/// Prints a document's text
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout document get page
  runabout document get page --revision 7 --output old.html")]
struct Get {
    /// The document's name
    name: String,
    /// That revision, and not the newest
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Write it to a file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

impl Get {
    async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        let number = self.revision.map(|number| number.to_string());
        let path: &[&str] = match &number {
            None => &["v1", "documents", &self.name],
            Some(number) => &["v1", "documents", &self.name, "revisions", number],
        };
        let text = node.ask_body(node.request(Method::GET, path)).await?;
        match self.output {
            None => output::result_bytes(&text),
            Some(path) => {
                std::fs::write(&path, text)
                    .with_context(|| format!("failed to write {}", path.display()))?;
                Ok(Exit::Ok)
            }
        }
    }
}

/// Removes a document and its history
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout document delete page")]
struct Delete {
    /// The document's name
    name: String,
    #[command(flatten)]
    target: Target,
}

impl Delete {
    async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        node.ask(node.request(Method::DELETE, &["v1", "documents", &self.name])).await?;
        if self.target.json {
            return output::result_text(&serde_json::json!({ "deleted": self.name }).to_string());
        }
        output::note(&format!("deleted {}", self.name));
        Ok(Exit::Ok)
    }
}

/// Tells what became of a change.
fn tell(body: &[u8], json: bool) -> anyhow::Result<Exit> {
    if json {
        return output::result_text(&String::from_utf8_lossy(body));
    }
    let DocumentChange { revision, changed } = read(body)?;
    let name = output::one_line(&revision.document);
    let number = revision.revision;
    output::result_text(&match (changed, revision.merged) {
        (false, _) => format!("{name} is that already, at revision {number}"),
        (true, true) => format!("{name} is at revision {number}, merged with what had changed"),
        (true, false) => format!("{name} is at revision {number}"),
    })
}
