//! The wire types as TypeScript declarations, for everything that is written in it.

use std::collections::BTreeMap;

use ts_rs::{Config, TS, TypeVisitor};

use crate::{
    AttemptRecord, DeletedEvent, Encoding, ErrorReport, FunctionVersion, Json, LimitKind, LogEvent,
    MemoryScope, OutcomeEvent, ProgressEvent, ResetEvent, Schedule, ScheduleRequest,
    ServerToWorker, StateEvent, Task, TaskRequest, TruncatedEvent, Worker, WorkerChanges,
    WorkerEvent, WorkerToServer,
};

/// What stands on the wire, and by that also all that it consists of.
type Roots = (
    (ServerToWorker, WorkerToServer),
    (Task, TaskRequest, AttemptRecord, FunctionVersion, Schedule, ScheduleRequest),
    (Worker, WorkerChanges),
    (StateEvent, ProgressEvent, LogEvent, TruncatedEvent, OutcomeEvent, DeletedEvent),
    (WorkerEvent, ResetEvent),
);

/// A module that declares every type of the wire, by name.
pub fn declarations() -> String {
    // Numbers are read with JSON.parse, which knows no other kind.
    let config = Config::new().with_large_int("number");
    let mut declared = Declared { config: &config, by_name: BTreeMap::new() };
    Roots::visit_generics(&mut declared);
    let mut module = String::from(
        "// Generated from crates/protocol by `cargo xtask generate`; do not edit.\n\n\
         /* eslint-disable */\n",
    );
    module.push_str(&format!(
        "\n/** The version of the worker protocol. */\n\
         export const PROTOCOL_VERSION = {};\n\
         \n/** The most bytes a frame may have. */\n\
         export const FRAME_BYTES_MAX = {};\n",
        crate::PROTOCOL_VERSION,
        crate::wire::FRAME_BYTES_MAX,
    ));
    for declaration in declared.by_name.into_values() {
        module.push('\n');
        module.push_str(&declaration);
    }
    module
}

struct Declared<'a> {
    config: &'a Config,
    by_name: BTreeMap<String, String>,
}

impl TypeVisitor for Declared<'_> {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        if T::output_path().is_none() {
            // A number, a list, a tuple: it has no name of its own.
            return;
        }
        let name = T::ident(self.config);
        if self.by_name.contains_key(&name) {
            return;
        }
        let docs = T::docs().unwrap_or_default();
        let declaration = format!("{docs}export {}", T::decl(self.config));
        self.by_name.insert(name, laid_out(&declaration));
        T::visit_dependencies(self);
    }
}

/// A declaration with comments of one sentence on one line, and its fields further in.
fn laid_out(declaration: &str) -> String {
    let one_line = declaration.replace("/**\n * ", "/** ").replace("\n */", " */");
    let mut text = String::with_capacity(declaration.len());
    let mut is_inside = false;
    for line in one_line.lines().map(str::trim_end) {
        if is_inside {
            text.push_str("  ");
        }
        text.push_str(line);
        text.push('\n');
        is_inside |= line.starts_with("export");
    }
    text
}

/// [`Outcome`](crate::Outcome) as TypeScript tells its cases apart.
#[derive(TS)]
#[ts(rename = "Outcome", tag = "kind", rename_all = "snake_case")]
#[expect(dead_code, reason = "only its declaration is of use")]
pub(crate) enum OutcomeCases {
    Returned {
        /// What it returned.
        value: Json,
        /// `base64` if the value is bytes.
        #[ts(optional)]
        value_encoding: Option<Encoding>,
    },
    Threw {
        error: ErrorReport,
    },
    TimedOut {
        limit: LimitKind,
        limit_ms: u64,
    },
    OutOfMemory {
        limit_bytes: u64,
        /// `node` if it was the memory of all runs together.
        #[ts(optional)]
        scope: Option<MemoryScope>,
    },
    Cancelled,
    Lost {
        /// How many workers were lost.
        attempts: u32,
    },
}
