//! `runabout types`: what a node has deployed, as TypeScript declarations.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use reqwest::Method;
use runabout_protocol::{FunctionVersion, Language};
use serde::Deserialize;

use crate::exit::Exit;
use crate::node::{Node, Target, read};
use crate::output;
use crate::wasm_types;

/// Functions asked for at once.
const PAGE: &str = "500";

/// Writes TypeScript declarations of the functions that a node has deployed
///
/// For pages that call them: `node.fn<Functions['fib']>('fib')` is then checked by the compiler. The
/// parameters of WebAssembly are numbers, as many as its exports have. Of JavaScript a node knows
/// the exports and not their types: they take and return any JSON.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout types --out src/functions.d.ts
  runabout types --node http://10.0.0.7:7878 --token-file token.txt")]
pub struct Types {
    #[command(flatten)]
    target: Target,
    /// Where to write them [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<FunctionVersion>,
    next_cursor: Option<String>,
}

impl Types {
    /// Asks the node, and writes.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        let mut functions = Vec::new();
        for version in list(&node).await? {
            let bytes = match version.language {
                Language::Wasm => Some(artifact(&node, &version).await?),
                Language::Js | Language::Wasi => None,
            };
            functions.push((version, bytes));
        }
        let text = declarations(&functions);
        let Some(path) = &self.out else { return output::result_text(text.trim_end()) };
        std::fs::write(path, text)
            .with_context(|| format!("failed to write {}", path.display()))?;
        Ok(Exit::Ok)
    }
}

async fn list(node: &Node) -> anyhow::Result<Vec<FunctionVersion>> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let query = [("limit", Some(PAGE.to_owned())), ("cursor", cursor)];
        let request = node.request_with(Method::GET, &["v1", "functions"], &query);
        let page: Page = read(&node.ask_body(request).await?)?;
        all.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(all),
        }
    }
}

async fn artifact(node: &Node, version: &FunctionVersion) -> anyhow::Result<Vec<u8>> {
    let digest = version.digest.to_string();
    node.ask_body(node.request(Method::GET, &["v1", "artifacts", &digest])).await
}

/// The module that declares them.
fn declarations(functions: &[(FunctionVersion, Option<Vec<u8>>)]) -> String {
    let mut text = String::from(
        "// Written by `runabout types`: what a node has deployed. Write it again when that changes.\n\n\
         /** Any JSON value. */\n\
         export type Json =\n  \
         null | boolean | number | string | Json[] | { [key: string]: Json };\n\n\
         /** What each function is when it is called without an export. */\n\
         export interface Functions {\n",
    );
    for (version, bytes) in functions {
        let signature = signature(version, bytes.as_deref(), main_export(version));
        declare(&mut text, "  ", version, &signature);
    }
    text.push_str(
        "}\n\n/** Every export of each function, by name. */\nexport interface Exports {\n",
    );
    for (version, bytes) in functions {
        let exports = version.exports.iter().map(|export| {
            format!("{}: {}", quoted(export), signature(version, bytes.as_deref(), Some(export)))
        });
        let exports = exports.collect::<Vec<_>>().join("; ");
        declare(&mut text, "  ", version, &format!("{{ {exports} }}"));
    }
    text.push_str("}\n");
    text
}

fn declare(text: &mut String, indent: &str, version: &FunctionVersion, what: &str) {
    let FunctionVersion { name, version, language, .. } = version;
    let language = language.as_str();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{indent}/** `{name}@{version}`, {language}. */");
    let _ = writeln!(text, "{indent}{}: {what};", quoted(name.as_str()));
}

/// What a call without an export means.
fn main_export(version: &FunctionVersion) -> Option<&str> {
    let named = version.manifest.export.as_deref();
    let only = || version.exports.first().filter(|_| version.exports.len() == 1);
    let default = || version.exports.iter().find(|export| *export == "default");
    named.or_else(|| default().or_else(only).map(String::as_str))
}

fn signature(version: &FunctionVersion, bytes: Option<&[u8]>, export: Option<&str>) -> String {
    let known = match (version.language, bytes, export) {
        (Language::Wasm, Some(bytes), Some(export)) => wasm_types::signature(bytes, export),
        (Language::Wasi, ..) => Some("(...args: string[]) => string | Uint8Array".to_owned()),
        _ => None,
    };
    known.unwrap_or_else(|| "(...args: Json[]) => Json".to_owned())
}

/// A JSON string is a TypeScript string.
fn quoted(name: &str) -> String {
    serde_json::to_string(name).expect("a string has a JSON form")
}

#[cfg(test)]
mod tests {
    use runabout_protocol::{Digest, Manifest};

    use super::*;

    fn version(name: &str, language: Language, exports: &[&str]) -> FunctionVersion {
        FunctionVersion {
            name: name.parse().expect("a name"),
            version: 3,
            digest: Digest([0; 32]),
            language,
            form: None,
            exports: exports.iter().map(|export| (*export).to_owned()).collect(),
            manifest: Manifest::default(),
            created_at: String::new(),
        }
    }

    #[test]
    fn every_function_and_export_is_declared() {
        let functions = [
            (version("a.b", Language::Js, &["default", "x\"y"]), None),
            (version("cat", Language::Wasi, &["_start"]), None),
        ];
        let text = declarations(&functions);
        for line in [
            "  /** `a.b@3`, js. */",
            "  \"a.b\": (...args: Json[]) => Json;",
            "  \"a.b\": { \"default\": (...args: Json[]) => Json; \
             \"x\\\"y\": (...args: Json[]) => Json };",
            "  \"cat\": (...args: string[]) => string | Uint8Array;",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
