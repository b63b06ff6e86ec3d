//! Reads JSON and query strings into types, and says precisely what is wrong with them: where the
//! JSON breaks, which field is unknown and which one was probably meant.

use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_path_to_error::Path;

use crate::codes::Code;
use crate::problem::Problem;
use crate::suggest::{nearest, unexpected};

/// Reads one JSON object.
///
/// # Errors
/// `malformed_json`, `body_not_object`, `missing_field`, `unknown_field` or `invalid_field`.
pub fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    // serde would take an array as a struct's fields in order.
    if first.is_some_and(|byte| *byte != b'{') {
        serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(|err| malformed(&err))?;
        return Err(Problem::new(Code::BodyNotObject, "the body must be a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|err| {
        let path = err.path().clone();
        json_refused(&path, &err.into_inner())
    })?;
    reader.end().map_err(|err| malformed(&err))?;
    Ok(value)
}

/// Reads a query string.
///
/// # Errors
/// `missing_field`, `unknown_field` or `invalid_field`.
pub fn query<T: DeserializeOwned>(query: Option<&str>) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
        .map_err(|err| refused(&err.path().clone(), &err.into_inner().to_string()))
}

/// JSON that is no JSON.
pub fn malformed(err: &serde_json::Error) -> Problem {
    let message = without_position(err);
    let (line, column) = (err.line(), err.column());
    Problem::new(
        Code::MalformedJson,
        format!("the JSON breaks at line {line}, column {column}: {message}"),
    )
    .with("line", line)
    .with("column", column)
}

fn json_refused(path: &Path, err: &serde_json::Error) -> Problem {
    match err.classify() {
        Category::Data => refused(path, &without_position(err)),
        Category::Syntax | Category::Eof | Category::Io => malformed(err),
    }
}

/// serde_json's message without the position that it ends with.
fn without_position(err: &serde_json::Error) -> String {
    let message = err.to_string();
    let position = format!(" at line {} column {}", err.line(), err.column());
    message.strip_suffix(&position).unwrap_or(&message).to_owned()
}

fn refused(path: &Path, message: &str) -> Problem {
    let path = path.to_string();
    if let Some((field, known)) = unexpected(message, "unknown field `") {
        return unknown_field(parent_of(&path, field), field, &known);
    }
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    if let Some(field) = missing {
        let within = if path == "." { String::new() } else { format!("{path}.") };
        let field = format!("{within}{field}");
        return Problem::new(Code::MissingField, format!("`{field}` is needed"))
            .with("field", field);
    }
    let twice = message.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`'));
    if let Some(field) = twice {
        return Problem::invalid_field(field, format!("{field} is there twice"));
    }
    let problem = Problem::invalid_field(path.clone(), format!("{path}: {message}"));
    let variant = unexpected(message, "unknown variant `");
    match variant.and_then(|(word, known)| nearest(word, known)) {
        Some(suggestion) => problem.with("suggestion", suggestion),
        None => problem,
    }
}

/// A field that is not known where it stands; `parent` leads to it, with its last dot.
pub fn unknown_field(parent: &str, field: &str, known: &[&str]) -> Problem {
    let problem = |hint: String| {
        Problem::new(Code::UnknownField, format!("unknown field `{parent}{field}`; {hint}"))
            .with("field", format!("{parent}{field}"))
    };
    match nearest(field, known.iter().copied()) {
        Some(meant) => problem(format!("did you mean `{parent}{meant}`?"))
            .with("suggestion", format!("{parent}{meant}")),
        None if known.is_empty() => problem("none is known here".to_owned()),
        None => problem(format!("known are {}", known.join(", "))),
    }
}

/// The path up to and with the last dot before `field`; the path may or may not end with it.
fn parent_of<'a>(path: &'a str, field: &str) -> &'a str {
    path.strip_suffix(field)
        .filter(|parent| parent.is_empty() || parent.ends_with('.'))
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use runabout_protocol::{Json, TaskRequest};
    use serde::Deserialize;

    use super::*;

    /// The members of the problem that a body or query meets, as one JSON object.
    fn check<T: std::fmt::Debug>(result: Result<T, Problem>, code: Code, members: &str) {
        let problem = result.expect_err("refused");
        assert_eq!(problem.code(), code, "{problem:?}");
        let expected: serde_json::Value = serde_json::from_str(members).expect("valid");
        assert_eq!(problem.extras(), expected.as_object().expect("an object"), "{problem:?}");
    }

    #[test]
    fn bad_bodies_are_told_apart() {
        use Code::*;
        for (body, code, members) in [
            ("", MalformedJson, r#"{"line":1,"column":0}"#),
            ("{\n\"source\": tru}", MalformedJson, r#"{"line":2,"column":14}"#),
            ("{} x", MalformedJson, r#"{"line":1,"column":4}"#),
            ("[1]", BodyNotObject, "{}"),
            ("7", BodyNotObject, "{}"),
            ("[1", MalformedJson, r#"{"line":1,"column":2}"#),
            (r#"{"soruce":"1"}"#, UnknownField, r#"{"field":"soruce","suggestion":"source"}"#),
            (r#"{"z`z":1}"#, UnknownField, r#"{"field":"z`z"}"#),
            (
                r#"{"limits":{"timeout":5}}"#,
                UnknownField,
                r#"{"field":"limits.timeout","suggestion":"limits.timeout_ms"}"#,
            ),
            (r#"{"limits":5}"#, InvalidField, r#"{"field":"limits"}"#),
            (r#"{"source":5}"#, InvalidField, r#"{"field":"source"}"#),
            (r#"{"limits":{"cpu_ms":-1}}"#, InvalidField, r#"{"field":"limits.cpu_ms"}"#),
            (r#"{"labels":{"a":1}}"#, InvalidField, r#"{"field":"labels.a"}"#),
            (r#"{"place":"hear"}"#, InvalidField, r#"{"field":"place","suggestion":"here"}"#),
        ] {
            check(object::<TaskRequest>(body.as_bytes()), code, members);
        }
    }

    #[test]
    fn arguments_keep_their_text() {
        let request: TaskRequest = object(br#" {"args":[1.0, 9007199254740993]} "#).expect("reads");
        assert_eq!(request.args.as_ref().map(Json::text), Some("[1.0, 9007199254740993]"));
    }

    #[derive(Debug, Deserialize)]
    struct Nested {
        #[expect(dead_code, reason = "only whether it reads is of interest")]
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only whether it reads is of interest")]
        needed: u32,
    }

    #[test]
    fn what_is_missing_is_named() {
        check(object::<Nested>(b"{}"), Code::MissingField, r#"{"field":"inner"}"#);
        let members = r#"{"field":"inner.needed"}"#;
        check(object::<Nested>(br#"{"inner":{}}"#), Code::MissingField, members);
        check(query::<Inner>(None), Code::MissingField, r#"{"field":"needed"}"#);
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wait {
        #[expect(dead_code, reason = "only whether it reads is of interest")]
        wait: Option<u32>,
    }

    #[test]
    fn bad_queries_are_told_apart() {
        use Code::*;
        assert!(query::<Wait>(None).is_ok());
        assert!(query::<Wait>(Some("wait=3")).is_ok());
        let members = r#"{"field":"wiat","suggestion":"wait"}"#;
        check(query::<Wait>(Some("wiat=3")), UnknownField, members);
        check(query::<Wait>(Some("wait=soon")), InvalidField, r#"{"field":"wait"}"#);
    }
}
