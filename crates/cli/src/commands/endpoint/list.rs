//! `runabout endpoint list`.

use clap::Args;
use reqwest::Method;
use runabout_protocol::{Endpoint, EndpointSource};
use serde::Deserialize;

use crate::exit::Exit;
use crate::node::{Target, read};
use crate::output;

/// Lists endpoints by path: those of the node's file, and those that were put
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout endpoint list
  runabout endpoint list --json")]
pub struct List {
    /// How many at most
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Go on where the page before ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Endpoint>,
    next_cursor: Option<String>,
}

impl List {
    /// Asks the node for a page.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        let query = [("limit", self.limit.map(|limit| limit.to_string())), ("cursor", self.cursor)];
        let request = node.request_with(Method::GET, &["v1", "endpoints"], &query);
        let body = node.ask_body(request).await?;
        if self.target.json {
            return output::result_text(&String::from_utf8_lossy(&body));
        }
        let page: Page = read(&body)?;
        if page.items.is_empty() {
            output::note(
                "no endpoints; make one with `runabout endpoint put PATH --function NAME`, \
                 or in runabout.toml",
            );
            return Ok(Exit::Ok);
        }
        output::result_text(&table(&page.items))?;
        if let Some(cursor) = page.next_cursor {
            output::note(&format!("there are more: --cursor {cursor}"));
        }
        Ok(Exit::Ok)
    }
}

fn table(endpoints: &[Endpoint]) -> String {
    let head = ["PATH", "METHODS", "CALLS", "OFFLOAD", "SOURCE"].map(ToOwned::to_owned);
    let row = |endpoint: &Endpoint| {
        let methods = endpoint.endpoint.methods.iter().flatten();
        let offload = endpoint.endpoint.offload.as_deref().unwrap_or("-");
        [
            output::one_line(&endpoint.endpoint.path),
            methods.map(|method| method.as_str()).collect::<Vec<_>>().join(","),
            calls(endpoint),
            output::one_line(offload),
            source(endpoint).to_owned(),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(endpoints.iter().map(row)).collect();
    output::table(&rows)
}

/// What it is bound to, `fib({n=30})`, and whether that is not there.
pub fn calls(endpoint: &Endpoint) -> String {
    let request = &endpoint.endpoint;
    let target = match (&request.function, &request.document) {
        (Some(function), _) => format!("{function}({})", arguments(request.args.as_deref())),
        (None, Some(document)) => format!("document {document}"),
        (None, None) => String::new(),
    };
    let missing = if endpoint.function_missing { ", not deployed" } else { "" };
    output::one_line(&format!("{target}{missing}"))
}

fn arguments(args: Option<&[serde_json::Value]>) -> String {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(template) => template.clone(),
        other => other.to_string(),
    };
    args.unwrap_or_default().iter().map(text).collect::<Vec<_>>().join(", ")
}

fn source(endpoint: &Endpoint) -> &'static str {
    match endpoint.source {
        EndpointSource::File => "file",
        EndpointSource::Api => "api",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_an_endpoint_under_one_head() {
        let endpoints = r#"[
            {"path":"/getData","methods":["GET","HEAD","POST"],"function":"fib",
             "args":["{n=30}",34],"offload":"query","source":"file","function_missing":false,
             "created_at":null,"updated_at":null},
            {"path":"/x","methods":["GET","HEAD"],"function":"later@2","source":"api",
             "function_missing":true,"created_at":"2026-01-01T03:00:00.000Z",
             "updated_at":"2026-01-01T03:00:00.000Z"}]"#;
        let endpoints: Vec<Endpoint> = serde_json::from_str(endpoints).expect("reads");
        let expected = "\
PATH      METHODS        CALLS                    OFFLOAD  SOURCE
/getData  GET,HEAD,POST  fib({n=30}, 34)          query    file
/x        GET,HEAD       later@2(), not deployed  -        api";
        assert_eq!(table(&endpoints), expected);
    }
}
