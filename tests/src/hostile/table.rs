//! The table: a row for each guest, with what it is and how it must end.

use serde::Deserialize;
use serde_json::Value;

use super::made;
use crate::project;

const TABLE: &str = "tests/hostile/table.toml";

/// A guest and its expected end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Unique; a function's name too.
    pub name: String,
    /// Its code, a path in the project. `.wat` is translated.
    file: Option<String>,
    /// Its code, by the name of what makes it.
    made: Option<String>,
    /// `js` or `wasm`, where the code is made.
    language: Option<String>,
    /// The export to call.
    pub export: Option<String>,
    /// Its arguments.
    #[serde(default)]
    args: Vec<Value>,
    /// Its arguments, by the name of what makes their JSON.
    args_made: Option<String>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// How it is sent.
    #[serde(default = "both_ways")]
    pub sent: Vec<Way>,
    /// How its run must end: what stands here must stand in the outcome. A text that ends with
    /// `...` is the beginning of the one that must stand there.
    pub outcome: Option<Value>,
    /// Or, how it must be refused.
    pub refused: Option<Refusal>,
    /// What it must have written, a line each as `stream text`. For tasks.
    pub lines: Option<Vec<String>>,
    /// Whether some of what it wrote must have been dropped. For tasks.
    pub truncated: Option<bool>,
}

/// What a run may use; the node's defaults where it is silent.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub timeout_ms: Option<u64>,
    pub cpu_ms: Option<u64>,
    pub memory_bytes: Option<u64>,
}

/// How a guest reaches the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Deployed, then called.
    Call,
    /// Submitted as a task.
    Task,
}

/// A status and a code.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
}

/// A guest's code.
pub enum Code {
    JavaScript(Vec<u8>),
    Wasm(Vec<u8>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    guest: Vec<Row>,
}

fn both_ways() -> Vec<Way> {
    vec![Way::Task, Way::Call]
}

/// Every row.
pub fn table() -> Vec<Row> {
    let text = std::fs::read_to_string(project().join(TABLE)).expect("the table is there");
    let rows = toml::from_str::<Table>(&text).unwrap_or_else(|error| panic!("{TABLE}: {error}"));
    for (index, row) in rows.guest.iter().enumerate() {
        assert!(row.outcome.is_some() != row.refused.is_some(), "{}: one end", row.name);
        assert!(row.file.is_some() != row.made.is_some(), "{}: one code", row.name);
        let is_new = rows.guest.iter().take(index).all(|other| other.name != row.name);
        assert!(is_new, "{} stands twice in {TABLE}", row.name);
    }
    rows.guest
}

impl Row {
    /// Its code.
    pub fn code(&self) -> Code {
        if let Some(made) = &self.made {
            return match self.language.as_deref() {
                Some("js") => Code::JavaScript(made::source(made).into_bytes()),
                _ => Code::Wasm(made::module(made)),
            };
        }
        let file = self.file.as_deref().expect("a row has a file or is made");
        let path = project().join(file);
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("wat") => {
                let module = wat::parse_bytes(&bytes);
                Code::Wasm(module.unwrap_or_else(|error| panic!("{file}: {error}")).into_owned())
            }
            Some("wasm") => Code::Wasm(bytes),
            _ => Code::JavaScript(bytes),
        }
    }

    /// Its arguments as JSON.
    pub fn args(&self) -> String {
        match &self.args_made {
            Some(made) => made::args(made),
            None => Value::from(self.args.clone()).to_string(),
        }
    }
}

impl Limits {
    /// As a query of a call.
    pub fn query(self) -> Vec<(&'static str, String)> {
        self.given().map(|(name, limit)| (name, limit.to_string())).collect()
    }

    /// As the `limits` of a task.
    pub fn json(self) -> Value {
        self.given().map(|(name, limit)| (name.to_owned(), Value::from(limit))).collect()
    }

    fn given(self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self { timeout_ms, cpu_ms, memory_bytes } = self;
        [("timeout_ms", timeout_ms), ("cpu_ms", cpu_ms), ("memory_bytes", memory_bytes)]
            .into_iter()
            .filter_map(|(name, limit)| Some((name, limit?)))
    }
}
