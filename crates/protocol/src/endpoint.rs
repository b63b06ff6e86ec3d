//! Endpoints: URL paths of the user's own, bound to a function or to a document.

use serde::{Deserialize, Serialize};

/// A method that an endpoint may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum EndpointMethod {
    /// Parameters from the path and the query.
    Get,
    /// As GET, without the body of the answer; whatever takes GET takes HEAD.
    Head,
    /// Parameters from the path, the query and the body.
    Post,
}

impl EndpointMethod {
    /// The word for it in HTTP.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
        }
    }
}

/// When the function beside a document is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ComputeMode {
    /// For each request.
    #[default]
    Each,
    /// Once for all requests that wait for it at the same time.
    Shared,
    /// Once for each revision of the document and each set of arguments.
    Cached,
}

/// A call that belongs to a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ComputeRequest {
    /// The function: `render`, or `render@3` for that version.
    pub function: String,
    /// The export to call; not needed where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// Its arguments, as those of an endpoint; `"{document}"` is the document's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<serde_json::Value>>,
    /// When it is called; for each request if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ComputeMode>,
    /// Whether its result is the response; otherwise the document is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<bool>,
    /// Where it runs, as for an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offload: Option<String>,
}

/// An endpoint as its owner writes it: an `[[endpoint]]` of `runabout.toml`, or the body of
/// `PUT /v1/endpoints`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EndpointRequest {
    /// The path: segments, of which those in braces are parameters. `/report/{year}`.
    pub path: String,
    /// The methods it takes. GET (with HEAD) and POST for a function, GET for a document, if left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<EndpointMethod>>,
    /// The function to call: `fib` is always the latest, `fib@3` that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The export to call; not needed where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// The function's arguments. A string is a template: `"{n}"` is the parameter `n`,
    /// `"{n=30}"` has a default, `"report-{year}"` is a text. Other values stand for themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<serde_json::Value>>,
    /// Where it runs: `0` here, `1` upstream, `auto`, `query` as the caller says with `?offload=`,
    /// or a CEL rule over the parameters that says whether it goes upstream: `n > 32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offload: Option<String>,
    /// The document to serve instead of calling a function; a template as in `args`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// A call that belongs to the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<ComputeRequest>,
}

/// Where an endpoint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum EndpointSource {
    /// The node's file; it stands as long as it does there.
    File,
    /// `PUT /v1/endpoints`.
    Api,
}

/// An endpoint as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Endpoint {
    /// As it was written, with the methods that it takes.
    #[serde(flatten)]
    pub endpoint: EndpointRequest,
    /// Where it comes from.
    pub source: EndpointSource,
    /// Whether a function that it calls is not deployed: it then answers 503.
    pub function_missing: bool,
    /// When it was first put, RFC 3339 in UTC; null for one of the node's file.
    pub created_at: Option<String>,
    /// When it was last put.
    pub updated_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_out() {
        let text =
            r#"{"path":"/f/{n}","methods":["GET","POST"],"function":"fib@3","args":["{n}"]}"#;
        let request: EndpointRequest = serde_json::from_str(text).expect("reads");
        assert_eq!(serde_json::to_string(&request).expect("writes"), text);
    }

    #[test]
    fn a_field_that_is_not_known_is_refused() {
        let text = r#"{"path":"/f","function":"fib","compute":{"function":"f","moed":"each"}}"#;
        let refused = serde_json::from_str::<EndpointRequest>(text).expect_err("refused");
        assert!(refused.to_string().contains("unknown field `moed`"), "{refused}");
    }
}
