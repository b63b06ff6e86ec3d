//! Frames as text: a JSON object with a `type`. What a reader does not know it ignores and counts;
//! what it knows must be right.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    Arguments, Attempt, Checkpoint, Digest, Encoding, Form, JsEngine, Json, Language, Limits, Run,
    ServerToWorker, Surroundings, TaskId, WorkerToServer,
};

/// The most bytes a frame may have.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// A frame that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard<F> {
    /// The frame; `None` if its type is not known.
    pub frame: Option<F>,
    /// Whether it has a field that is not known.
    pub has_unknown_field: bool,
}

/// What makes a text no frame.
#[derive(Debug)]
pub struct Malformed {
    /// The `type` whose fields are wrong; `None` if the text is not even an object with a type.
    kind: Option<String>,
    error: serde_json::Error,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Some(kind) => write!(f, "a wrong {kind} frame: {}", self.error),
            None => write!(f, "no frame: {}", self.error),
        }
    }
}

impl std::error::Error for Malformed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// One side's frames.
pub trait Frame: Serialize + Sized {
    /// Every type of this side, with its fields.
    const TYPES: &'static [(&'static str, &'static [&'static str])];

    /// Reads the fields of a frame of that type, one of [`Self::TYPES`].
    ///
    /// # Errors
    /// They are not what that type has.
    fn read_as(kind: &str, text: &str) -> serde_json::Result<Self>;

    /// Reads a frame.
    ///
    /// # Errors
    /// The text is no object with a `type`, or of a known type and not what that type has.
    fn read(text: &str) -> Result<Heard<Self>, Malformed> {
        let no_frame = |error| Malformed { kind: None, error };
        let Keys { kind, fields } = serde_json::from_str(text).map_err(no_frame)?;
        let Some((kind, known)) = Self::TYPES.iter().find(|(known, _)| *known == kind) else {
            return Ok(Heard { frame: None, has_unknown_field: false });
        };
        let has_unknown_field = fields.iter().any(|field| !known.contains(&field.as_ref()));
        let wrong = |error| Malformed { kind: Some((*kind).to_owned()), error };
        let frame = Self::read_as(kind, text).map_err(wrong)?;
        Ok(Heard { frame: Some(frame), has_unknown_field })
    }

    /// The frame as text.
    fn text(&self) -> String {
        serde_json::to_string(self).expect("every frame has a JSON form")
    }
}

/// The fields of frames that are about an attempt, and `more`.
macro_rules! about_an_attempt {
    ($($more:literal),*) => { &["task", "attempt", $($more),*] };
}

impl Frame for WorkerToServer {
    const TYPES: &'static [(&'static str, &'static [&'static str])] = &[
        ("hello", &["protocol", "kind", "slots", "capabilities", "name", "token"]),
        ("started", about_an_attempt!()),
        ("progress", about_an_attempt!("fraction", "message")),
        ("log", about_an_attempt!("seq", "stream", "text")),
        ("checkpoint", about_an_attempt!("state", "state_encoding")),
        ("finished", about_an_attempt!("outcome", "usage", "output_truncated")),
        ("pong", &["n"]),
        ("slots", &["slots"]),
        ("goodbye", &[]),
    ];

    fn read_as(kind: &str, text: &str) -> serde_json::Result<Self> {
        Ok(match kind {
            "hello" => Self::Hello(serde_json::from_str(text)?),
            "started" => Self::Started(serde_json::from_str(text)?),
            "progress" => Self::Progress(serde_json::from_str(text)?),
            "log" => Self::Log(serde_json::from_str(text)?),
            "checkpoint" => Self::Checkpoint(serde_json::from_str(text)?),
            "finished" => Self::Finished(serde_json::from_str(text)?),
            "pong" => Self::Pong(serde_json::from_str(text)?),
            "slots" => Self::Slots(serde_json::from_str(text)?),
            _ => Self::Goodbye(serde_json::from_str(text)?),
        })
    }
}

impl Frame for ServerToWorker {
    const TYPES: &'static [(&'static str, &'static [&'static str])] = &[
        ("welcome", &["protocol", "worker", "ping_every_ms"]),
        (
            "run",
            about_an_attempt!(
                "artifact",
                "language",
                "form",
                "export",
                "args",
                "args_encoding",
                "stdin",
                "limits",
                "checkpoint",
                "checkpoint_encoding",
                "engine",
                "reuse"
            ),
        ),
        ("cancel", about_an_attempt!()),
        ("ping", &["n"]),
        ("resize", &["slots"]),
    ];

    fn read_as(kind: &str, text: &str) -> serde_json::Result<Self> {
        Ok(match kind {
            "welcome" => Self::Welcome(serde_json::from_str(text)?),
            "run" => Self::Run(serde_json::from_str(text)?),
            "cancel" => Self::Cancel(serde_json::from_str(text)?),
            "ping" => Self::Ping(serde_json::from_str(text)?),
            _ => Self::Resize(serde_json::from_str(text)?),
        })
    }
}

/// The type of a frame, and the names of its other fields. A frame is looked at twice, as only its
/// type tells what the fields hold, and values must be kept as the text they came in.
struct Keys<'a> {
    kind: Cow<'a, str>,
    /// At most [`FIELDS_MAX`] and one.
    fields: Vec<Cow<'a, str>>,
}

/// More fields than any frame has. Those beyond are not remembered: one of these is unknown.
const FIELDS_MAX: usize = 16;

impl<'de> Deserialize<'de> for Keys<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a type")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys<'de>, A::Error> {
        let (mut kind, mut fields) = (None, Vec::new());
        while let Some(Text(key)) = map.next_key()? {
            if key == "type" {
                if kind.is_some() {
                    return Err(serde::de::Error::duplicate_field("type"));
                }
                let Text(value) = map.next_value()?;
                kind = Some(value);
            } else {
                map.next_value::<IgnoredAny>()?;
                if fields.len() <= FIELDS_MAX {
                    fields.push(key);
                }
            }
        }
        let kind = kind.ok_or_else(|| serde::de::Error::missing_field("type"))?;
        Ok(Keys { kind, fields })
    }
}

/// Text that is copied only if it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// [`Run`] as it stands on the wire: values and texts, each with its encoding beside it.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "typescript", ts(rename = "RunFrame", concrete(J = Json, T = String)))]
pub(crate) struct RunJson<J, T> {
    task: TaskId,
    attempt: Attempt,
    /// The artifact's digest; its bytes are at `/v1/artifacts/{digest}`.
    artifact: Digest,
    language: Language,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    form: Option<Form>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    export: Option<T>,
    /// An array. With `args_encoding`, every element is a string of base64.
    args: J,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    args_encoding: Option<Encoding>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    stdin: Option<T>,
    limits: Limits,
    /// What the last attempt left to go on from.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    checkpoint: Option<J>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    checkpoint_encoding: Option<Encoding>,
    /// What JavaScript must run in: its manifest says so, or its limits need to be exact.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    engine: Option<JsEngine>,
    /// Whether its sandbox may be kept for the next run of the same artifact.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reuse: bool,
}

// Not `Default::default`, for which serde would want `J` and `T` to have one too.
fn none<T>() -> Option<T> {
    None
}

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let checkpoint = self.checkpoint.as_ref();
        let json = RunJson {
            task: self.task,
            attempt: self.attempt,
            artifact: self.artifact,
            language: self.language,
            form: self.form,
            export: self.export.as_deref(),
            args: &self.args.values,
            args_encoding: self.args.encoding,
            stdin: self.stdin.as_deref(),
            limits: self.limits,
            checkpoint: checkpoint.map(|checkpoint| &checkpoint.state),
            checkpoint_encoding: checkpoint.and_then(|checkpoint| checkpoint.encoding),
            engine: self.surroundings.engine,
            reuse: self.surroundings.reuse,
        };
        json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = RunJson::<Json, String>::deserialize(deserializer)?;
        let encoding = json.checkpoint_encoding;
        Ok(Self {
            task: json.task,
            attempt: json.attempt,
            artifact: json.artifact,
            language: json.language,
            form: json.form,
            export: json.export,
            args: Arguments { values: json.args, encoding: json.args_encoding },
            stdin: json.stdin,
            limits: json.limits,
            checkpoint: json.checkpoint.map(|state| Checkpoint { state, encoding }),
            surroundings: Surroundings {
                engine: json.engine,
                reuse: json.reuse,
                ..Surroundings::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{self, Goodbye, Hello};
    use crate::{Capability, Outcome, Returned, Stream, Usage, WorkerKind};

    const TASK: &str = "019a0000-0000-7000-8000-000000000001";

    fn about() -> (TaskId, Attempt) {
        (TASK.parse().expect("an id"), Attempt(2))
    }

    /// The frame's text is that, and is read back as the frame.
    fn check<F: Frame + PartialEq + fmt::Debug>(frame: F, text: &str) {
        assert_eq!(frame.text(), text);
        let heard = F::read(text).expect("reads");
        assert_eq!(heard, Heard { frame: Some(frame), has_unknown_field: false });
    }

    fn refusal(text: &str) -> String {
        WorkerToServer::read(text).expect_err("malformed").to_string()
    }

    #[test]
    fn frames_survive_their_text() {
        let (task, attempt) = about();
        let about = format!("\"task\":\"{TASK}\",\"attempt\":2");
        check(
            WorkerToServer::Hello(Hello {
                protocol: 1,
                kind: WorkerKind::Tab,
                slots: 4,
                capabilities: vec![Capability::Js, Capability::Wasm],
                name: None,
                token: Some("t".to_owned()),
            }),
            r#"{"type":"hello","protocol":1,"kind":"tab","slots":4,"capabilities":["js","wasm"],"token":"t"}"#,
        );
        check(
            WorkerToServer::Log(frame::Log {
                task,
                attempt,
                seq: 7,
                stream: Stream::Stderr,
                text: "größer".to_owned(),
            }),
            &format!(r#"{{"type":"log",{about},"seq":7,"stream":"stderr","text":"größer"}}"#),
        );
        check(
            WorkerToServer::Finished(frame::Finished {
                task,
                attempt,
                outcome: Outcome::Returned(Returned {
                    value: Json::parse("[1.50, 12345678901234567890]".to_owned()).expect("JSON"),
                    encoding: None,
                }),
                usage: Usage { wall_ms: 1.5, ..Usage::default() },
                output_truncated: false,
            }),
            &format!(
                r#"{{"type":"finished",{about},"outcome":{{"kind":"returned","value":[1.50, 12345678901234567890]}},"usage":{{"cpu_ms":null,"wall_ms":1.5,"memory_peak_bytes":null}}}}"#
            ),
        );
        check(WorkerToServer::Goodbye(Goodbye {}), r#"{"type":"goodbye"}"#);
        check(ServerToWorker::Ping(frame::Ping { n: 3 }), r#"{"type":"ping","n":3}"#);
    }

    #[test]
    fn a_run_survives_its_text() {
        let (task, attempt) = about();
        let run = Run {
            task,
            attempt,
            artifact: Digest([0xab; 32]),
            language: Language::Js,
            form: Some(Form::Module),
            export: None,
            args: Arguments {
                values: Json::parse("[34]".to_owned()).expect("JSON"),
                encoding: None,
            },
            stdin: None,
            limits: Limits::default(),
            checkpoint: Some(Checkpoint {
                state: Json::string("aGk="),
                encoding: Some(Encoding::Base64),
            }),
            surroundings: Surroundings {
                engine: Some(JsEngine::Quickjs),
                reuse: true,
                ..Surroundings::default()
            },
        };
        let text = format!(
            r#"{{"type":"run","task":"{TASK}","attempt":2,"artifact":"{}","language":"js","form":"module","args":[34],"limits":{{"timeout_ms":30000,"cpu_ms":30000,"memory_bytes":134217728}},"checkpoint":"aGk=","checkpoint_encoding":"base64","engine":"quickjs","reuse":true}}"#,
            run.artifact
        );
        check(ServerToWorker::Run(Box::new(run)), &text);
    }

    #[test]
    fn what_is_not_known_is_ignored_and_told() {
        let heard = WorkerToServer::read(r#"{"type":"greeting","n":1}"#).expect("reads");
        assert_eq!(heard, Heard { frame: None, has_unknown_field: false });
        let heard = WorkerToServer::read(r#"{"n":3,"colour":{"r":1},"type":"pong"}"#);
        let pong = WorkerToServer::Pong(frame::Pong { n: 3 });
        let expected = Heard { frame: Some(pong), has_unknown_field: true };
        assert_eq!(heard.expect("reads"), expected);
        let hello =
            r#"{"type":"hello","protocol":1,"kind":"tab","slots":1,"capabilities":["gpu"]}"#;
        let heard = WorkerToServer::read(hello).expect("reads").frame;
        let Some(WorkerToServer::Hello(hello)) = heard else { panic!("{heard:?}") };
        assert_eq!(hello.capabilities, [Capability::Unknown]);
    }

    #[test]
    fn what_is_known_must_be_right() {
        for text in ["", "{", "[]", "null", "7", "{}", r#"{"type":7}"#, r#"{"type":"pong","n":1"#] {
            assert!(refusal(text).starts_with("no frame: "), "{text}: {}", refusal(text));
        }
        for text in [
            r#"{"type":"pong"}"#,
            r#"{"type":"pong","n":-1}"#,
            r#"{"type":"pong","n":1,"n":2}"#,
            r#"{"type":"pong","n":1e40}"#,
        ] {
            assert!(refusal(text).starts_with("a wrong pong frame: "), "{text}: {}", refusal(text));
        }
        assert!(refusal(r#"{"type":"pong","type":"slots"}"#).contains("duplicate field"));
    }

    #[test]
    fn the_known_fields_are_those_that_are_written() {
        let (task, attempt) = about();
        let encoding = Some(Encoding::Base64);
        let (outcome, usage) = (Outcome::Cancelled, Usage::default());
        let message = Some("m".to_owned());
        for frame in [
            WorkerToServer::Started(frame::Started { task, attempt }),
            WorkerToServer::Progress(frame::Progress { task, attempt, fraction: 0.5, message }),
            WorkerToServer::Checkpoint(frame::Checkpoint {
                task,
                attempt,
                state: Json::null(),
                state_encoding: encoding,
            }),
            WorkerToServer::Finished(frame::Finished {
                task,
                attempt,
                outcome,
                usage,
                output_truncated: true,
            }),
            WorkerToServer::Slots(frame::Slots { slots: 1 }),
        ] {
            let text = frame.text();
            let Keys { kind, fields } = serde_json::from_str(&text).expect("a frame");
            let known = WorkerToServer::TYPES.iter().find(|(known, _)| *known == kind);
            assert_eq!(
                known.map(|(_, known)| known.to_vec()),
                Some(fields.iter().map(AsRef::as_ref).collect())
            );
        }
    }
}
