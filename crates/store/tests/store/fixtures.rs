//! Short ways to say what is written.

use std::collections::BTreeMap;

use jiff::Timestamp;
use runabout_protocol::{
    Arguments, Attempt, Checkpoint, Digest, Form, Json, Language, Limits, Outcome, Returned,
    Stream, Surroundings, TaskId, TaskState, Trust, Usage,
};
use runabout_store::{ArtifactMeta, NewArtifact, NewTask, Write};
use uuid::Uuid;

pub fn id(n: u128) -> TaskId {
    TaskId(Uuid::from_u128(n))
}

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

pub fn json(text: &str) -> Json {
    Json::parse(text.to_owned()).expect("JSON")
}

pub fn new_task(n: u128) -> NewTask {
    NewTask {
        id: id(n),
        name: None,
        function: None,
        digest: Digest([7; 32]),
        artifact: None,
        language: Language::Js,
        form: Some(Form::Module),
        export: Some("main".to_owned()),
        args: Arguments { values: json("[34, 12345678901234567890]"), encoding: None },
        stdin: Some("in".to_owned()),
        limits: Limits::default(),
        surroundings: Surroundings::default(),
        max_attempts: 3,
        priority: -2,
        queue_bytes: 77,
        labels: BTreeMap::new(),
        created_at: at(0),
        run_at: None,
    }
}

pub fn artifact(byte: u8, len: usize) -> NewArtifact {
    let exports = vec!["default".to_owned(), "main".to_owned()];
    let meta = ArtifactMeta { language: Language::Js, form: Some(Form::Module), exports };
    NewArtifact { digest: Digest([byte; 32]), meta, bytes: vec![byte; len].into() }
}

pub fn began(n: u128, attempt: u32) -> Write {
    let (worker, trust) = ("worker".to_owned(), Trust::Node);
    Write::AttemptBegan { task: id(n), attempt: Attempt(attempt), worker, trust, at: at(1) }
}

pub fn attempt_ended(n: u128, attempt: u32, outcome: Outcome) -> Write {
    let usage = Some(Usage { cpu_ms: Some(1.5), wall_ms: 2.5, ..Usage::default() });
    let (task, attempt, outcome) = (id(n), Attempt(attempt), Some(outcome));
    Write::AttemptEnded { task, attempt, at: at(2), outcome, usage }
}

pub fn ended(n: u128, state: TaskState, outcome: Option<Outcome>) -> Write {
    Write::TaskEnded { task: id(n), at: at(3), state, outcome, lost: 0 }
}

pub fn log(n: u128, attempt: u32, seq: u64, text: &str) -> Write {
    let (task, attempt, text) = (id(n), Attempt(attempt), text.to_owned());
    Write::Log { task, attempt, seq, at: at(1), stream: Stream::Stdout, text }
}

pub fn checkpoint(text: &str) -> Checkpoint {
    Checkpoint { state: json(text), encoding: None }
}

pub fn returned(text: &str) -> Outcome {
    Outcome::Returned(Returned { value: json(text), encoding: None })
}
