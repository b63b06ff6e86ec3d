//! `runabout backup`: a copy of a node's data, taken while the node runs.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use runabout_documents::Copied as Documents;
use runabout_store::{Copied, Error};
use serde_json::json;

use super::serve::DEFAULT_DATA;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::units::show_bytes;

/// Copies a node's data to a new directory, while the node runs or not
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout backup /backups/monday --data /var/lib/runabout
  runabout backup copy --json
  runabout serve --data copy

The copy is a data directory: a node starts from it. It holds everything that was accepted before
the backup began.")]
pub struct Backup {
    /// The directory to make; it must not exist, or be empty
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The node's data directory
    #[arg(long, value_name = "DIR", env = "RUNABOUT_DATA", default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// Copies, and tells what.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let Self { directory, data, json } = self;
        let bar = progress_bar();
        let shown = bar.clone();
        let (from, to) = (data.clone(), directory.clone());
        let copied = tokio::task::spawn_blocking(move || {
            let store = runabout_store::backup(
                &from,
                &to,
                &[runabout_server::IDENTITY_FILE],
                move |progress| {
                    shown.set_length(progress.bytes_expected);
                    shown.set_position(progress.bytes.min(progress.bytes_expected));
                },
            );
            let folder = runabout_server::DOCUMENTS_FOLDER;
            store.map(|store| {
                (store, runabout_documents::backup(&from.join(folder), &to.join(folder)))
            })
        });
        let copied = copied.await?;
        bar.finish_and_clear();
        let (store, documents) = copied.map_err(|error| failure(&error, &data, &directory))?;
        let documents = documents.map_err(|error| without_documents(&error, &directory))?;
        let copied = All { store, documents };
        if json {
            return output::result_text(&as_json(&directory, copied).to_string());
        }
        output::result_text(&describe(&directory, copied))
    }
}

/// What was copied of everything.
#[derive(Clone, Copy)]
struct All {
    store: Copied,
    documents: Documents,
}

fn without_documents(error: &runabout_documents::Error, directory: &Path) -> Failure {
    let hint = format!("{} is no whole copy: remove it", directory.display());
    Failure::ours(error.to_string()).hint(hint)
}

/// Drawn on stderr, and only on a terminal.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg} {bytes} of about {total_bytes} {wide_bar}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.with_message("copying the database:")
}

fn failure(error: &Error, data: &Path, directory: &Path) -> Failure {
    match error {
        Error::Full => {
            let message = format!("there is no room for the copy at {}", directory.display());
            Failure::ours(message).hint("nothing of it was left behind")
        }
        Error::NewerVersion { .. } => {
            let message = format!("failed to copy {}: {error}", data.display());
            Failure::ours(message).hint("use the version of runabout that the node runs")
        }
        _ if !data.join("tasks.db").is_file() => {
            Failure::ours(format!("there is no node's data in {}", data.display()))
                .hint("name the node's data directory with --data")
        }
        error => Failure::ours(error.to_string()),
    }
}

fn as_json(directory: &Path, All { store: copied, documents }: All) -> serde_json::Value {
    json!({
        "directory": directory.to_string_lossy(),
        "database_bytes": copied.database_bytes,
        "artifacts": copied.artifacts,
        "artifact_bytes": copied.artifact_bytes,
        "documents": documents.documents,
        "document_bytes": documents.bytes,
    })
}

fn describe(directory: &Path, All { store: copied, documents }: All) -> String {
    let files = format!("{} files, {}", copied.artifacts, show_bytes(copied.artifact_bytes));
    output::facts(&[
        ("copied to", directory.display().to_string()),
        ("database", show_bytes(copied.database_bytes)),
        ("artifacts", files),
        ("documents", format!("{}, {}", documents.documents, show_bytes(documents.bytes))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_copied_is_told_a_fact_a_line() {
        let store = Copied { database_bytes: 2 << 20, artifacts: 3, artifact_bytes: 17 };
        let copied = All { store, documents: Documents { documents: 2, bytes: 2048 } };
        let told = describe(Path::new("copy"), copied);
        assert_eq!(
            told,
            "copied to  copy\ndatabase   2.0 MiB\nartifacts  3 files, 17 B\ndocuments  2, 2.0 KiB"
        );
        assert_eq!(as_json(Path::new("copy"), copied)["artifacts"], 3);
    }

    #[test]
    fn a_folder_without_data_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let from = folder.path().join("none");
        let error = runabout_store::backup(&from, &folder.path().join("to"), &[], |_| ());
        let told = failure(&error.expect_err("refused"), &from, Path::new("to")).to_string();
        assert!(told.contains("no node's data") && told.contains("none"), "{told}");
    }
}
