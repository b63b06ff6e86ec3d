//! `runabout backup`: a copy of a node's data, taken while the node runs.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use runabout_documents::Copied as Documents;
use runabout_store::{BackupProgress, Copied, Error};
use serde_json::json;

use super::serve::DEFAULT_DATA;
use crate::config;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::units::show_bytes;

/// Copies a node's data to a new directory, while the node runs or not
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout backup /backups/monday --data /var/lib/runabout
  runabout backup copy --config /etc/runabout.toml --json
  runabout serve --data copy

The copy is a data directory: a node starts from it. It holds everything that was accepted before
the backup began.")]
pub struct Backup {
    /// The directory to make; it must not exist, or be empty
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The node's data directory [default: what the node's file says, or runabout-data]
    #[arg(long, value_name = "DIR", env = "RUNABOUT_DATA")]
    data: Option<PathBuf>,
    /// The node's file with its settings [default: runabout.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "RUNABOUT_CONFIG")]
    config: Option<PathBuf>,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    /// Copies, and tells what.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let Self { directory, data, config, json } = self;
        let data = data_dir(data, config.as_deref())?;
        let bar = progress_bar();
        let shown = bar.clone();
        let (from, to) = (data.clone(), directory.clone());
        let copied = tokio::task::spawn_blocking(move || {
            let report = move |progress: BackupProgress| {
                shown.set_length(progress.bytes_expected);
                shown.set_position(progress.bytes.min(progress.bytes_expected));
            };
            copy(&from, &to, report)
        });
        let copied = copied.await?;
        bar.finish_and_clear();
        let copied = copied.map_err(|error| match error {
            NotCopied::Store(error) => failure(&error, &data, &directory),
            NotCopied::Documents(error) => without_documents(&error, &directory),
        })?;
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

/// What could not be copied.
enum NotCopied {
    Store(Error),
    Documents(runabout_documents::Error),
}

impl From<Error> for NotCopied {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

fn copy(
    from: &Path,
    to: &Path,
    report: impl FnMut(BackupProgress) + Send + 'static,
) -> Result<All, NotCopied> {
    let folder = runabout_server::DOCUMENTS_FOLDER;
    let documents = |copy: &Path| {
        let copied = runabout_documents::backup(&from.join(folder), &copy.join(folder));
        copied.map_err(NotCopied::Documents)
    };
    let files = [runabout_server::IDENTITY_FILE];
    let copied = runabout_store::backup(from, to, &files, documents, report);
    copied.map(|(store, documents)| All { store, documents })
}

/// Where the node keeps its data: found as the node finds it.
fn data_dir(named: Option<PathBuf>, config: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(named) = named else {
        let said = config::File::read(config)?.wishes.data;
        return Ok(said.unwrap_or_else(|| DEFAULT_DATA.into()));
    };
    Ok(named)
}

fn without_documents(error: &runabout_documents::Error, directory: &Path) -> Failure {
    let message = match error {
        runabout_documents::Error::Full => no_room(directory),
        error => error.to_string(),
    };
    Failure::ours(message).hint(NOTHING_LEFT)
}

/// All of it is there, or none.
const NOTHING_LEFT: &str = "nothing of the copy was left behind";

fn no_room(directory: &Path) -> String {
    format!("there is no room for the copy at {}", directory.display())
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
        Error::Full => Failure::ours(no_room(directory)).hint(NOTHING_LEFT),
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
        let Err(NotCopied::Store(error)) = copy(&from, &folder.path().join("to"), |_| ()) else {
            panic!("not refused");
        };
        let told = failure(&error, &from, Path::new("to")).to_string();
        assert!(told.contains("no node's data") && told.contains("none"), "{told}");
    }
}
