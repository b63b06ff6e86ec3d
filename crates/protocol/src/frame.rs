//! What a node and its workers say to each other. The built-in worker hears the same words over a
//! channel that a distant one hears over a socket: one execution path for tasks.
//!
//! On the wire a frame is a JSON object with a `type`: [`Frame`](crate::wire::Frame) reads and writes
//! it.

use serde::{Deserialize, Serialize};

use crate::{
    Arguments, Attempt, Digest, Encoding, Form, Json, Language, Limits, Outcome, Stream,
    Surroundings, TaskId, Usage, WorkerId,
};

/// From the node to a worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerToWorker {
    /// The session has begun.
    Welcome(Welcome),
    /// Begin an attempt.
    Run(Box<Run>),
    /// End an attempt at once; `finished` is still expected.
    Cancel(Cancel),
    /// Say that you are there.
    Ping(Ping),
    /// Offer that many slots from now on.
    Resize(Resize),
}

/// From a worker to the node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WorkerToServer {
    /// Who speaks; the first frame, and the only one of its type.
    Hello(Hello),
    /// The attempt has begun.
    Started(Started),
    /// How far the attempt is.
    Progress(Progress),
    /// A piece of output.
    Log(Log),
    /// A state for a later attempt to go on from.
    Checkpoint(Checkpoint),
    /// The attempt has ended.
    Finished(Finished),
    /// The answer to a ping.
    Pong(Pong),
    /// There are that many slots from now on.
    Slots(Slots),
    /// Nothing more is taken; what runs is still finished.
    Goodbye(Goodbye),
}

impl WorkerToServer {
    /// The attempt it is about, if it is about one.
    pub fn attempt(&self) -> Option<(TaskId, Attempt)> {
        match self {
            Self::Started(it) => Some((it.task, it.attempt)),
            Self::Progress(it) => Some((it.task, it.attempt)),
            Self::Log(it) => Some((it.task, it.attempt)),
            Self::Checkpoint(it) => Some((it.task, it.attempt)),
            Self::Finished(it) => Some((it.task, it.attempt)),
            Self::Hello(_) | Self::Pong(_) | Self::Slots(_) | Self::Goodbye(_) => None,
        }
    }
}

/// What a session says that it is. How far it is believed does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum WorkerKind {
    /// A browser tab.
    Tab,
    /// A node that joined.
    Node,
    /// Something else that speaks the protocol.
    Other,
}

/// What a worker can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// JavaScript.
    Js,
    /// WebAssembly modules whose exports are called.
    Wasm,
    /// WebAssembly commands.
    Wasi,
    /// JavaScript under exact limits of memory and processor time. Nodes always can; a tab can
    /// if it has the engine that nodes have.
    Quickjs,
    /// Something that this version does not know, and does without.
    #[serde(other)]
    #[cfg_attr(feature = "typescript", ts(skip))]
    Unknown,
}

/// Who speaks.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "HelloFrame"))]
pub struct Hello {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// What it is.
    pub kind: WorkerKind,
    /// How many attempts it takes at once.
    pub slots: u32,
    /// What it can run.
    pub capabilities: Vec<Capability>,
    /// What it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The node's token, where it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

// By hand: a token does not belong into a log.
impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("protocol", &self.protocol)
            .field("kind", &self.kind)
            .field("slots", &self.slots)
            .field("capabilities", &self.capabilities)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The answer to [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "WelcomeFrame"))]
pub struct Welcome {
    /// The version of the protocol that the node speaks.
    pub protocol: u32,
    /// The session's id; tasks carry it as their `worker`.
    pub worker: WorkerId,
    /// How often a ping comes, in milliseconds. Who leaves three unanswered is taken for gone.
    pub ping_every_ms: u64,
}

/// An attempt, with all that is needed to run it but the artifact's bytes.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "typescript",
    derive(ts_rs::TS),
    ts(as = "crate::wire::RunJson<crate::Json, String>")
)]
pub struct Run {
    /// The task.
    pub task: TaskId,
    /// The attempt's number; every frame about it carries it back.
    pub attempt: Attempt,
    /// The artifact to run.
    pub artifact: Digest,
    /// What the artifact is written in.
    pub language: Language,
    /// Script or module, for JavaScript.
    pub form: Option<Form>,
    /// The export to call.
    pub export: Option<String>,
    /// The arguments.
    pub args: Arguments,
    /// Standard input of a WASI command.
    pub stdin: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// What the last attempt left to go on from.
    pub checkpoint: Option<crate::Checkpoint>,
    /// In what surroundings. The worker is one that was chosen by them.
    pub surroundings: Surroundings,
}

/// An attempt to end at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "CancelFrame"))]
pub struct Cancel {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
}

/// A question whether the worker is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "PingFrame"))]
pub struct Ping {
    /// Which ping it is.
    pub n: u64,
}

/// How many slots a worker is asked to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "ResizeFrame"))]
pub struct Resize {
    /// That many.
    pub slots: u32,
}

/// An attempt has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "StartedFrame"))]
pub struct Started {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "ProgressFrame"))]
pub struct Progress {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// From 0 to 1.
    pub fraction: f64,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A piece of an attempt's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "LogFrame"))]
pub struct Log {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// Its place among the attempt's output, from 0.
    pub seq: u64,
    /// Where it was written.
    pub stream: Stream,
    /// What was written.
    pub text: String,
}

/// A state that an attempt keeps for a later one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "CheckpointFrame"))]
pub struct Checkpoint {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// The state as JSON. With `state_encoding`, a string of base64.
    pub state: Json,
    /// `base64` if the state is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_encoding: Option<Encoding>,
}

impl Checkpoint {
    /// `checkpoint`, kept by that attempt.
    pub fn of((task, attempt): (TaskId, Attempt), checkpoint: crate::Checkpoint) -> Self {
        let crate::Checkpoint { state, encoding } = checkpoint;
        Self { task, attempt, state, state_encoding: encoding }
    }

    /// What is kept.
    pub fn checkpoint(self) -> crate::Checkpoint {
        crate::Checkpoint { state: self.state, encoding: self.state_encoding }
    }
}

/// An attempt has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "FinishedFrame"))]
pub struct Finished {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// How.
    pub outcome: Outcome,
    /// What it used, as far as the worker can tell.
    pub usage: Usage,
    /// Whether output was dropped because there was too much of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub output_truncated: bool,
}

/// The answer to [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "PongFrame"))]
pub struct Pong {
    /// Which ping it answers.
    pub n: u64,
}

/// How many slots there are from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "SlotsFrame"))]
pub struct Slots {
    /// That many.
    pub slots: u32,
}

/// The worker is about to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(rename = "GoodbyeFrame"))]
pub struct Goodbye {}
