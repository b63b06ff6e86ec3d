//! Files made from the code: written by `cargo xtask generate`, committed, never edited. The check
//! fails when one is not what the code would write now.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::programs::{command, read, runabout};

/// A file, and the command of `runabout` that prints it.
struct Generated {
    path: &'static str,
    args: &'static [&'static str],
}

const FILES: &[Generated] = &[
    Generated { path: "docs/openapi.json", args: &["openapi"] },
    Generated { path: "docs/errors.md", args: &["errors"] },
    Generated { path: "docs/metrics.md", args: &["metrics"] },
    Generated { path: "docs/cli.md", args: &["help-markdown"] },
];

/// Writes every generated file.
pub fn write() -> Result<()> {
    let runabout = runabout()?;
    for file in FILES {
        let path = Path::new(file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("failed to make {}", folder.display()))?;
        }
        fs::write(path, file.content(runabout)?)
            .with_context(|| format!("failed to write {}", file.path))?;
        println!("wrote {}", file.path);
    }
    Ok(())
}

/// Fails if a generated file is missing or is not what would be written.
pub fn check() -> Result<()> {
    let runabout = runabout()?;
    let mut stale = Vec::new();
    for file in FILES {
        let wanted = file.content(runabout)?;
        if fs::read(file.path).ok().as_deref() != Some(&wanted) {
            stale.push(file.path);
        }
    }
    if !stale.is_empty() {
        bail!("out of date: {}; run `cargo xtask generate`", stale.join(", "));
    }
    Ok(())
}

impl Generated {
    fn content(&self, runabout: &Path) -> Result<Vec<u8>> {
        let printed = read(command(runabout).args(self.args))?;
        Ok([printed.trim_ascii_end(), b"\n"].concat())
    }
}
