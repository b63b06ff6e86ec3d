//! Values on their way through: JSON kept as the text it came in, so that nothing is parsed twice
//! and a number keeps every digit it was written with.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One JSON text, known to be valid.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "unknown"))]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Takes a text and keeps it as it is.
    ///
    /// # Errors
    /// The text is not one JSON value.
    pub fn parse(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// Writes `value` as JSON.
    ///
    /// # Errors
    /// `value` has no JSON form: a map whose keys are not strings, say.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Reads the text as a `T`.
    ///
    /// # Errors
    /// The value is not a `T`.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }

    /// The value `null`.
    pub fn null() -> Self {
        Self(RawValue::NULL.to_owned())
    }

    /// A JSON string.
    pub fn string(text: &str) -> Self {
        Self::of(text).expect("a string always has a JSON form")
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Json {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::SchemaType::AnyValue)
            .description(Some("Any JSON value"))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Json {
    fn name() -> std::borrow::Cow<'static, str> {
        "Json".into()
    }
}

/// How bytes stand in JSON: not at all, or as base64 text beside this marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Standard base64 with padding.
    Base64,
}

/// A run's arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    /// A JSON array. With `encoding`, every element is a string of base64.
    pub values: Json,
    /// Set when the arguments are bytes: each arrives as a `Uint8Array`, or, for a WASI command
    /// with a single one, as stdin.
    pub encoding: Option<Encoding>,
}

impl Arguments {
    /// No arguments.
    pub fn none() -> Self {
        Self { values: Json::parse("[]".to_owned()).expect("[] is JSON"), encoding: None }
    }
}

/// The value a run returned.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    /// The value as JSON. With `encoding`, a string of base64.
    pub value: Json,
    /// Set when the value is bytes.
    pub encoding: Option<Encoding>,
}

/// A small state that a run leaves for a later attempt: JSON, or bytes as base64.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The state as JSON. With `encoding`, a string of base64.
    pub state: Json,
    /// Set when the state is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_text() {
        let text = "{ \"b\": 1.50, \"a\": 12345678901234567890 }";
        let json: Json = serde_json::from_str(text).expect("valid");
        assert_eq!(serde_json::to_string(&json).expect("valid"), text);
    }

    #[test]
    fn half_a_json_text_is_refused() {
        assert!(Json::parse("[1,".to_owned()).is_err());
    }
}
