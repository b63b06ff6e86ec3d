//! Files made from the code: written by `cargo xtask generate`, committed, never edited. The check
//! fails when one is not what the code would write now.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::programs::{command, read, runabout};

/// A file, and where its content comes from.
struct Generated {
    path: &'static str,
    source: Source,
}

enum Source {
    /// What `runabout` prints with these arguments.
    Printed(&'static [&'static str]),
    /// What this makes.
    Made(fn() -> String),
}

use Source::{Made, Printed};

const FILES: &[Generated] = &[
    Generated { path: "docs/openapi.json", source: Printed(&["openapi"]) },
    Generated { path: "docs/errors.md", source: Printed(&["errors"]) },
    Generated { path: "docs/metrics.md", source: Printed(&["metrics"]) },
    Generated { path: "docs/cli.md", source: Printed(&["help-markdown"]) },
    Generated { path: "web/sdk/src/wire.ts", source: Made(runabout_protocol::declarations) },
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
        let content = match self.source {
            Printed(args) => read(command(runabout).args(args))?,
            Made(make) => make().into_bytes(),
        };
        Ok([content.trim_ascii_end(), b"\n"].concat())
    }
}
