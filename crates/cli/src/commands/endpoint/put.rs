//! `runabout endpoint put`.

use clap::{Args, ValueEnum};
use reqwest::Method;
use runabout_protocol::{Endpoint, EndpointMethod, EndpointRequest};

use super::list::calls;
use crate::arguments;
use crate::exit::Exit;
use crate::node::{Target, read};
use crate::output;

/// Binds a path to a function, or changes what it is bound to
#[derive(Debug, Args)]
#[command(override_usage = "runabout endpoint put PATH --function NAME [ARGS]... [OPTIONS]")]
#[command(after_help = "\
Examples:
  runabout endpoint put /getData --function fib '{n=30}' --offload query
  runabout endpoint put /getBiggerData --function fib '{n}' --offload 'n > 32'
  runabout endpoint put '/report/{year}' --function report@3 '{year}' --method GET")]
pub struct Put {
    /// The path; segments in braces are parameters: /report/{year}
    path: String,
    /// The function's arguments: JSON, or else templates over the parameters: '{n}', '{n=30}'
    #[arg(id = "args", value_name = "ARGS")]
    words: Vec<String>,
    /// The function to call; NAME@N for its version N
    #[arg(long, value_name = "NAME")]
    function: String,
    /// The export to call; not needed where there is one
    #[arg(long, value_name = "NAME")]
    export: Option<String>,
    /// Where it runs: 0, 1, auto, query, or a rule like 'n > 32'
    #[arg(long, value_name = "WHERE")]
    offload: Option<String>,
    /// A method it takes; may be given several times; GET and POST if left out
    #[arg(long, value_name = "METHOD", ignore_case = true)]
    method: Vec<Taken>,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Taken {
    /// Parameters from the path and the query; HEAD comes with it
    Get,
    /// Parameters from the body too
    Post,
}

impl Put {
    /// Sends the endpoint and tells what has become of it.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        let request = node.request(Method::PUT, &["v1", "endpoints"]).json(&self.request()?);
        let body = node.ask_body(request).await?;
        if self.target.json {
            return output::result_text(&String::from_utf8_lossy(&body));
        }
        let endpoint: Endpoint = read(&body)?;
        if endpoint.function_missing {
            let function = endpoint.endpoint.function.as_deref().unwrap_or_default();
            output::note(&format!("{function} is not deployed yet; until then it answers 503"));
        }
        output::result_text(&format!("{} calls {}", endpoint.endpoint.path, calls(&endpoint)))
    }

    fn request(&self) -> anyhow::Result<EndpointRequest> {
        let method = |taken: &Taken| match taken {
            Taken::Get => EndpointMethod::Get,
            Taken::Post => EndpointMethod::Post,
        };
        let methods: Vec<_> = self.method.iter().map(method).collect();
        let args = (!self.words.is_empty()).then(|| arguments::array(&self.words).read());
        Ok(EndpointRequest {
            path: self.path.clone(),
            methods: (!methods.is_empty()).then_some(methods),
            function: Some(self.function.clone()),
            export: self.export.clone(),
            args: args.transpose()?,
            offload: self.offload.clone(),
            document: None,
            compute: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        put: Put,
    }

    #[test]
    fn words_are_arguments_as_for_a_call() {
        let words = ["put", "/f", "--function", "fib@3", "{n=30}", "34", "--method", "get"];
        let request = Line::parse_from(words).put.request().expect("a request");
        let expected = r#"{"path":"/f","methods":["GET"],"function":"fib@3","args":["{n=30}",34]}"#;
        assert_eq!(serde_json::to_string(&request).expect("JSON"), expected);
    }
}
