//! The one place where errors become HTTP: `application/problem+json` (RFC 9457) with a stable
//! code. What a client may know goes into the problem; what only we may know goes to the log.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runabout_protocol::AboveMaximum;
use runabout_sandbox::Rejection;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::codes::Code;
use crate::engine;

/// An error as a client sees it.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    extras: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The shape of a problem in the OpenAPI document.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemJson {
    /// Where the code is explained, on this node.
    #[serde(rename = "type")]
    kind: String,
    /// What the code means.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// A stable word to act on.
    code: &'static str,
    /// What is wrong this time.
    detail: String,
    /// More that belongs to the code: `field`, `suggestion`, `line`, `column`, `outcome`, `output`.
    #[serde(flatten)]
    extras: Map<String, Value>,
}

impl Problem {
    /// A problem of that code; `detail` is for a person.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), extras: Map::new(), headers: Vec::new() }
    }

    /// Something that should not happen; `cause` is logged and not told.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(Code::InternalError, "the node failed at its part; its log says more")
    }

    /// A request field with a value that it cannot have.
    pub fn invalid_field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidField, detail).with("field", field.into())
    }

    /// More than the node takes at once.
    pub fn overloaded(detail: impl Into<String>) -> Self {
        Self::new(Code::Overloaded, detail).retry_after(1)
    }

    /// Adds a member beside the standard ones.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.extras.insert(member.to_owned(), value.into());
        self
    }

    /// Says that `field`, and the field that is suggested, stand inside of `parent`.
    pub fn inside(mut self, parent: &str) -> Self {
        // What is suggested for a value is a value.
        let suggests_field = self.code == Code::UnknownField;
        let members: &[&str] = if suggests_field { &["field", "suggestion"] } else { &["field"] };
        for member in members {
            if let Some(Value::String(path)) = self.extras.get_mut(*member) {
                path.insert_str(0, &format!("{parent}."));
            }
        }
        self.extras.entry("field").or_insert_with(|| parent.into());
        self
    }

    /// Adds a response header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// What is wrong this time, for a person.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether the same request may succeed later: it is the node, not the request.
    pub fn is_passing(&self) -> bool {
        let status = self.code.status();
        status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
    }

    /// Says when to try again.
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(header::RETRY_AFTER, seconds.into())
    }

    /// Whether it is of that code.
    pub fn is(&self, code: Code) -> bool {
        self.code == code
    }

    #[cfg(test)]
    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    #[cfg(test)]
    /// The members beside the standard ones.
    pub fn extras(&self) -> &Map<String, Value> {
        &self.extras
    }

    /// The rejection of an artifact; line and column stand beside its code.
    pub fn rejected(rejection: &Rejection) -> Self {
        let code = Code::parse(rejection.code).unwrap_or_else(|| {
            tracing::warn!(code = rejection.code, "a rejection's code is not in the table");
            Code::ArtifactRejected
        });
        let problem = Self::new(code, rejection.message.clone());
        match rejection.position {
            Some((line, column)) => problem.with("line", line).with("column", column),
            None => problem,
        }
    }

    /// A limit that cannot be granted; `prefix` leads to it in the request, `limits.` say.
    pub fn above_maximum(above: &AboveMaximum, prefix: &str) -> Self {
        let AboveMaximum { field, asked, maximum } = above;
        let path = format!("{prefix}{field}");
        if *asked == 0 {
            let detail = format!("{path} must be from 1 to {maximum}");
            return Self::invalid_field(path, detail).with("maximum", *maximum);
        }
        Self::new(
            Code::LimitAboveMaximum,
            format!("{path} is {asked}, and this node grants {maximum} at most"),
        )
        .with("field", path)
        .with("maximum", *maximum)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let row = self.code.row();
        let body = ProblemJson {
            kind: format!("/docs/errors#{}", row.code),
            title: row.meaning,
            status: row.status,
            code: row.code,
            detail: self.detail,
            extras: self.extras,
        };
        let mut response = (self.code.status(), Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

impl From<runabout_sandbox::Error> for Problem {
    fn from(error: runabout_sandbox::Error) -> Self {
        use runabout_sandbox::Error;
        match error {
            Error::Rejected(rejection) => Self::rejected(&rejection),
            Error::BadCall { code, message } => {
                Self::new(Code::parse(code).unwrap_or(Code::InvalidArguments), message)
            }
            Error::Busy(why) => Self::overloaded(why),
            Error::Engine(cause) => Self::internal(cause),
        }
    }
}

impl From<runabout_store::Error> for Problem {
    fn from(error: runabout_store::Error) -> Self {
        use runabout_store::Error;
        match error {
            Error::Full => storage_full(),
            Error::Failed(cause) => storage_failed(&cause),
            other => Self::internal(other),
        }
    }
}

impl From<engine::Refused> for Problem {
    fn from(refused: engine::Refused) -> Self {
        use engine::Refused;
        match refused {
            Refused::QueueFull { retry_after_s } => {
                Self::new(Code::QueueFull, "the queue of tasks is full").retry_after(retry_after_s)
            }
            Refused::StorageFull => storage_full(),
            Refused::StorageFailed(cause) => storage_failed(&cause),
            Refused::Stopping => stopping(),
            Refused::KeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "the idempotency key came with another body before",
            ),
            // Routes show the tasks instead; this is for those that have nothing to show.
            Refused::SubmittedBefore(_) => {
                Self::new(Code::SubmissionDeleted, "the tasks of this submission are gone")
            }
        }
    }
}

/// The node is on its way out.
pub fn stopping() -> Problem {
    Problem::new(Code::Stopping, "the node is stopping and takes nothing new").retry_after(5)
}

/// There is no room on the disk.
pub fn storage_full() -> Problem {
    Problem::new(Code::StorageFull, "the disk is full: nothing was accepted, reads go on")
}

/// Writes have ended for good; `cause` is the node's own affair and only logged.
pub fn storage_failed(cause: &str) -> Problem {
    tracing::error!(cause, "storage failed");
    Problem::new(
        Code::StorageFailed,
        "writing to the disk failed: nothing was accepted, reads go on",
    )
}

/// A document can only be read; `cause` is the node's own affair and only logged.
pub fn document_read_only(cause: &str) -> Problem {
    tracing::error!(cause, "a document is read-only");
    let detail =
        "a change could not be written: the document is read-only until the node is started again";
    Problem::new(Code::StorageFailed, detail)
}
