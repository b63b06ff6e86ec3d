//! An endpoint that was found good: everything its owner wrote, read once and checked, so that a
//! request finds nothing left to be wrong but its own parameters.

use std::collections::BTreeMap;

use runabout_protocol::{
    Arguments, ComputeMode, ComputeRequest, EndpointMethod, EndpointRequest, FunctionName, Json,
};

use super::parameters::Parameters;
use super::path::Pattern;
use super::template::{Missing, Template};
use crate::deployed::{Deployed, Reference, reference};
use crate::rules::{InvalidRule, Undecided};
use crate::wanted::{self, Offload, Wanted};

/// The most arguments of one call.
const ARGS_MAX: usize = 64;
/// The parameter by which the caller says where to run.
pub const OFFLOAD: &str = "offload";
/// The parameter that is the document's text, for the call beside it.
pub const DOCUMENT: &str = "document";

/// An endpoint that was found good.
#[derive(Debug)]
pub struct Definition {
    /// As it was written.
    pub request: EndpointRequest,
    /// Its path.
    pub pattern: Pattern,
    /// The methods it takes; HEAD only where GET is.
    pub methods: Vec<EndpointMethod>,
    /// The parameters that a request may have, by name, and what they are if it leaves them out.
    pub parameters: BTreeMap<String, Option<String>>,
    /// What it is bound to.
    pub target: Target,
}

/// What an endpoint is bound to.
#[derive(Debug)]
pub enum Target {
    /// A function, whose result is the response.
    Function(Binding),
    /// A document.
    Document(DocumentBinding),
}

/// A function, and how a request becomes a call of it.
#[derive(Debug)]
pub struct Binding {
    /// Its name.
    pub name: FunctionName,
    /// The version, if it is pinned.
    pub version: Option<u32>,
    /// The export to call.
    pub export: Option<String>,
    /// What its arguments are made from.
    pub args: Vec<Template>,
    /// Where it runs; `None` leaves it to the function's manifest.
    pub offload: Option<Offload>,
}

/// A document, and the call that may belong to it.
#[derive(Debug)]
pub struct DocumentBinding {
    /// Its name.
    pub name: Template,
    /// The call.
    pub compute: Option<Compute>,
}

/// The call beside a document.
#[derive(Debug)]
pub struct Compute {
    /// What is called.
    pub binding: Binding,
    /// When.
    pub mode: ComputeMode,
    /// Whether its result is the response.
    pub respond: bool,
}

/// What is wrong with an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct InvalidEndpoint {
    /// Which of its fields: `path`, `args[1]`, `compute.offload`.
    pub field: String,
    /// What is wrong with it, for a person.
    pub detail: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl InvalidEndpoint {
    /// That field, for this reason.
    pub fn new(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), detail: detail.into(), suggestion: None }
    }

    fn inside(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

impl Definition {
    /// Checks an endpoint. Whether its function is deployed is another question.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(request: EndpointRequest) -> Result<Self, InvalidEndpoint> {
        let pattern =
            Pattern::parse(&request.path).map_err(|why| InvalidEndpoint::new("path", why))?;
        let mut known = Known::of_path(&pattern);
        let target = match (&request.function, &request.document) {
            (Some(_), Some(_)) => {
                let detail = "an endpoint has a function or a document, not both";
                return Err(InvalidEndpoint::new("document", detail));
            }
            (None, None) => {
                let detail = "an endpoint needs a function or a document";
                return Err(InvalidEndpoint::new("function", detail));
            }
            (Some(function), None) => {
                if request.compute.is_some() {
                    let detail = "it belongs to a document, and this endpoint has none";
                    return Err(InvalidEndpoint::new("compute", detail));
                }
                let wish = Wish {
                    function,
                    export: request.export.as_ref(),
                    args: request.args.as_deref(),
                    offload: request.offload.as_deref(),
                };
                Target::Function(wish.bind(&mut known)?)
            }
            (None, Some(document)) => {
                Target::Document(of_document(&request, document, &mut known)?)
            }
        };
        let methods = methods(&request, &target)?;
        let parameters = known.parameters;
        Ok(Self { request, pattern, methods, parameters, target })
    }

    /// Whether it takes requests of that method.
    pub fn takes(&self, method: &http::Method) -> bool {
        self.methods.iter().any(|known| known.as_str() == method.as_str())
    }

    /// The names of the parameters that a query or a body may have: those of the path are there
    /// already.
    pub fn expected(&self) -> Vec<&str> {
        let in_path = |name: &&str| self.pattern.parameters().iter().any(|known| known == name);
        self.parameters.keys().map(String::as_str).filter(|name| !in_path(name)).collect()
    }

    /// Adds what the request has left out.
    pub fn add_defaults(&self, parameters: &mut Parameters) {
        for (name, default) in &self.parameters {
            if let Some(default) = default {
                parameters.add_text(name, default);
            }
        }
    }
}

impl Binding {
    /// The arguments of a call with these parameters.
    ///
    /// # Errors
    /// One of them is missing.
    pub fn arguments(&self, parameters: &Parameters) -> Result<Arguments, Missing> {
        let mut json = String::from("[");
        for (index, template) in self.args.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            template.write(parameters, &mut json)?;
        }
        json.push(']');
        let values = Json::parse(json).expect("values between brackets and commas are JSON");
        Ok(Arguments { values, encoding: None })
    }

    /// The export that is called of that version.
    pub fn export_of(&self, deployed: &Deployed) -> Option<String> {
        self.export.clone().or_else(|| deployed.version.manifest.export.clone())
    }

    /// Where such a call should run; `None` leaves it to the function's manifest.
    ///
    /// # Errors
    /// The caller names no place, and should have.
    pub fn wanted(&self, parameters: &Parameters) -> Result<Option<Wanted>, InvalidEndpoint> {
        match &self.offload {
            None => Ok(None),
            Some(Offload::Fixed(place)) => Ok(Some(Wanted::word(*place))),
            Some(Offload::Query) => {
                let Ok(said) = parameters.value_of(OFFLOAD) else {
                    return Ok(Some(Wanted::default()));
                };
                let said = said.text();
                let place = wanted::place(&said).ok_or_else(|| {
                    InvalidEndpoint::new(OFFLOAD, format!("it is 0, 1 or auto, not {said:?}"))
                })?;
                Ok(Some(Wanted::word(place)))
            }
            Some(Offload::Rule(rule)) => {
                let looked_at =
                    rule.variables().iter().filter_map(|it| parameters.value_of(it).ok());
                let bytes: usize = looked_at.map(|value| value.json().text().len()).sum();
                if bytes > wanted::RULE_ARGS_BYTES_MAX {
                    let why = "the parameters are too large for a rule".to_owned();
                    return Ok(Some(Wanted::ruled(Err(Undecided(why)))));
                }
                let values = rule.variables().iter().filter_map(|name| {
                    let value = parameters.value_of(name).ok()?.json().read().ok()?;
                    Some((name.as_str(), value))
                });
                Ok(Some(Wanted::ruled(rule.decide(values.collect()))))
            }
        }
    }
}

/// The parameters that an endpoint knows, while it is read.
struct Known {
    parameters: BTreeMap<String, Option<String>>,
}

impl Known {
    fn of_path(pattern: &Pattern) -> Self {
        let parameters = pattern.parameters().iter().map(|name| (name.clone(), None)).collect();
        Self { parameters }
    }

    /// Takes up the parameters of a template. `given` are there without the request's doing.
    fn add(&mut self, template: &Template, given: &[&str]) -> Result<(), String> {
        for parameter in template.parameters() {
            let name = parameter.name.as_str();
            if given.contains(&name) {
                continue;
            }
            let known = self.parameters.entry(name.to_owned()).or_default();
            match (&known, &parameter.default) {
                (Some(one), Some(other)) if one != other => {
                    return Err(format!("{name:?} has two defaults: {one:?} and {other:?}"));
                }
                (None, Some(default)) => *known = Some(default.clone()),
                _ => {}
            }
        }
        Ok(())
    }

    fn names(&self) -> Vec<&str> {
        self.parameters.keys().map(String::as_str).collect()
    }
}

/// A call as it was written, by an endpoint or by the `compute` of one.
struct Wish<'a> {
    function: &'a str,
    export: Option<&'a String>,
    args: Option<&'a [serde_json::Value]>,
    offload: Option<&'a str>,
}

impl Wish<'_> {
    fn bind(&self, known: &mut Known) -> Result<Binding, InvalidEndpoint> {
        self.bind_beside(known, &[])
    }

    fn bind_beside(&self, known: &mut Known, given: &[&str]) -> Result<Binding, InvalidEndpoint> {
        let refused = |why: String| InvalidEndpoint::new("function", why);
        let Reference { name, version } = reference(self.function).map_err(refused)?;
        let name = name
            .parse()
            .map_err(|why| refused(format!("{name:?} is no function's name: {why}")))?;
        let args = self.args.unwrap_or_default();
        if args.len() > ARGS_MAX {
            let detail = format!("a call has at most {ARGS_MAX} arguments");
            return Err(InvalidEndpoint::new("args", detail));
        }
        let mut templates = Vec::with_capacity(args.len());
        for (index, value) in args.iter().enumerate() {
            let refused = |why: String| InvalidEndpoint::new(format!("args[{index}]"), why);
            let template = Template::of(value).map_err(refused)?;
            known.add(&template, given).map_err(refused)?;
            templates.push(template);
        }
        let offload = self.offload.map(|text| offload(text, known)).transpose()?;
        let export = self.export.cloned();
        Ok(Binding { name, version, export, args: templates, offload })
    }
}

fn offload(text: &str, known: &mut Known) -> Result<Offload, InvalidEndpoint> {
    let names = known.names();
    let offload = Offload::parse(text, &names).map_err(|InvalidRule { detail, suggestion }| {
        InvalidEndpoint { suggestion, ..InvalidEndpoint::new("offload", detail) }
    })?;
    if offload == Offload::Query {
        if names.contains(&OFFLOAD) {
            let detail = "with \"query\" the parameter \"offload\" says where to run, nothing else";
            return Err(InvalidEndpoint::new("offload", detail));
        }
        known.parameters.insert(OFFLOAD.to_owned(), None);
    }
    Ok(offload)
}

fn of_document(
    request: &EndpointRequest,
    document: &str,
    known: &mut Known,
) -> Result<DocumentBinding, InvalidEndpoint> {
    let of_functions = [
        ("export", request.export.is_some()),
        ("args", request.args.is_some()),
        ("offload", request.offload.is_some()),
    ];
    if let Some((field, _)) = of_functions.iter().find(|(_, is_there)| *is_there) {
        let detail = "it belongs to a function; that of a document stands in compute";
        return Err(InvalidEndpoint::new(*field, detail));
    }
    let refused = |why: String| InvalidEndpoint::new("document", why);
    let name = Template::parse(document).map_err(refused)?;
    known.add(&name, &[]).map_err(refused)?;
    let compute = request.compute.as_ref();
    let compute = compute.map(|compute| of_compute(compute, known)).transpose();
    Ok(DocumentBinding { name, compute: compute.map_err(|error| error.inside("compute"))? })
}

fn of_compute(request: &ComputeRequest, known: &mut Known) -> Result<Compute, InvalidEndpoint> {
    if known.names().contains(&DOCUMENT) {
        let detail = "{document} is the document's text, so that no parameter has that name";
        return Err(InvalidEndpoint::new("args", detail));
    }
    let wish = Wish {
        function: &request.function,
        export: request.export.as_ref(),
        args: request.args.as_deref(),
        offload: request.offload.as_deref(),
    };
    let binding = wish.bind_beside(known, &[DOCUMENT])?;
    let mode = request.mode.unwrap_or_default();
    Ok(Compute { binding, mode, respond: request.respond.unwrap_or(false) })
}

fn methods(
    request: &EndpointRequest,
    target: &Target,
) -> Result<Vec<EndpointMethod>, InvalidEndpoint> {
    use EndpointMethod::{Get, Head, Post};
    let Some(asked) = &request.methods else {
        return Ok(match target {
            Target::Function(_) => vec![Get, Head, Post],
            Target::Document(_) => vec![Get, Head],
        });
    };
    let has = |method| asked.contains(&method);
    if !has(Get) && !has(Post) {
        let detail = "an endpoint takes GET or POST; HEAD comes with GET";
        return Err(InvalidEndpoint::new("methods", detail));
    }
    if has(Head) && !has(Get) {
        return Err(InvalidEndpoint::new("methods", "HEAD comes with GET, and not without"));
    }
    if has(Post) && matches!(target, Target::Document(_)) {
        return Err(InvalidEndpoint::new("methods", "a document is only read here: GET"));
    }
    let mut methods = if has(Get) { vec![Get, Head] } else { Vec::new() };
    if has(Post) {
        methods.push(Post);
    }
    Ok(methods)
}

#[cfg(test)]
mod tests {
    use runabout_protocol::Place;
    use serde_json::{Value, json};

    use super::*;
    use crate::wanted::By;

    fn read(request: Value) -> Result<Definition, InvalidEndpoint> {
        Definition::new(serde_json::from_value(request).expect("an endpoint"))
    }

    fn binding(definition: &Definition) -> &Binding {
        match &definition.target {
            Target::Function(binding) => binding,
            Target::Document(_) => panic!("is no document"),
        }
    }

    /// The arguments, the place and who says so, of a request with that query.
    fn call(endpoint: Value, query: &str) -> (String, Option<(Place, By)>) {
        let definition = read(endpoint).expect("is good");
        let mut parameters = Parameters::default();
        parameters.add_pairs(query.as_bytes(), &definition.expected()).expect("are known");
        definition.add_defaults(&mut parameters);
        let binding = binding(&definition);
        let args = binding.arguments(&parameters).expect("are there");
        let wanted = binding.wanted(&parameters).expect("is a place");
        (args.values.text().to_owned(), wanted.map(|wanted| (wanted.place, wanted.by)))
    }

    #[test]
    fn a_request_becomes_arguments() {
        let args = json!(["{n}", "{m=30}", 34, {"a": "{n}"}, "no {n}"]);
        let endpoint = json!({"path": "/f", "function": "fib", "args": args});
        let expected = r#"[7,30,34,{"a":"{n}"},"no 7"]"#;
        assert_eq!(call(endpoint.clone(), "n=7"), (expected.to_owned(), None));
        let definition = read(endpoint).expect("is good");
        let missing = binding(&definition).arguments(&Parameters::default());
        assert_eq!(missing, Err(Missing("n".to_owned())));
    }

    #[test]
    fn a_request_gets_its_place() {
        let endpoint = |offload: &str| json!({"path": "/f", "function": "fib", "args": ["{n=30}"], "offload": offload});
        for (offload, query, place, by) in [
            ("0", "", Place::Here, By::Word),
            ("1", "", Place::Upstream, By::Word),
            ("auto", "", Place::Auto, By::Word),
            ("query", "", Place::Auto, By::Word),
            ("query", "offload=0", Place::Here, By::Word),
            ("query", "offload=1", Place::Upstream, By::Word),
            ("n > 32", "", Place::Here, By::Rule),
            ("n > 32", "n=34", Place::Upstream, By::Rule),
            ("n > 32", "n=many", Place::Here, By::BrokenRule),
        ] {
            let (_, found) = call(endpoint(offload), query);
            assert_eq!(found, Some((place, by)), "{offload} {query}");
        }
    }

    #[test]
    fn a_function_takes_get_and_post_unless_it_says_otherwise() {
        use EndpointMethod::{Get, Head, Post};
        let of = |methods: Value| {
            let mut endpoint = json!({"path": "/f", "function": "fib"});
            endpoint["methods"] = methods;
            read(endpoint).map(|definition| definition.methods)
        };
        assert_eq!(of(Value::Null), Ok(vec![Get, Head, Post]));
        assert_eq!(of(json!(["GET"])), Ok(vec![Get, Head]));
        assert_eq!(of(json!(["POST"])), Ok(vec![Post]));
        assert!(of(json!(["HEAD"])).is_err() && of(json!([])).is_err());
    }

    #[test]
    fn a_document_and_its_call_are_read() {
        let compute = json!({"function": "render@2", "args": ["{document}", "{theme=light}"],
            "mode": "cached", "respond": true});
        let endpoint = json!({"path": "/wiki/{name}", "document": "{name}", "compute": compute});
        let definition = read(endpoint).expect("is good");
        assert_eq!(definition.expected(), ["theme"]);
        let Target::Document(DocumentBinding { name, compute: Some(compute) }) = definition.target
        else {
            panic!("is a document with a call");
        };
        assert_eq!(name, Template::parse("{name}").expect("a template"));
        assert_eq!((compute.mode, compute.respond), (ComputeMode::Cached, true));
        assert_eq!(compute.binding.version, Some(2));
        assert_eq!(definition.methods, [EndpointMethod::Get, EndpointMethod::Head]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let f = |more: Value| {
            let mut endpoint = json!({"path": "/f/{n}", "function": "fib"});
            let members = more.as_object().expect("an object").clone();
            endpoint.as_object_mut().expect("an object").extend(members);
            endpoint
        };
        let document = |compute: Value| json!({"path": "/d", "document": "a", "compute": compute});
        for (endpoint, field) in [
            (json!({"path": "f", "function": "fib"}), "path"),
            (json!({"path": "/v1/f", "function": "fib"}), "path"),
            (json!({"path": "/f"}), "function"),
            (json!({"path": "/f", "function": "a/b"}), "function"),
            (json!({"path": "/f", "function": "fib@x"}), "function"),
            (json!({"path": "/f", "function": "fib", "document": "d"}), "document"),
            (json!({"path": "/f", "document": "{d"}), "document"),
            (json!({"path": "/f", "document": "d", "args": []}), "args"),
            (json!({"path": "/f", "document": "d", "methods": ["POST"]}), "methods"),
            (f(json!({"args": ["{n}", "{"]})), "args[1]"),
            (f(json!({"args": ["{a=1}", "{a=2}"]})), "args[1]"),
            (f(json!({"args": vec![1; ARGS_MAX + 1]})), "args"),
            (f(json!({"offload": "m > 3"})), "offload"),
            (f(json!({"offload": "yes"})), "offload"),
            (f(json!({"offload": "query", "args": ["{offload}"]})), "offload"),
            (f(json!({"compute": {"function": "f"}})), "compute"),
            (f(json!({"methods": ["HEAD"]})), "methods"),
            (document(json!({"function": "a b"})), "compute.function"),
            (document(json!({"function": "f", "args": ["{"]})), "compute.args[0]"),
            (document(json!({"function": "f", "offload": "x"})), "compute.offload"),
        ] {
            let found = read(endpoint.clone()).expect_err("refused");
            assert_eq!(found.field, field, "{endpoint}: {found}");
        }
    }
}
