//! The words Runabout's parts speak to each other: ids, functions, tasks, schedules, endpoints,
//! limits, outcomes, events and worker frames. Owns their shapes and their JSON; does no I/O, reads no
//! clock, decides nothing.

mod document;
mod endpoint;
mod event;
pub mod frame;
mod function;
mod ids;
mod limits;
mod log;
mod outcome;
mod schedule;
mod task;
#[cfg(feature = "typescript")]
mod typescript;
mod value;
pub mod wire;
mod worker;

pub use document::{Document, DocumentChange, DocumentDeletedEvent, DocumentRevision};
pub use endpoint::{
    ComputeMode, ComputeRequest, Endpoint, EndpointMethod, EndpointRequest, EndpointSource,
};
pub use event::{
    DeletedEvent, LogEvent, OutcomeEvent, ProgressEvent, ResetEvent, ResetReason, StateEvent,
    TruncatedEvent,
};
pub use frame::{Capability, Run, ServerToWorker, WorkerKind, WorkerToServer};
pub use function::{
    Form, FunctionName, FunctionVersion, InvalidName, JsEngine, Language, Manifest, Place,
    Surroundings,
};
pub use ids::{Attempt, Digest, InvalidDigest, NodeId, TaskId, WorkerId};
pub use limits::{AboveMaximum, Limits, LimitsRequest};
pub use log::{LogLine, Stream};
pub use outcome::{ErrorReport, LimitKind, MemoryScope, Outcome, Usage};
pub use schedule::{Missed, Schedule, ScheduleName, ScheduleRequest};
pub use task::{AttemptRecord, Progress, Task, TaskRequest, TaskState, Trust, WorkerLabel};
#[cfg(feature = "typescript")]
pub use typescript::declarations;
pub use value::{Arguments, Checkpoint, Encoding, Json, Returned};
pub use worker::{Worker, WorkerChange, WorkerChanges, WorkerEvent};

/// The version of the worker protocol and of node-to-node requests.
pub const PROTOCOL_VERSION: u32 = 1;
