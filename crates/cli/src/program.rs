//! What the user hands in: a file, or a folder with one entry file.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use runabout_sandbox::SourceLanguage;
use serde::Deserialize;

use crate::exit::Failure;

/// Code that was read from disk.
#[derive(Debug)]
pub struct Program {
    /// The file it was read from.
    pub path: PathBuf,
    /// Its bytes, as they are on disk.
    pub bytes: Bytes,
    /// What its name says it is.
    pub language: SourceLanguage,
    /// A name for it: the package's, or the file's without its extension.
    pub name: String,
}

impl Program {
    /// Reads a file, or the entry file of a folder.
    ///
    /// # Errors
    /// It is not there, is of a kind that does not run, or is a project with dependencies.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let (path, package) = if path.is_dir() { entry_of(path)? } else { (path.to_owned(), None) };
        let language = language_of(&path)?;
        let bytes = std::fs::read(&path)
            .with_context(|| format!("failed to read {}", path.display()))?
            .into();
        let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = package.unwrap_or_else(stem);
        Ok(Self { path, bytes, language, name })
    }

    /// The media type it is sent with.
    pub fn media_type(&self) -> &'static str {
        match self.language {
            SourceLanguage::JavaScript => "text/javascript",
            SourceLanguage::TypeScript => "text/typescript",
            SourceLanguage::Wasm => "application/wasm",
        }
    }

    /// The file's own name.
    pub fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

fn language_of(path: &Path) -> anyhow::Result<SourceLanguage> {
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match extension.as_str() {
        "js" | "mjs" => Ok(SourceLanguage::JavaScript),
        "ts" | "mts" => Ok(SourceLanguage::TypeScript),
        "wasm" => Ok(SourceLanguage::Wasm),
        _ => Err(Failure::ours(format!("{} is of a kind that does not run", path.display()))
            .hint("files that run end in .js, .mjs, .ts, .mts or .wasm")
            .into()),
    }
}

#[derive(Default, Deserialize)]
struct Package {
    name: Option<String>,
    main: Option<String>,
    #[serde(default)]
    dependencies: serde_json::Map<String, serde_json::Value>,
}

/// The entry file of a folder, and the name its package.json gives it.
fn entry_of(folder: &Path) -> anyhow::Result<(PathBuf, Option<String>)> {
    let package = read_package(folder)?;
    if !package.dependencies.is_empty() {
        let message = format!("{} has npm dependencies, which do not run yet", folder.display());
        let hint = "bundle it into one file first, for example with esbuild, and hand that in";
        return Err(Failure::ours(message).hint(hint).into());
    }
    let folder_name = folder.canonicalize().ok();
    let folder_name = folder_name.as_deref().and_then(Path::file_name);
    let name = package
        .name
        // `@scope/name` is a package's name but cannot be a function's.
        .map(|name| name.rsplit('/').next().unwrap_or_default().to_owned())
        .or_else(|| folder_name.map(|name| name.to_string_lossy().into_owned()));
    let candidates = match &package.main {
        Some(main) => vec![main.as_str()],
        None => vec!["index.js", "index.mjs", "index.ts", "index.mts"],
    };
    let found = candidates.iter().map(|file| folder.join(file)).find(|path| path.is_file());
    let path = found.ok_or_else(|| {
        let looked_for = candidates.join(", ");
        Failure::ours(format!("{} has no entry file: no {looked_for}", folder.display()))
    })?;
    Ok((path, name))
}

fn read_package(folder: &Path) -> anyhow::Result<Package> {
    let path = folder.join("package.json");
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Package::default()),
        other => other.with_context(|| format!("failed to read {}", path.display()))?,
    };
    serde_json::from_slice(&text).with_context(|| format!("failed to read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        folder
    }

    fn refusal(path: &Path) -> String {
        Program::read(path).expect_err("refused").to_string()
    }

    #[test]
    fn a_file_is_known_by_its_extension() {
        let folder = folder(&[("fib.mts", "1"), ("notes.txt", "")]);
        let program = Program::read(&folder.path().join("fib.mts")).expect("read");
        assert_eq!(program.language, SourceLanguage::TypeScript);
        assert_eq!((program.name.as_str(), program.file_name().as_str()), ("fib", "fib.mts"));
        assert!(refusal(&folder.path().join("notes.txt")).contains("does not run"));
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(refusal(Path::new("/nowhere/fib.js")).contains("/nowhere/fib.js"));
    }

    #[test]
    fn a_folder_runs_what_its_package_calls_main() {
        let package = r#"{"name": "@acme/thumb", "main": "src.js", "devDependencies": {"a": "1"}}"#;
        let folder = folder(&[("package.json", package), ("src.js", "1"), ("index.js", "2")]);
        let program = Program::read(folder.path()).expect("read");
        assert_eq!((program.name.as_str(), program.file_name().as_str()), ("thumb", "src.js"));
    }

    #[test]
    fn a_folder_without_a_package_runs_its_index() {
        let folder = folder(&[("index.ts", "1")]);
        let program = Program::read(folder.path()).expect("read");
        assert_eq!(program.file_name(), "index.ts");
    }

    #[test]
    fn a_folder_with_dependencies_is_refused_before_anything_runs() {
        let package = r#"{"dependencies": {"lodash": "4"}}"#;
        let folder = folder(&[("package.json", package), ("index.js", "1")]);
        assert!(refusal(folder.path()).contains("npm dependencies"));
    }

    #[test]
    fn an_empty_folder_says_what_was_looked_for() {
        assert!(refusal(folder(&[]).path()).contains("index.js"));
    }
}
