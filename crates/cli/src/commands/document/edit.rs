//! `runabout document edit`: what people do, in one step.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::tell;
use crate::exit::{Exit, Failure};
use crate::node::{Node, Target};
use crate::output;

/// Edits a document: in your editor, or from a file that was made from a revision
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout document edit page
  runabout document edit page edited.html --base 7 --summary 'corrected the date'")]
pub struct Edit {
    /// The document's name
    name: String,
    /// The edited text; without it $EDITOR is started on the newest one
    #[arg(requires = "base")]
    file: Option<PathBuf>,
    /// The revision that the text was made from
    #[arg(long, value_name = "N", requires = "file")]
    base: Option<u64>,
    /// Who edits
    #[arg(long, value_name = "NAME", env = "USER")]
    author: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
    #[command(flatten)]
    target: Target,
}

impl Edit {
    /// Edits.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        if let (Some(file), Some(base)) = (&self.file, self.base) {
            let text = read(file)?;
            return self.send(&node, base, text, file).await;
        }
        let answer = node.ask(node.request(Method::GET, &["v1", "documents", &self.name])).await?;
        let base = answer.headers().get("runabout-revision").and_then(|it| it.to_str().ok());
        let base = base.and_then(|base| base.parse().ok()).context("the node told no revision")?;
        let text = node.body(answer).await?;
        let mut file = tempfile::Builder::new()
            .prefix(&format!("{}-", self.name))
            .suffix(".html")
            .tempfile()
            .context("failed to make a file to edit")?;
        file.write_all(&text).context("failed to write the file to edit")?;
        edit(file.path())?;
        let edited = read(file.path())?;
        if edited == text {
            output::note("nothing was changed");
            return Ok(Exit::Ok);
        }
        // Kept until it is accepted: it may be an hour's work.
        let (_, path) = file.keep().context("failed to keep the edited file")?;
        let exit = self.send(&node, base, edited, &path).await?;
        if exit == Exit::Ok {
            drop(std::fs::remove_file(&path));
        }
        Ok(exit)
    }

    async fn send(
        &self,
        node: &Node,
        base: u64,
        text: Vec<u8>,
        file: &Path,
    ) -> anyhow::Result<Exit> {
        let query = [("base", Some(base.to_string()))];
        let path = ["v1", "documents", self.name.as_str()];
        let mut request = node.request_with(Method::POST, &path, &query).body(text);
        for (name, value) in
            [("Runabout-Author", &self.author), ("Runabout-Summary", &self.summary)]
        {
            if let Some(value) = value {
                request = request.header(name, value.as_bytes());
            }
        }
        let answer = node.send(request).await?;
        if answer.status() == StatusCode::CONFLICT {
            let body = node.body(answer).await?;
            return Err(conflict(&body, file).into());
        }
        let answer = node.accept(answer).await?;
        tell(&node.body(answer).await?, self.target.json)
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("failed to read {}", file.display()))
}

fn edit(file: &Path) -> anyhow::Result<()> {
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR"));
    let editor = editor.unwrap_or_else(|_| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program).args(words).arg(file).status();
    let status = status.with_context(|| format!("failed to start the editor {program}"))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::ours(format!("the editor {program} gave up; nothing was sent")).into())
}

/// What collides, place by place, and how to go on.
fn conflict(body: &[u8], file: &Path) -> Failure {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("the edit collides with a later one");
    let mut told = detail.to_owned();
    for place in problem["conflicts"].as_array().into_iter().flatten() {
        let line = &place["current"]["line"];
        told.push_str(&format!("\nfrom line {line} on:"));
        for (side, mark) in [("current", "theirs"), ("yours", "yours ")] {
            for line in place[side]["text"].as_str().unwrap_or_default().lines() {
                told.push_str(&format!("\n  {mark}  {}", output::one_line(line)));
            }
        }
    }
    let current = &problem["current"]["revision"];
    Failure::new(Exit::Refused, told).hint(format!(
        "your text is in {}: join both, and send it with --base {current}",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_shows_both_sides() {
        let body = r#"{"detail":"it collides in 1 place with revision 3","current":{"revision":3},
            "conflicts":[{"current":{"line":2,"text":"a dog\n"},"yours":{"line":2,"text":"a cow\n"}}]}"#;
        let told = conflict(body.as_bytes(), Path::new("a.html")).to_string();
        assert!(told.contains("from line 2 on:\n  theirs  a dog\n  yours   a cow"), "{told}");
    }
}
