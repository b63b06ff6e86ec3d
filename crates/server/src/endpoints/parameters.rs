//! What a request to an endpoint says: the parameters of its path, its query and its body.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::HeaderMap;
use bytes::Bytes;
use runabout_protocol::Json;

use super::template::Missing;
use crate::codes::Code;
use crate::problem::Problem;
use crate::{read, source};

/// The parameters of one request, by name; no name stands twice.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    values: Vec<(String, Value)>,
}

/// What a parameter is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text, which may be JSON.
    Text(String),
    /// JSON, and nothing else.
    Json(Json),
}

impl Value {
    /// As a value: JSON where it parses as JSON, else a string.
    pub fn json(&self) -> Cow<'_, Json> {
        match self {
            Self::Json(json) => Cow::Borrowed(json),
            Self::Text(text) => {
                Cow::Owned(Json::parse(text.clone()).unwrap_or_else(|_| Json::string(text)))
            }
        }
    }

    /// As a text: of a JSON string what it says, of other JSON how it is written.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(json) => match json.read::<String>() {
                Ok(text) => Cow::Owned(text),
                Err(_) => Cow::Borrowed(json.text()),
            },
        }
    }
}

impl Parameters {
    /// What a parameter is.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn value_of(&self, name: &str) -> Result<&Value, Missing> {
        self.find(name).ok_or_else(|| Missing(name.to_owned()))
    }

    /// Adds a parameter; `false` if it is there already.
    pub fn add(&mut self, name: &str, value: Value) -> bool {
        if self.find(name).is_some() {
            return false;
        }
        self.values.push((name.to_owned(), value));
        true
    }

    /// Adds a parameter that is a text; `false` if it is there already.
    pub fn add_text(&mut self, name: &str, text: &str) -> bool {
        self.add(name, Value::Text(text.to_owned()))
    }

    /// Adds the pairs of a query, or of a form.
    ///
    /// # Errors
    /// `unknown_field`, or `invalid_field` for one that is there twice.
    pub fn add_pairs(&mut self, pairs: &[u8], known: &[&str]) -> Result<(), Problem> {
        for (name, text) in form_urlencoded::parse(pairs) {
            self.add_known(&name, Value::Text(text.into_owned()), known)?;
        }
        Ok(())
    }

    /// Adds what a body says: the members of a JSON object, or the fields of a form.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn add_body(
        &mut self,
        headers: &HeaderMap,
        body: &Bytes,
        known: &[&str],
    ) -> Result<(), Problem> {
        let Some(first) = body.iter().find(|byte| !byte.is_ascii_whitespace()) else {
            return Ok(());
        };
        match source::essence(headers).as_deref() {
            // What `curl -d` says of everything; a form never begins with a brace.
            Some("application/x-www-form-urlencoded") if *first != b'{' => {
                self.add_pairs(body, known)
            }
            None | Some("application/json" | "application/x-www-form-urlencoded") => {
                self.add_members(body, known)
            }
            Some(other) => Err(source::unsupported(format!(
                "an endpoint takes a JSON object or a form, not {other}"
            ))),
        }
    }

    fn add_members(&mut self, body: &[u8], known: &[&str]) -> Result<(), Problem> {
        let members: BTreeMap<String, Json> = read::object(body)?;
        for (name, json) in members {
            self.add_known(&name, Value::Json(json), known)?;
        }
        Ok(())
    }

    fn add_known(&mut self, name: &str, value: Value, known: &[&str]) -> Result<(), Problem> {
        if !known.contains(&name) {
            return Err(unknown(name, known));
        }
        if !self.add(name, value) {
            return Err(Problem::invalid_field(name, format!("{name} is there twice")));
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    if known.is_empty() {
        let detail = format!("unknown parameter `{name}`; the endpoint takes none");
        return Problem::new(Code::UnknownField, detail).with("field", name);
    }
    read::unknown_field("", name, known)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header};

    use super::*;

    fn of_body(content_type: &str, body: &'static str) -> Result<Parameters, Code> {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            let value = HeaderValue::from_str(content_type).expect("a value");
            headers.insert(header::CONTENT_TYPE, value);
        }
        let mut parameters = Parameters::default();
        let read = parameters.add_body(&headers, &Bytes::from_static(body.as_bytes()), &["n", "s"]);
        read.map(|()| parameters).map_err(|problem| problem.code())
    }

    fn json_of(parameters: &Parameters, name: &str) -> String {
        parameters.value_of(name).expect("is there").json().text().to_owned()
    }

    #[test]
    fn a_query_is_json_where_it_parses_as_json() {
        for (pairs, expected) in [
            ("n=34", "34"),
            ("n=1.0", "1.0"),
            ("n=12345678901234567890123", "12345678901234567890123"),
            ("n=true", "true"),
            ("n=[1,2]", "[1,2]"),
            ("n=%22a%22", "\"a\""),
            ("n=a+b", "\"a b\""),
            ("n=", "\"\""),
            ("n=034", "\"034\""),
            ("n", "\"\""),
        ] {
            let mut parameters = Parameters::default();
            parameters.add_pairs(pairs.as_bytes(), &["n"]).expect("is read");
            assert_eq!(json_of(&parameters, "n"), expected, "{pairs}");
        }
    }

    #[test]
    fn what_is_not_known_or_there_twice_is_refused() {
        let check = |pairs: &str| {
            let read = Parameters::default().add_pairs(pairs.as_bytes(), &["year"]);
            read.map_err(|problem| (problem.code(), problem.extras().get("suggestion").cloned()))
        };
        assert_eq!(check("yaer=1"), Err((Code::UnknownField, Some("year".into()))));
        assert_eq!(check("zzz=1"), Err((Code::UnknownField, None)));
        assert_eq!(check("year=1&year=2"), Err((Code::InvalidField, None)));
    }

    #[test]
    fn a_body_is_an_object_or_a_form() {
        let form = "application/x-www-form-urlencoded";
        for (content_type, body, n) in [
            ("application/json", r#"{"n":34}"#, "34"),
            ("application/json", r#"{"n":"34"}"#, "\"34\""),
            ("", r#"{"n":1.0}"#, "1.0"),
            (form, "n=34&s=a", "34"),
            (form, r#"{"n":34}"#, "34"),
        ] {
            let parameters = of_body(content_type, body).expect("is read");
            assert_eq!(json_of(&parameters, "n"), n, "{content_type} {body}");
        }
        assert!(of_body("text/plain", " ").is_ok());
        for (content_type, body, code) in [
            ("text/plain", "n=1", Code::UnsupportedMediaType),
            ("application/json", "[1]", Code::BodyNotObject),
            ("application/json", "{", Code::MalformedJson),
            ("application/json", r#"{"m":1}"#, Code::UnknownField),
        ] {
            assert_eq!(of_body(content_type, body).err(), Some(code), "{content_type} {body}");
        }
    }
}
