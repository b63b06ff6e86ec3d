//! The one table of error codes. A code is stable: clients act on it, and a new meaning is a new
//! code. The page `docs/errors.md` and the node's own `/docs/errors` are made from this table.

use axum::http::StatusCode;
use serde::Serialize;

/// A row of the table: one thing that can be wrong with a request or with the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorCode {
    /// The word in the `code` field of a problem.
    pub code: &'static str,
    /// The HTTP status it comes with.
    pub status: u16,
    /// What is wrong; the `title` of a problem.
    pub meaning: &'static str,
    /// What the caller can do about it.
    pub what_to_do: &'static str,
}

// A macro and not a function: the enum and the table grow from the same lines, so that a code
// without a row cannot be written.
macro_rules! codes {
    ($($variant:ident = $code:literal, $status:literal, $meaning:literal, $what_to_do:literal;)*) => {
        /// A stable error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(
                #[doc = $meaning]
                $variant,
            )*
        }

        impl Code {
            /// Its row of the table.
            pub fn row(self) -> &'static ErrorCode {
                match self {
                    $(Self::$variant => const {
                        &ErrorCode {
                            code: $code,
                            status: $status,
                            meaning: $meaning,
                            what_to_do: $what_to_do,
                        }
                    },)*
                }
            }

            /// The code written `text`.
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        /// Every code, by status.
        pub const TABLE: &[ErrorCode] = &[$(
            ErrorCode {
                code: $code,
                status: $status,
                meaning: $meaning,
                what_to_do: $what_to_do,
            },
        )*];
    };
}

codes! {
    MalformedJson = "malformed_json", 400,
        "The JSON cannot be read",
        "Look at `line` and `column`.";
    BodyNotObject = "body_not_object", 400,
        "The body is JSON, but not an object",
        "Send one JSON object.";
    UnknownField = "unknown_field", 400,
        "A field or query parameter is not known",
        "`field` names it and `suggestion` the nearest known one.";
    InvalidField = "invalid_field", 400,
        "A field or query parameter has a value that it cannot have",
        "`field` names it; the detail says what it may be.";
    MissingField = "missing_field", 400,
        "A field that is needed is missing",
        "`field` names it.";
    ConflictingFields = "conflicting_fields", 400,
        "Two fields exclude each other",
        "Leave one of them out; the detail names both.";
    ArgumentsNotArray = "arguments_not_array", 400,
        "The arguments are JSON, but not an array",
        "Wrap them: `[34]`, not `34`.";
    InvalidName = "invalid_name", 400,
        "That cannot be the name of a function, a schedule or a document",
        "Use 1 to 64 letters, digits, dots, dashes and underscores, beginning with neither a dot nor a dash; a document's name has no dot.";
    InvalidDigest = "invalid_digest", 400,
        "That is no digest",
        "Write `sha256:` and 64 lower-case hex digits.";
    InvalidIdempotencyKey = "invalid_idempotency_key", 400,
        "That cannot be an idempotency key",
        "Send one `Idempotency-Key` of 1 to 255 visible characters, a UUID say.";
    InvalidMultipart = "invalid_multipart", 400,
        "The multipart body cannot be read",
        "Let the HTTP client write it: `curl -F file=@task.js`.";
    IncompleteBody = "incomplete_body", 400,
        "The body ended too early",
        "Send the request again.";
    Unauthorized = "unauthorized", 401,
        "The node wants a token",
        "Send `Authorization: Bearer TOKEN`, or give the command line `--token-file`.";
    ForeignOrigin = "foreign_origin", 403,
        "A page of another origin may not use this node",
        "Start the node with `--allow-origin ORIGIN` if you trust that page.";
    ForeignHost = "foreign_host", 403,
        "The Host header does not name this node",
        "Use the address it listens on, or start it with `--allow-origin` for the name it is reached by.";
    UnknownPath = "unknown_path", 404,
        "There is nothing at this path",
        "See `/docs` for every path.";
    FunctionNotFound = "function_not_found", 404,
        "No function of that name and version is deployed",
        "`GET /v1/functions` lists what is deployed; `PUT /v1/functions/{name}` deploys.";
    TaskNotFound = "task_not_found", 404,
        "No task has that id",
        "It was deleted, or never accepted here.";
    ScheduleNotFound = "schedule_not_found", 404,
        "There is no schedule of that name",
        "`GET /v1/schedules` lists those there are; `PUT /v1/schedules/{name}` makes one.";
    DocumentNotFound = "document_not_found", 404,
        "There is no document of that name",
        "`GET /v1/documents` lists those there are; `PUT /v1/documents/{name}` makes one.";
    RevisionNotFound = "revision_not_found", 404,
        "The document has no such revision, or it is not kept any more",
        "`oldest` and `newest` are the first and the last there are.";
    EndpointNotFound = "endpoint_not_found", 404,
        "There is no endpoint of that path",
        "`GET /v1/endpoints` lists those there are; `PUT /v1/endpoints` makes one.";
    ArtifactMissing = "artifact_missing", 404,
        "The node does not have that artifact",
        "`PUT /v1/artifacts/{digest}` once, then ask again.";
    WorkerNotFound = "worker_not_found", 404,
        "There is no such worker",
        "`GET /v1/workers` lists those there are; one that comes back has another id.";
    MethodNotAllowed = "method_not_allowed", 405,
        "The path is known, but not with this method",
        "The `Allow` header names the methods.";
    RequestTimeout = "request_timeout", 408,
        "The body did not arrive in time",
        "Send it without pauses of more than 30 seconds.";
    EndpointOfFile = "endpoint_of_file", 409,
        "The endpoint stands in the node's file",
        "Change it there, and start the node again.";
    TaskFinished = "task_finished", 409,
        "The task has ended, so it cannot be cancelled",
        "`GET /v1/tasks/{id}` tells how it ended.";
    EditConflict = "edit_conflict", 409,
        "The edit and a later one have changed the same words",
        "`base`, `current` and `yours` are the texts and `conflicts` the places: join them, and send the result with `current.revision` as its base.";
    DocumentChangedByHand = "document_changed_by_hand", 409,
        "The document's file was changed by hand to something that cannot be a document",
        "Mend the file in the node's data directory, or remove it; reads go on.";
    SubmissionDeleted = "submission_deleted", 410,
        "The submission of this idempotency key was done, and its tasks have been deleted since",
        "Use a new key to do it once more.";
    RevisionChanged = "revision_changed", 412,
        "The document is not at the revision that the request names",
        "`current` is the newest: get it, and try again from there; or send an edit, which is merged.";
    BodyTooLarge = "body_too_large", 413,
        "The body, or a part of it, is too large",
        "`limit_bytes` is the most it may have.";
    UnsupportedMediaType = "unsupported_media_type", 415,
        "The node does not take this type of content here",
        "The detail lists what it takes.";
    NotUtf8 = "not_utf8", 415,
        "The text is not UTF-8",
        "Send UTF-8; the detail says which byte is wrong.";
    RangeNotSatisfiable = "range_not_satisfiable", 416,
        "The range lies beyond the end",
        "`Content-Range` tells the size.";
    IdempotencyKeyReused = "idempotency_key_reused", 422,
        "The idempotency key was used for another submission",
        "Use a new key for each submission, and the same one only to send it again.";
    LimitAboveMaximum = "limit_above_maximum", 422,
        "A limit asked for is above what the node grants",
        "`field` names it and `maximum` is the most to ask for.";
    InvalidCron = "invalid_cron", 422,
        "That is no cron expression that a schedule can follow",
        "The detail says which field is wrong: minute, hour, day of the month, month, day of the week.";
    UnknownTimeZone = "unknown_time_zone", 422,
        "There is no such time zone",
        "Use an IANA name: `Europe/Berlin`, `America/New_York`, `UTC`.";
    SyntaxError = "syntax_error", 422,
        "The source has a syntax error",
        "Look at `line` and `column`.";
    UnresolvedImport = "unresolved_import", 422,
        "The source imports something the node cannot resolve",
        "Bundle the module into one file first.";
    InvalidWasm = "invalid_wasm", 422,
        "The bytes are no valid WebAssembly module",
        "The detail says what the validator found.";
    UnknownImport = "unknown_import", 422,
        "The module imports something the node does not offer",
        "Use WASI preview 1 and the module `runabout` only.";
    UnsupportedComponent = "unsupported_component", 422,
        "WebAssembly components do not run here yet",
        "Build a core module or a WASI preview 1 command.";
    CompileTooCostly = "compile_too_costly", 422,
        "Compiling the artifact takes more time or memory than the node grants",
        "Make it smaller, or split it.";
    ArtifactRejected = "artifact_rejected", 422,
        "The artifact cannot run here",
        "The detail says why.";
    UnknownExport = "unknown_export", 422,
        "The function has no such export",
        "`GET /v1/functions/{name}` lists its exports.";
    InvalidArguments = "invalid_arguments", 422,
        "The arguments do not fit the function",
        "The detail says how many of which type it takes.";
    DigestMismatch = "digest_mismatch", 422,
        "The bytes do not have the digest they were sent under",
        "`actual` is the digest they have.";
    PlaceUnavailable = "place_unavailable", 422,
        "There is no such place for work on this node",
        "Leave `place` out: a node without slots has its tasks run by others.";
    FunctionThrew = "function_threw", 422,
        "The function threw",
        "`outcome` holds the error and `output` the last lines it wrote.";
    OutOfMemory = "out_of_memory", 422,
        "The run wanted more memory than it may have",
        "Ask for more with `memory_bytes`, up to the node's maximum.";
    UpgradeRequired = "upgrade_required", 426,
        "That path speaks WebSocket only",
        "Connect with a WebSocket client; docs/workers.md has the protocol.";
    ConditionRequired = "condition_required", 428,
        "Replacing a document needs to say which revision it replaces",
        "Send `If-Match` with its ETag, or `If-None-Match: *` to make a new one.";
    QueueFull = "queue_full", 429,
        "The queue of tasks is full",
        "Try again after `Retry-After` seconds.";
    TooManySchedules = "too_many_schedules", 429,
        "The node has as many schedules as it takes",
        "Delete one that is not needed any more.";
    TooManyDocuments = "too_many_documents", 429,
        "The node has as many documents, or as much text, as it takes",
        "Delete one that is not needed any more.";
    InternalError = "internal_error", 500,
        "The node failed at its part",
        "Its log says more. Nothing was lost that it had accepted.";
    UpstreamLost = "upstream_lost", 502,
        "The upstream was lost during a call that may run only once",
        "It may have run or not. Call again if that does no harm; `pure` in the manifest says so for ever.";
    FunctionMissing = "function_missing", 503,
        "The endpoint's function is not deployed",
        "Deploy it with `PUT /v1/functions/{name}`; `function` names it.";
    Overloaded = "overloaded", 503,
        "The node has more work under way than it takes",
        "Try again after `Retry-After` seconds.";
    Stopping = "stopping", 503,
        "The node is stopping",
        "Try again once it has started.";
    StorageFailed = "storage_failed", 503,
        "The node cannot write to its disk any more",
        "Reads go on. Look at the disk and start the node again.";
    TimedOut = "timed_out", 504,
        "The run reached its limit of time",
        "Ask for more with `timeout_ms`, or hand the work in as a task.";
    StorageFull = "storage_full", 507,
        "The node's disk is full",
        "Reads go on. Free some space and try again.";
    OffloadLoop = "offload_loop", 508,
        "The call has passed this node before",
        "Nothing: the node that asked runs it itself. Two nodes have each other as upstream.";
}

impl Code {
    /// The HTTP status it comes with.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().status).expect("the table holds HTTP statuses")
    }
}

/// The table as the page `docs/errors.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "<!-- Generated from crates/server/src/codes.rs by `cargo xtask generate`; do not edit. -->\n\
         # Error codes\n\n\
         Every error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`,\n\
         and a `code` that stays the same for ever. Some carry more: `field`, `suggestion`, `line`,\n\
         `column`, `outcome`, `output`.\n\n\
         | code | status | meaning | what to do |\n| --- | --- | --- | --- |\n",
    );
    for row in TABLE {
        let ErrorCode { code, status, meaning, what_to_do } = row;
        page.push_str(&format!(
            "| <a id=\"{code}\"></a>`{code}` | {status} | {meaning} | {what_to_do} |\n"
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_by_status_and_every_status_is_http() {
        assert!(TABLE.is_sorted_by_key(|row| row.status));
        for row in TABLE {
            let code = Code::parse(row.code).expect("every row has its variant");
            assert_eq!(code.row(), row);
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }

    #[test]
    fn no_code_stands_twice() {
        let codes: std::collections::HashSet<_> = TABLE.iter().map(|row| row.code).collect();
        assert_eq!(codes.len(), TABLE.len());
    }

    #[test]
    fn the_committed_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == markdown(), "docs/errors.md is old: run `cargo xtask generate`");
    }
}
