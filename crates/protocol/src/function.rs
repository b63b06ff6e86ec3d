//! Functions: named, versioned, immutable artifacts and their manifests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, de};

use crate::{Digest, LimitsRequest};

/// What an artifact is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// JavaScript; TypeScript becomes this when it is accepted.
    Js,
    /// A core WebAssembly module whose exports are called with numbers.
    Wasm,
    /// A WebAssembly command (`_start`) with arguments, stdin and stdout.
    Wasi,
}

impl Language {
    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Js => "js",
            Self::Wasm => "wasm",
            Self::Wasi => "wasi",
        }
    }
}

/// The form of JavaScript source, decided once, when it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// No `import` and no `export`: runs top to bottom, the last expression is the result.
    Script,
    /// `export default function (...args)`, or named exports.
    Module,
}

/// What JavaScript runs in, where there is a choice: nodes have only this one, tabs their browser's
/// besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum JsEngine {
    /// QuickJS in WebAssembly: slower than a browser's, and with exact limits.
    Quickjs,
}

/// Where to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// On the node that was asked.
    Here,
    /// On the node behind it.
    Upstream,
    /// In a browser tab.
    Tab,
    /// Wherever it is best.
    #[default]
    Auto,
}

impl Place {
    /// Whether it is the place of what asks for none.
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// In what surroundings the attempts of a task run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Where.
    pub place: Place,
    /// What its JavaScript must run in; whatever the worker has, when left out.
    pub engine: Option<JsEngine>,
    /// Whether its sandbox may be kept from one run to the next.
    pub reuse: bool,
}

/// What is said of a function beside its code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the code is written in; found out when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Script or module; found out when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// The export that a call without one means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// Limits of its runs, where a request asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsRequest>,
    /// How many more attempts a task gets after one that threw, timed out or ran out of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Where to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The same, in the words of an endpoint: `0`, `1`, `auto`, `query`, or a CEL rule over `args`
    /// that says whether a call goes upstream, `args[0] > 32`. It excludes `place`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offload: Option<String>,
    /// Whether running it twice does no harm; true when left out, as no role grants effects yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pure: Option<bool>,
    /// What it may touch while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What its JavaScript must run in; whatever the worker has, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<JsEngine>,
    /// Whether its sandbox may be kept from one run to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reuse: Option<bool>,
}

/// A function's name: 1 to 64 of `a-z A-Z 0-9 . _ -`, beginning with a letter, a digit or `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
#[serde(transparent)]
pub struct FunctionName(String);

/// The text is no function name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidName;

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a function's name has 1 to 64 letters, digits, dots, dashes and underscores, \
             and begins with neither a dot nor a dash",
        )
    }
}

impl std::error::Error for InvalidName {}

impl FunctionName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FunctionName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let starts_well = !text.starts_with(['.', '-']);
        if text.is_empty() || text.len() > 64 || !starts_well || !text.chars().all(allowed) {
            return Err(InvalidName);
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for FunctionName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// One deployed version of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct FunctionVersion {
    /// The function's name.
    pub name: FunctionName,
    /// From 1; a number is never used again, not even after the function was deleted.
    pub version: u32,
    /// The artifact.
    pub digest: Digest,
    /// What the artifact is written in.
    pub language: Language,
    /// Script or module, for JavaScript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// What can be called.
    pub exports: Vec<String>,
    /// What is said of it.
    pub manifest: Manifest,
    /// When it was deployed, RFC 3339 in UTC.
    pub created_at: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_are_refused() {
        for name in ["", ".hidden", "-flag", "a/b", "a b", "ü", "a@1", &"a".repeat(65)] {
            assert_eq!(name.parse::<FunctionName>(), Err(InvalidName), "{name:?}");
        }
    }

    #[test]
    fn ordinary_names_are_taken() {
        for name in ["fib", "Resize_image-2", "a.b", "_x", "9"] {
            assert!(name.parse::<FunctionName>().is_ok(), "{name:?}");
        }
    }
}
