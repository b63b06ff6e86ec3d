//! `runabout document put`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use reqwest::Method;

use super::tell;
use crate::exit::Exit;
use crate::node::Target;

/// Makes a document from a file, or replaces one as a whole
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout document put page page.html
  runabout document put page page.html --if-revision 7
  runabout document put page page.html --replace")]
pub struct Put {
    /// The document's name
    name: String,
    /// The file with its text
    file: PathBuf,
    /// Replace it, if it is at this revision
    #[arg(long, value_name = "N", conflicts_with = "replace")]
    if_revision: Option<u64>,
    /// Replace it, whatever it is; without either it must be new
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    target: Target,
}

impl Put {
    /// Puts the document.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let text = std::fs::read(&self.file)
            .with_context(|| format!("failed to read {}", self.file.display()))?;
        let node = self.target.connect()?;
        let request = node.request(Method::PUT, &["v1", "documents", &self.name]).body(text);
        let request = match (self.if_revision, self.replace) {
            (Some(revision), _) => request.header("If-Match", format!("\"{revision}\"")),
            (None, true) => request.header("If-Match", "*"),
            (None, false) => request.header("If-None-Match", "*"),
        };
        let request = match media_type(&self.file) {
            Some(media_type) => request.header("Content-Type", media_type),
            // The node guesses.
            None => request,
        };
        tell(&node.ask_body(request).await?, self.target.json)
    }
}

fn media_type(file: &Path) -> Option<&'static str> {
    let extension = file.extension()?.to_str()?.to_ascii_lowercase();
    let extension = match extension.as_str() {
        "htm" => "html",
        "jpeg" => "jpg",
        "markdown" => "md",
        "yml" => "yaml",
        extension => extension,
    };
    runabout_documents::MediaType::of_extension(extension).map(|it| it.essence())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_its_type_by_its_name() {
        assert_eq!(media_type(Path::new("a/b.HTM")), Some("text/html"));
        assert_eq!(media_type(Path::new("b.jpeg")), Some("image/jpeg"));
        assert_eq!(media_type(Path::new("b")), None);
    }
}
