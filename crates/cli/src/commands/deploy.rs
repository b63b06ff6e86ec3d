//! `runabout deploy`: gives a node a new version of a function.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode, header};
use runabout_protocol::{FunctionName, FunctionVersion};
use serde_json::{Map, Value, json};

use super::limits::LimitFlags;
use crate::exit::{Exit, Failure};
use crate::node::{Target, read};
use crate::output;
use crate::program::Program;

/// Deploys a function to a node, as a new version if anything changed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout deploy fib.js
  runabout deploy target/wasm32-unknown-unknown/release/fib.wasm --name fib
  runabout deploy thumbnail.ts --timeout 5s --memory 256MiB --retries 2
  runabout deploy my-folder --manifest manifest.toml")]
pub struct Deploy {
    /// A .js, .mjs, .ts, .mts or .wasm file, or a folder with package.json or index.js
    #[arg(value_name = "FILE|DIR")]
    file: PathBuf,
    /// The function's name; the file's or the package's if left out
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What is said of the function beside its code, in TOML or JSON; flags go before it
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The export that a call without one means
    #[arg(long, value_name = "NAME")]
    export: Option<String>,
    #[command(flatten)]
    limits: LimitFlags,
    /// More attempts a task gets after one that threw, timed out or ran out of memory
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    #[command(flatten)]
    target: Target,
}

impl Deploy {
    /// Deploys the file.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let program = Program::read(&self.file)?;
        let name = self.function_name(&program)?;
        let manifest = self.manifest()?;
        let node = self.target.connect()?;
        let request = node.request(Method::PUT, &["v1", "functions", name.as_str()]);
        let request = if manifest.is_empty() {
            request.header(header::CONTENT_TYPE, program.media_type()).body(program.bytes)
        } else {
            let (file_name, media_type) = (program.file_name(), program.media_type());
            let file = Part::stream(program.bytes).file_name(file_name).mime_str(media_type)?;
            let manifest = Value::Object(manifest).to_string();
            request.multipart(Form::new().part("file", file).text("manifest", manifest))
        };
        let response = node.ask(request).await?;
        let is_new = response.status() == StatusCode::CREATED;
        let body = node.body(response).await?;
        if self.target.json {
            return output::result_text(&String::from_utf8_lossy(&body));
        }
        output::result_text(&describe(&read(&body)?, is_new))
    }

    fn function_name(&self, program: &Program) -> anyhow::Result<FunctionName> {
        let name = self.name.as_ref().unwrap_or(&program.name);
        Ok(name.parse().map_err(|invalid| {
            let failure =
                Failure::new(Exit::Usage, format!("{name:?} cannot be a name: {invalid}"));
            if self.name.is_some() { failure } else { failure.hint("give one with --name") }
        })?)
    }

    /// The manifest as JSON. Its fields are not looked at here: the node knows them, and says so.
    fn manifest(&self) -> anyhow::Result<Map<String, Value>> {
        let mut manifest = match &self.manifest {
            Some(path) => read_manifest(path)?,
            None => Map::new(),
        };
        if let Some(export) = &self.export {
            manifest.insert("export".to_owned(), json!(export));
        }
        if let Some(retries) = self.retries {
            manifest.insert("retries".to_owned(), json!(retries));
        }
        if let Some(limits) = self.limits.wished() {
            let Value::Object(limits) = serde_json::to_value(limits)? else {
                return Ok(manifest);
            };
            match manifest.get_mut("limits") {
                Some(Value::Object(given)) => given.extend(limits),
                _ => drop(manifest.insert("limits".to_owned(), Value::Object(limits))),
            }
        }
        Ok(manifest)
    }
}

fn read_manifest(path: &Path) -> anyhow::Result<Map<String, Value>> {
    let failed = || format!("failed to read the manifest from {}", path.display());
    let text = std::fs::read_to_string(path).with_context(failed)?;
    if path.extension().is_some_and(|extension| extension == "json") {
        return serde_json::from_str(&text).with_context(failed);
    }
    let table: toml::Table = toml::from_str(&text).with_context(failed)?;
    match serde_json::to_value(table).with_context(failed)? {
        Value::Object(manifest) => Ok(manifest),
        _ => Ok(Map::new()),
    }
}

fn describe(version: &FunctionVersion, is_new: bool) -> String {
    let said = if is_new { "new version" } else { "equal to the latest version" };
    output::facts(&[
        ("deployed", format!("{}@{}, {said}", version.name, version.version)),
        ("language", version.language.as_str().to_owned()),
        ("exports", version.exports.join(", ")),
        ("digest", version.digest.to_string()),
    ])
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        deploy: Deploy,
    }

    fn deploy(words: &[&str]) -> Deploy {
        Line::parse_from([&["deploy"], words].concat()).deploy
    }

    #[test]
    fn flags_go_before_the_manifest_and_leave_the_rest_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("manifest.toml");
        let text = "export = 'a'\npure = true\n[limits]\ntimeout_ms = 5\nmemory_bytes = 9\n";
        std::fs::write(&path, text).expect("written");
        let path = path.to_string_lossy();
        let manifest =
            deploy(&["f.js", "--manifest", &path, "--export", "b", "--timeout", "1s"]).manifest();
        let expected = json!({
            "export": "b", "pure": true, "limits": {"timeout_ms": 1000, "memory_bytes": 9},
        });
        assert_eq!(Value::Object(manifest.expect("read")), expected);
    }

    #[test]
    fn nothing_said_is_no_manifest() {
        assert!(deploy(&["f.js"]).manifest().expect("read").is_empty());
    }

    #[test]
    fn a_file_whose_name_cannot_be_a_functions_needs_one() {
        let program = Program {
            path: "my file.js".into(),
            bytes: bytes::Bytes::new(),
            language: runabout_sandbox::SourceLanguage::JavaScript,
            name: "my file".to_owned(),
        };
        assert!(deploy(&["my file.js"]).function_name(&program).is_err());
        let named = deploy(&["my file.js", "--name", "mine"]).function_name(&program);
        assert_eq!(named.ok().map(|name| name.to_string()).as_deref(), Some("mine"));
    }
}
