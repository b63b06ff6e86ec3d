//! `runabout document list` and `history`.

use clap::Args;
use reqwest::Method;
use runabout_protocol::{Document, DocumentRevision};
use serde::Deserialize;

use crate::exit::Exit;
use crate::node::{Target, read};
use crate::output;
use crate::units::show_bytes;

/// Lists documents by name
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout document list
  runabout document list --limit 10 --json")]
pub struct List {
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    target: Target,
}

/// Lists a document's revisions, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout document history page
  runabout document history page --limit 10 --json")]
pub struct History {
    /// The document's name
    name: String,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Paging {
    /// How many at most
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Go on where the page before ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl List {
    /// Asks the node for a page.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let none = "no documents; make one with `runabout document put NAME FILE`";
        page(&self.target, &["v1", "documents"], self.paging, none, documents).await
    }
}

impl History {
    /// Asks the node for a page.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let path = ["v1", "documents", self.name.as_str(), "revisions"];
        page(&self.target, &path, self.paging, "no revisions", revisions).await
    }
}

async fn page<T: for<'de> Deserialize<'de>>(
    target: &Target,
    path: &[&str],
    paging: Paging,
    none: &str,
    table: impl Fn(&[T]) -> String,
) -> anyhow::Result<Exit> {
    let node = target.connect()?;
    let limit = paging.limit.map(|limit| limit.to_string());
    let query = [("limit", limit), ("cursor", paging.cursor)];
    let body = node.ask_body(node.request_with(Method::GET, path, &query)).await?;
    if target.json {
        return output::result_text(&String::from_utf8_lossy(&body));
    }
    let page: Page<T> = read(&body)?;
    if page.items.is_empty() {
        output::note(none);
        return Ok(Exit::Ok);
    }
    output::result_text(&table(&page.items))?;
    if let Some(cursor) = page.next_cursor {
        output::note(&format!("there are more: --cursor {cursor}"));
    }
    Ok(Exit::Ok)
}

fn documents(items: &[Document]) -> String {
    let mut rows = vec![["NAME", "REVISION", "SIZE", "AUTHOR", "TIME"].map(str::to_owned)];
    rows.extend(items.iter().map(|item| {
        let revision = if item.read_only { " (read-only)" } else { "" };
        [
            output::one_line(&item.name),
            format!("{}{revision}", item.revision),
            show_bytes(item.bytes),
            author(&item.author, item.verified),
            item.time.clone(),
        ]
    }));
    output::table(&rows)
}

fn revisions(items: &[DocumentRevision]) -> String {
    let mut rows = vec![["REVISION", "KIND", "AUTHOR", "TIME", "SUMMARY"].map(str::to_owned)];
    rows.extend(items.iter().map(|item| {
        let merged = if item.merged { ", merged" } else { "" };
        [
            item.revision.to_string(),
            format!("{}{merged}", output::one_line(&item.kind)),
            author(&item.author, item.verified),
            item.time.clone(),
            output::one_line(&item.summary),
        ]
    }));
    output::table(&rows)
}

/// Anybody can say any name; only a token vouches for one.
fn author(author: &str, is_verified: bool) -> String {
    let author = output::one_line(author);
    if is_verified { author } else { format!("{author}?") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_is_a_table() {
        let revision = r#"{"document":"page","revision":2,"parent":1,"base":1,"kind":"edit",
            "author":"Ada","verified":false,"summary":"two\nlines","time":"2026-01-01T03:00:00.000Z",
            "merged":true,"bytes":7,"media_type":"text/html"}"#;
        let expected = "\
REVISION  KIND          AUTHOR  TIME                      SUMMARY
2         edit, merged  Ada?    2026-01-01T03:00:00.000Z  two lines";
        assert_eq!(revisions(&[serde_json::from_str(revision).expect("reads")]), expected);
    }
}
