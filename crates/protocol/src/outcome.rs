//! How a run ended, and what it used. A function's failure is data, never an error of ours.

use serde::{Deserialize, Serialize};

use crate::{Encoding, Json, Returned};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(as = "crate::typescript::OutcomeCases"))]
#[serde(into = "OutcomeJson", try_from = "OutcomeJson")]
pub enum Outcome {
    /// The function returned a value.
    Returned(Returned),
    /// The function threw, trapped, or left with a non-zero exit code.
    Threw(ErrorReport),
    /// The run reached a limit of time.
    TimedOut {
        /// Which limit.
        limit: LimitKind,
        /// That limit, in milliseconds.
        limit_ms: u64,
    },
    /// The run asked for more memory than it may have, and did not recover.
    OutOfMemory {
        /// The limit it met, in bytes.
        limit_bytes: u64,
        /// Whose limit it was.
        scope: MemoryScope,
    },
    /// Somebody asked for it to stop.
    Cancelled,
    /// The workers it ran on were lost.
    Lost {
        /// How many were.
        attempts: u32,
    },
}

impl Outcome {
    /// The word for it on the wire and in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Returned(_) => "returned",
            Self::Threw(_) => "threw",
            Self::TimedOut { .. } => "timed_out",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::Cancelled => "cancelled",
            Self::Lost { .. } => "lost",
        }
    }

    /// An outcome that threw an error with neither stack nor cause.
    pub fn threw(name: &str, message: impl Into<String>) -> Self {
        Self::Threw(ErrorReport { name: name.to_owned(), message: message.into(), stack: None })
    }
}

/// What a function threw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ErrorReport {
    /// The error's name: `TypeError`, `RuntimeError` for a Wasm trap, `Exit` for an exit code.
    pub name: String,
    /// The error's message.
    pub message: String,
    /// Where it was thrown, one frame a line, if the engine knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
}

/// A limit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum LimitKind {
    /// The clock on the wall.
    Wall,
    /// The processor's.
    Cpu,
}

/// Whose memory ran out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum MemoryScope {
    /// The run's own limit.
    #[default]
    Run,
    /// What all runs of the node may have together.
    Node,
}

/// What a run used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Usage {
    /// Processor time, in milliseconds; null where it cannot be measured.
    pub cpu_ms: Option<f64>,
    /// Wall-clock time, in milliseconds.
    pub wall_ms: f64,
    /// The most memory it held at once, in bytes; null where it cannot be measured.
    pub memory_peak_bytes: Option<u64>,
    /// The node or worker it ran on; set by the server, never by the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ran_on: Option<String>,
}

/// [`Outcome`] as it stands in JSON: one flat object told apart by `kind`. Written by hand
/// because serde's tagged enums read through a buffer in which a raw JSON text does not survive.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Outcome))]
pub struct OutcomeJson {
    /// `returned`, `threw`, `timed_out`, `out_of_memory`, `cancelled` or `lost`.
    kind: String,
    /// What it returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Json>,
    /// `base64` if the value is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_encoding: Option<Encoding>,
    /// What it threw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorReport>,
    /// Which limit of time it reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<LimitKind>,
    /// That limit, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_ms: Option<u64>,
    /// The limit of memory it met, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_bytes: Option<u64>,
    /// `node` if it was the memory of all runs together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<MemoryScope>,
    /// How many workers were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
}

impl From<Outcome> for OutcomeJson {
    fn from(outcome: Outcome) -> Self {
        let kind = outcome.kind().to_owned();
        let flat = Self { kind, ..Self::default() };
        match outcome {
            Outcome::Returned(Returned { value, encoding }) => {
                Self { value: Some(value), value_encoding: encoding, ..flat }
            }
            Outcome::Threw(error) => Self { error: Some(error), ..flat },
            Outcome::TimedOut { limit, limit_ms } => {
                Self { limit: Some(limit), limit_ms: Some(limit_ms), ..flat }
            }
            Outcome::OutOfMemory { limit_bytes, scope } => Self {
                limit_bytes: Some(limit_bytes),
                scope: (scope == MemoryScope::Node).then_some(scope),
                ..flat
            },
            Outcome::Cancelled => flat,
            Outcome::Lost { attempts } => Self { attempts: Some(attempts), ..flat },
        }
    }
}

impl TryFrom<OutcomeJson> for Outcome {
    type Error = String;

    fn try_from(flat: OutcomeJson) -> Result<Self, String> {
        let missing = |field: &str| format!("an outcome {} needs {field}", flat.kind);
        match flat.kind.as_str() {
            "returned" => Ok(Self::Returned(Returned {
                // serde reads a null as an absent field.
                value: flat.value.unwrap_or_else(Json::null),
                encoding: flat.value_encoding,
            })),
            "threw" => Ok(Self::Threw(flat.error.ok_or_else(|| missing("error"))?)),
            "timed_out" => Ok(Self::TimedOut {
                limit: flat.limit.ok_or_else(|| missing("limit"))?,
                limit_ms: flat.limit_ms.ok_or_else(|| missing("limit_ms"))?,
            }),
            "out_of_memory" => Ok(Self::OutOfMemory {
                limit_bytes: flat.limit_bytes.ok_or_else(|| missing("limit_bytes"))?,
                scope: flat.scope.unwrap_or_default(),
            }),
            "cancelled" => Ok(Self::Cancelled),
            "lost" => {
                Ok(Self::Lost { attempts: flat.attempts.ok_or_else(|| missing("attempts"))? })
            }
            other => Err(format!("unknown outcome {other:?}")),
        }
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Outcome {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        OutcomeJson::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Outcome {
    fn name() -> std::borrow::Cow<'static, str> {
        "Outcome".into()
    }

    fn schemas(
        schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>,
    ) {
        OutcomeJson::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: Outcome, json: &str) {
        assert_eq!(serde_json::to_string(&outcome).expect("has JSON"), json);
        assert_eq!(serde_json::from_str::<Outcome>(json).expect("reads"), outcome);
    }

    #[test]
    fn outcomes_survive_their_json() {
        let value = Json::parse("{\"b\":1,\"a\":[2.0]}".to_owned()).expect("valid");
        check(
            Outcome::Returned(Returned { value, encoding: None }),
            r#"{"kind":"returned","value":{"b":1,"a":[2.0]}}"#,
        );
        check(
            Outcome::Returned(Returned {
                value: Json::string("aGk="),
                encoding: Some(Encoding::Base64),
            }),
            r#"{"kind":"returned","value":"aGk=","value_encoding":"base64"}"#,
        );
        check(
            Outcome::Returned(Returned { value: Json::null(), encoding: None }),
            r#"{"kind":"returned","value":null}"#,
        );
        check(
            Outcome::threw("TypeError", "no"),
            r#"{"kind":"threw","error":{"name":"TypeError","message":"no"}}"#,
        );
        check(
            Outcome::TimedOut { limit: LimitKind::Wall, limit_ms: 30_000 },
            r#"{"kind":"timed_out","limit":"wall","limit_ms":30000}"#,
        );
        check(
            Outcome::OutOfMemory { limit_bytes: 7, scope: MemoryScope::Run },
            r#"{"kind":"out_of_memory","limit_bytes":7}"#,
        );
        check(
            Outcome::OutOfMemory { limit_bytes: 7, scope: MemoryScope::Node },
            r#"{"kind":"out_of_memory","limit_bytes":7,"scope":"node"}"#,
        );
        check(Outcome::Cancelled, r#"{"kind":"cancelled"}"#);
        check(Outcome::Lost { attempts: 5 }, r#"{"kind":"lost","attempts":5}"#);
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        assert!(serde_json::from_str::<Outcome>(r#"{"kind":"vanished"}"#).is_err());
    }
}
