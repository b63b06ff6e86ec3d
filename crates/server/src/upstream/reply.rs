//! What an upstream's answer means for the call: it is the call's answer, or the call has not begun
//! there, or nobody knows whether it has.

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use runabout_protocol::MemoryScope;
use serde::Deserialize;

use super::RAN_ON;
use crate::codes::Code;

/// What became of a call that was handed to the upstream.
#[derive(Debug)]
pub enum Reply {
    /// It has its answer, be it that of a run that failed.
    Answered(Answer),
    /// It has not begun there.
    NotBegun(NotBegun),
    /// It may have begun, and nothing is known of it any more.
    Lost(String),
    /// It ran out of memory that all runs there share: an answer that says more of the upstream than
    /// of the call.
    Exhausted(Answer),
}

/// An answer as the caller gets it.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// All of its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The code of the problem that it is, if it is one.
    pub code: Option<Code>,
}

/// Why a call has not begun upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotBegun {
    /// There is nobody there.
    Unreachable(String),
    /// It has more to do than it takes, or is stopping.
    Busy,
    /// The call has been there before.
    Loop,
    /// The call has passed as many nodes as it may.
    TooFar,
    /// It grants less of a limit than this node: the limit's name, and what it grants.
    LimitAboveMaximum(String, u64),
    /// It does not let this node in, or does not understand it.
    Refused(String),
    /// It does not take this call, but may well take others.
    Unfit(String),
}

impl NotBegun {
    /// The word for it in metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Busy => "busy",
            Self::Loop => "loop",
            Self::TooFar => "too_far",
            Self::LimitAboveMaximum(..) => "limit_above_maximum",
            Self::Refused(_) => "refused",
            Self::Unfit(_) => "unfit",
        }
    }
}

/// What is looked at in a problem.
#[derive(Deserialize)]
struct Problem {
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    field: Option<String>,
    #[serde(default)]
    maximum: Option<u64>,
    #[serde(default)]
    outcome: Option<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    kind: String,
    #[serde(default)]
    scope: MemoryScope,
}

/// What an answer other than a missing artifact means.
pub fn meaning(status: StatusCode, headers: HeaderMap, body: Bytes) -> Reply {
    if status == StatusCode::OK {
        if headers.contains_key(RAN_ON) {
            return Reply::Answered(Answer { status, headers, body, code: None });
        }
        return Reply::Lost("what answered is no node".to_owned());
    }
    let Some((problem, code)) = problem(&body) else {
        // A node of another version may say what this one does not know; that it ran, it says alike.
        if headers.contains_key(RAN_ON) {
            return Reply::Lost(format!("it ran there, and the upstream answered {status}"));
        }
        return strange(status);
    };
    let has_begun = problem.outcome.is_some() || headers.contains_key(RAN_ON);
    match code {
        Code::OffloadLoop => Reply::NotBegun(NotBegun::Loop),
        Code::LimitAboveMaximum => Reply::NotBegun(NotBegun::LimitAboveMaximum(
            problem.field.unwrap_or_default(),
            problem.maximum.unwrap_or(0),
        )),
        Code::Overloaded | Code::Stopping if !has_begun => Reply::NotBegun(NotBegun::Busy),
        // A node that stops ends what runs on it, as cancelled.
        Code::Stopping => Reply::Lost("the upstream stopped during the run".to_owned()),
        Code::UpstreamLost | Code::InternalError => Reply::Lost(problem.detail),
        Code::OutOfMemory if problem.outcome.is_some_and(|it| it.scope == MemoryScope::Node) => {
            Reply::Exhausted(Answer { status, headers, body, code: Some(code) })
        }
        Code::TimedOut | Code::BodyTooLarge => answered(status, headers, body, code),
        _ if status == StatusCode::UNPROCESSABLE_ENTITY => answered(status, headers, body, code),
        _ if has_begun => Reply::Lost(problem.detail),
        _ => Reply::NotBegun(refused(status, format!("{}: {}", problem.code, problem.detail))),
    }
}

/// Whether it is this node that is refused, or this call alone.
fn refused(status: StatusCode, why: String) -> NotBegun {
    match status.as_u16() {
        401 | 403 | 404 | 405 | 407 | 500.. => NotBegun::Refused(why),
        _ => NotBegun::Unfit(why),
    }
}

/// Whether the upstream asks for the artifact's bytes.
pub fn wants_artifact(status: StatusCode, body: &Bytes) -> bool {
    status == StatusCode::NOT_FOUND
        && problem(body).is_some_and(|(_, code)| code == Code::ArtifactMissing)
}

fn answered(status: StatusCode, headers: HeaderMap, body: Bytes, code: Code) -> Reply {
    Reply::Answered(Answer { status, headers, body, code: Some(code) })
}

fn problem(body: &Bytes) -> Option<(Problem, Code)> {
    let problem: Problem = serde_json::from_slice(body).ok()?;
    let code = Code::parse(&problem.code)?;
    // No node says an outcome that is none.
    let is_known = problem.outcome.as_ref().is_none_or(|outcome| !outcome.kind.is_empty());
    is_known.then_some((problem, code))
}

/// Something between the nodes answered, or something that is no node.
fn strange(status: StatusCode) -> Reply {
    if status.is_client_error() {
        return Reply::NotBegun(refused(status, format!("it answered {status}")));
    }
    Reply::Lost(format!("the upstream answered {status}"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    /// What an answer means of a node on which the call has begun.
    fn check_begun(status: u16, body: &str, expected: &str) {
        let headers = HeaderMap::from_iter([(RAN_ON, HeaderValue::from_static("far"))]);
        check_with(headers, status, body, expected);
    }

    fn check(status: u16, body: &str, expected: &str) {
        check_with(HeaderMap::new(), status, body, expected);
    }

    fn check_with(headers: HeaderMap, status: u16, body: &str, expected: &str) {
        let status = StatusCode::from_u16(status).expect("a status");
        let body = Bytes::copy_from_slice(body.as_bytes());
        let reply = format!("{:?}", meaning(status, headers, body));
        assert!(reply.starts_with(expected), "{reply} is not {expected}");
    }

    #[test]
    fn what_a_run_did_is_the_answer_and_all_else_is_not() {
        check_begun(200, "1", "Answered");
        check_begun(422, r#"{"code":"function_threw","outcome":{"kind":"threw"}}"#, "Answered");
        check(422, r#"{"code":"invalid_arguments"}"#, "Answered");
        let of_run = r#"{"code":"out_of_memory","outcome":{"kind":"out_of_memory"}}"#;
        check_begun(422, of_run, "Answered");
        let of_node =
            r#"{"code":"out_of_memory","outcome":{"kind":"out_of_memory","scope":"node"}}"#;
        check_begun(422, of_node, "Exhausted");
        check_begun(504, r#"{"code":"timed_out","outcome":{"kind":"timed_out"}}"#, "Answered");
        check(508, r#"{"code":"offload_loop"}"#, "NotBegun(Loop");
        check(503, r#"{"code":"overloaded"}"#, "NotBegun(Busy");
        check(503, r#"{"code":"stopping"}"#, "NotBegun(Busy");
        check_begun(503, r#"{"code":"stopping","outcome":{"kind":"cancelled"}}"#, "Lost");
        check(401, r#"{"code":"unauthorized","detail":"no"}"#, "NotBegun(Refused");
        check(
            422,
            r#"{"code":"limit_above_maximum","field":"timeout_ms","maximum":5}"#,
            "NotBegun(LimitAboveMaximum(\"timeout_ms\", 5)",
        );
        check(502, r#"{"code":"upstream_lost","detail":"gone"}"#, "Lost(\"gone\")");
        check(500, r#"{"code":"internal_error"}"#, "Lost");
    }

    #[test]
    fn what_is_said_by_others_than_nodes_is_told_apart() {
        check(502, "<html>Bad Gateway</html>", "Lost");
        check(504, "<html>Gateway Timeout</html>", "Lost");
        check(404, "<html>Not Found</html>", "NotBegun(Refused");
        let reply = meaning(StatusCode::OK, HeaderMap::new(), Bytes::from_static(b"hello"));
        assert!(matches!(reply, Reply::Lost(_)));
    }

    #[test]
    fn what_has_begun_is_never_taken_for_what_has_not() {
        check_begun(400, r#"{"code":"a_code_of_tomorrow"}"#, "Lost");
        check_begun(409, r#"{"code":"task_finished","detail":"odd"}"#, "Lost");
        check_begun(404, "<html>Not Found</html>", "Lost");
    }

    #[test]
    fn one_call_that_does_not_fit_says_nothing_of_others() {
        check(431, "", "NotBegun(Unfit");
        check(400, r#"{"code":"invalid_field","detail":"no"}"#, "NotBegun(Unfit");
        check(403, r#"{"code":"foreign_host","detail":"no"}"#, "NotBegun(Refused");
    }

    #[test]
    fn only_a_missing_artifact_is_sent() {
        let missing = Bytes::from_static(br#"{"code":"artifact_missing"}"#);
        assert!(wants_artifact(StatusCode::NOT_FOUND, &missing));
        assert!(!wants_artifact(StatusCode::NOT_FOUND, &Bytes::from_static(b"nothing")));
    }
}
