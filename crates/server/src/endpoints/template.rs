//! The templates of arguments: what an endpoint makes of its parameters. `"{n}"` is a value,
//! `"{n=30}"` one with a default, `"report-{year}"` a text.

use runabout_protocol::Json;
use serde_json::Value;

use super::parameters::Parameters;

/// The most bytes of a template.
const TEMPLATE_BYTES_MAX: usize = 4096;
/// The most bytes of a parameter's name.
const NAME_BYTES_MAX: usize = 64;

/// One argument in the making.
#[derive(Clone, Debug, PartialEq)]
pub enum Template {
    /// The same value for every request.
    Literal(Json),
    /// The value of a parameter.
    Parameter(Parameter),
    /// A text with the texts of parameters in it.
    Text(Vec<Piece>),
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// As it was written.
    Plain(String),
    /// What the request says.
    Parameter(Parameter),
}

/// A parameter where it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What it is if the request does not say.
    pub default: Option<String>,
}

/// The request does not say what this parameter is, and it has no default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(pub String);

impl Template {
    /// Reads an argument: a string is a template, anything else stands for itself.
    ///
    /// # Errors
    /// Why it is no template.
    pub fn of(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::parse(text),
            other => Json::of(other).map(Self::Literal).map_err(|error| error.to_string()),
        }
    }

    /// Reads a template.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("a template has at most {TEMPLATE_BYTES_MAX} bytes"));
        }
        let mut pieces = pieces(text)?;
        if let [Piece::Parameter(_)] = pieces.as_slice()
            && let Some(Piece::Parameter(parameter)) = pieces.pop()
        {
            return Ok(Self::Parameter(parameter));
        }
        match pieces.iter().map(Piece::plain).collect::<Option<String>>() {
            Some(text) => Ok(Self::Literal(Json::string(&text))),
            None => Ok(Self::Text(pieces)),
        }
    }

    /// The parameters it uses.
    pub fn parameters(&self) -> Vec<&Parameter> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Parameter(parameter) => vec![parameter],
            Self::Text(pieces) => pieces.iter().filter_map(Piece::parameter).collect(),
        }
    }

    /// Adds the argument's JSON to `json`.
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn write(&self, parameters: &Parameters, json: &mut String) -> Result<(), Missing> {
        match self {
            Self::Literal(value) => json.push_str(value.text()),
            Self::Parameter(parameter) => {
                json.push_str(parameters.value_of(&parameter.name)?.json().text());
            }
            Self::Text(_) => json.push_str(Json::string(&self.text(parameters)?).text()),
        }
        Ok(())
    }

    /// What the template says as a text.
    ///
    /// # Errors
    /// A parameter is missing.
    pub fn text(&self, parameters: &Parameters) -> Result<String, Missing> {
        let text_of = |name: &str| parameters.value_of(name).map(|value| value.text().into_owned());
        match self {
            Self::Literal(value) => {
                Ok(value.read::<String>().unwrap_or_else(|_| value.text().to_owned()))
            }
            Self::Parameter(parameter) => text_of(&parameter.name),
            Self::Text(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Plain(text) => Ok(text.clone()),
                    Piece::Parameter(parameter) => text_of(&parameter.name),
                })
                .collect(),
        }
    }
}

impl Piece {
    fn plain(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Parameter(_) => None,
        }
    }

    fn parameter(&self) -> Option<&Parameter> {
        match self {
            Self::Plain(_) => None,
            Self::Parameter(parameter) => Some(parameter),
        }
    }
}

/// Whether that can be a parameter's name. It can then stand in a rule too.
pub fn is_name(text: &str) -> bool {
    let begins_well = text.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    let of_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    begins_well && text.len() <= NAME_BYTES_MAX && text.bytes().all(of_word)
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(at);
        plain.push_str(before);
        // A brace that is written twice is one that means itself.
        if let Some(after) = from_brace.strip_prefix("{{").or(from_brace.strip_prefix("}}")) {
            plain.push_str(&from_brace[..1]);
            rest = after;
            continue;
        }
        let inner_onwards = from_brace.strip_prefix('{').ok_or_else(|| {
            format!(
                "in {text:?} a brace closes that was not opened; write }}}} for one of the text"
            )
        })?;
        let end = closing(inner_onwards).ok_or_else(|| {
            format!("in {text:?} a brace is not closed; write {{{{ for one of the text")
        })?;
        if !plain.is_empty() {
            pieces.push(Piece::Plain(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Parameter(parameter(&inner_onwards[..end])?));
        rest = &inner_onwards[end + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Plain(plain));
    }
    Ok(pieces)
}

/// Where the brace closes that was opened just before `text`; a default may hold braces in pairs.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn parameter(inner: &str) -> Result<Parameter, String> {
    let (name, default) = match inner.split_once('=') {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (inner, None),
    };
    if !is_name(name) {
        return Err(format!(
            "{{{inner}}} names no parameter: a name has letters, digits and underscores, and \
             begins with no digit"
        ));
    }
    Ok(Parameter { name: name.to_owned(), default })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The argument that a template makes of `n=34`, `s=a"b` and `o={"a":1}`.
    fn check(template: Value, expected: &str) {
        let parsed = Template::of(&template).unwrap_or_else(|why| panic!("{template}: {why}"));
        let mut parameters = Parameters::default();
        for (name, text) in [("n", "34"), ("s", "a\"b"), ("o", "{\"a\":1}")] {
            parameters.add_text(name, text);
        }
        for parameter in parsed.parameters() {
            if let Some(default) = &parameter.default {
                parameters.add_text(&parameter.name, default);
            }
        }
        let mut json = String::new();
        parsed.write(&parameters, &mut json).unwrap_or_else(|why| panic!("{template}: {why:?}"));
        assert_eq!(json, expected, "{template}");
        assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
    }

    #[test]
    fn an_argument_is_a_value_a_text_or_itself() {
        check(json!("{n}"), "34");
        check(json!("{s}"), r#""a\"b""#);
        check(json!("{o}"), r#"{"a":1}"#);
        check(json!("{n=30}"), "34");
        check(json!("{m=30}"), "30");
        check(json!("{m=}"), r#""""#);
        check(json!("{m=three}"), r#""three""#);
        check(json!("{m={\"a\":{}}}"), r#"{"a":{}}"#);
        check(json!("n-{n}-{s}"), r#""n-34-a\"b""#);
        check(json!("{n}{n}"), r#""3434""#);
        check(json!("{{n}}"), r#""{n}""#);
        check(json!("34"), r#""34""#);
        check(json!(""), r#""""#);
        check(json!(34), "34");
        check(json!(1.0), "1.0");
        check(json!(null), "null");
        check(json!({"n": "{n}"}), r#"{"n":"{n}"}"#);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["{", "}", "{n", "n}", "{}", "{=3}", "{a b}", "{9}", "{n}}", "{m={}", "{ü}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
        assert!(Template::parse(&"a".repeat(TEMPLATE_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let template = Template::parse("{who}").expect("a template");
        let missing = template.write(&Parameters::default(), &mut String::new());
        assert_eq!(missing, Err(Missing("who".to_owned())));
    }
}
