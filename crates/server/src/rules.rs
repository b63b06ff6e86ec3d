//! Rules: expressions of CEL, the Common Expression Language, over the parameters of a call. A rule
//! says whether the call goes upstream. Everything that can be wrong with one is found when it is
//! read; what it may cost is bounded by what it may hold.

use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue};
use cel::objects::Key;
use cel::{Context, Env, ParseErrors, Program, Value};

use crate::suggest::nearest;

/// The most bytes of a rule.
const BYTES_MAX: usize = 512;
/// How deep brackets may nest while a rule is read.
const BRACKETS_MAX: usize = 12;
/// How deep what was read may nest, so that evaluating it and dropping it needs little stack.
const DEPTH_MAX: usize = 32;
/// Room for reading a rule: the parser takes up to 100 KiB for a bracket.
const READING_STACK_BYTES: usize = 32 << 20;

/// What a rule may call. Nothing here takes longer than its arguments are large.
const FUNCTIONS: [&str; 9] =
    ["bool", "contains", "double", "endsWith", "int", "size", "startsWith", "string", "uint"];
/// Operators and functions whose value is true or false.
const TELLING: [&str; 13] = [
    "_==_",
    "_!=_",
    "_<_",
    "_<=_",
    "_>_",
    "_>=_",
    "_&&_",
    "_||_",
    "!_",
    "@in",
    "contains",
    "endsWith",
    "startsWith",
];
/// Operators whose value is neither, whatever they stand between.
const COUNTING: [&str; 6] = ["_+_", "_-_", "_*_", "_/_", "_%_", "-_"];

/// The standard operators and functions of CEL, without macros that loop.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A rule that was found good.
#[derive(Debug)]
pub struct Rule {
    text: String,
    program: Program,
    /// What it speaks of, each once.
    variables: Vec<String>,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct InvalidRule {
    /// For a person.
    pub detail: String,
    /// The rule with the word that was probably meant.
    pub suggestion: Option<String>,
}

/// A rule that came to no decision on these parameters, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided(pub String);

impl Rule {
    /// Reads a rule over parameters of these names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, InvalidRule> {
        if text.len() > BYTES_MAX {
            return Err(invalid(format!("a rule has at most {BYTES_MAX} bytes")));
        }
        if brackets(text) > BRACKETS_MAX {
            return Err(invalid(format!("brackets nest at most {BRACKETS_MAX} deep in a rule")));
        }
        let program = read_apart(text)?;
        let variables = examine(program.expression(), text, known)?;
        if !may_tell(program.expression()) {
            return Err(invalid("a rule must say true or false: `n > 32`".to_owned()));
        }
        Ok(Self { text: text.to_owned(), program, variables })
    }

    /// The parameters it speaks of.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Decides. Every variable must be in `values`.
    ///
    /// # Errors
    /// It cannot be decided: a text was compared with a number, say.
    pub fn decide(&self, values: Vec<(&str, serde_json::Value)>) -> Result<bool, Undecided> {
        let mut context = Context::with_env(STANDARD.clone());
        for (name, value) in values {
            context.add_variable_from_value(name, value_of(value));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(decision)) => Ok(decision),
            Ok(other) => {
                Err(Undecided(format!("it says {:?}, not true or false", other.type_of())))
            }
            Err(error) => Err(Undecided(error.to_string())),
        }
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

fn invalid(detail: String) -> InvalidRule {
    InvalidRule { detail, suggestion: None }
}

/// How deep brackets nest. Those within strings count too: what is refused for them is not missed.
fn brackets(text: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(open);
    }
    deepest
}

/// Reads the text on a stack of its own: the parser takes much of it. What it cannot cope with at
/// all is a mistake of the text too.
fn read_apart(text: &str) -> Result<Program, InvalidRule> {
    let text = text.to_owned();
    let reader =
        std::thread::Builder::new().name("rule".to_owned()).stack_size(READING_STACK_BYTES);
    let read = move || {
        let program = Program::compile(&text).map_err(|errors| wrong(&errors))?;
        // Dropped here if it is too deep: that takes as much stack as reading it did.
        if depth(program.expression()) > DEPTH_MAX {
            return Err(invalid(format!("a rule nests at most {DEPTH_MAX} deep")));
        }
        Ok(program)
    };
    let reader = reader.spawn(read).map_err(|error| invalid(error.to_string()))?;
    reader.join().unwrap_or_else(|_| Err(invalid("the rule cannot be read".to_owned())))
}

fn wrong(errors: &ParseErrors) -> InvalidRule {
    let Some(first) = errors.errors.first() else { return invalid("the rule is wrong".to_owned()) };
    // Of what could stand there instead, which the parser lists, most is of no help.
    let message = first.msg.split(" expecting {").next().unwrap_or_default();
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    let message = message
        .replace("mismatched input", "unexpected")
        .replace("extraneous input", "unexpected")
        .replace("token recognition error at:", "unexpected")
        .replace("'<EOF>'", "end");
    invalid(format!("the rule breaks at column {}: {message}", first.pos.1))
}

/// The variables of an expression, once each.
fn examine(expression: &IdedExpr, text: &str, known: &[&str]) -> Result<Vec<String>, InvalidRule> {
    let mut variables: Vec<String> = Vec::new();
    let mut rest = vec![expression];
    while let Some(IdedExpr { expr, .. }) = rest.pop() {
        match expr {
            Expr::Ident(name) if known.contains(&name.as_str()) => {
                if !variables.contains(name) {
                    variables.push(name.clone());
                }
            }
            Expr::Ident(name) => return Err(unknown("parameter", name, text, known)),
            Expr::Call(call) if is_operator(&call.func_name) => {}
            Expr::Call(call) if FUNCTIONS.contains(&call.func_name.as_str()) => {}
            Expr::Call(call) => return Err(unknown("function", &call.func_name, text, &FUNCTIONS)),
            Expr::Comprehension(_) => return Err(invalid("a rule has no loops".to_owned())),
            Expr::Struct(_) | Expr::Unspecified => {
                return Err(invalid("a rule makes no objects of named types".to_owned()));
            }
            Expr::List(_) | Expr::Map(_) | Expr::Literal(_) | Expr::Select(_) => {}
        }
        rest.extend(parts(expr));
    }
    Ok(variables)
}

fn is_operator(name: &str) -> bool {
    TELLING[..10].contains(&name) || COUNTING.contains(&name) || matches!(name, "_?_:_" | "_[_]")
}

fn unknown(what: &str, name: &str, text: &str, known: &[&str]) -> InvalidRule {
    let detail = format!("there is no {what} {name:?}");
    match nearest(name, known.iter().copied()) {
        Some(meant) => InvalidRule {
            detail: format!("{detail}; did you mean {meant:?}?"),
            suggestion: Some(text.replace(name, meant)),
        },
        None if known.is_empty() => invalid(format!("{detail}: there are none")),
        None => invalid(format!("{detail}; known are {}", known.join(", "))),
    }
}

/// What an expression is made of.
fn parts(expression: &Expr) -> Vec<&IdedExpr> {
    match expression {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(entry).collect(),
        Expr::Struct(named) => named.entries.iter().flat_map(entry).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Comprehension(_) | Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {
            Vec::new()
        }
    }
}

fn entry(entry: &IdedEntryExpr) -> Vec<&IdedExpr> {
    match &entry.expr {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(pair) => vec![&pair.key, &pair.value],
    }
}

/// How deep an expression nests; comprehensions, which are refused anyway, count as one.
fn depth(expression: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut rest = vec![(expression, 1)];
    while let Some((IdedExpr { expr, .. }, depth)) = rest.pop() {
        deepest = deepest.max(depth);
        rest.extend(parts(expr).into_iter().map(|part| (part, depth + 1)));
    }
    deepest
}

/// Whether the expression can be true or false at all. What depends on the values alone, a
/// parameter by itself say, can be.
fn may_tell(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Call(call) if call.func_name == "_?_:_" => call.args.iter().skip(1).all(may_tell),
        Expr::Call(call) => {
            let name = call.func_name.as_str();
            TELLING.contains(&name) || matches!(name, "bool" | "_[_]")
        }
        Expr::Literal(literal) => matches!(literal, LiteralValue::Boolean(_)),
        Expr::Ident(_) | Expr::Select(_) => true,
        Expr::List(_) | Expr::Map(_) => false,
        Expr::Comprehension(_) | Expr::Struct(_) | Expr::Unspecified => false,
    }
}

fn value_of(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::UInt(number),
            (None, None) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(text.into()),
        Json::Array(items) => Value::List(Arc::new(items.into_iter().map(value_of).collect())),
        Json::Object(members) => {
            let member =
                |(name, value): (String, Json)| (Key::String(name.into()), value_of(value));
            let map = members.into_iter().map(member).collect();
            Value::Map(cel::objects::Map { map: Arc::new(map) })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decide(rule: &str, n: serde_json::Value) -> Result<bool, String> {
        let rule = Rule::parse(rule, &["n", "m"]).unwrap_or_else(|why| panic!("{rule}: {why}"));
        rule.decide(vec![("n", n), ("m", json!(1))]).map_err(|Undecided(why)| why)
    }

    #[test]
    fn a_rule_decides_by_the_parameters() {
        for (rule, n, decision) in [
            ("n > 32", json!(34), true),
            ("n > 32", json!(32), false),
            ("n > 32", json!(32.5), true),
            ("n > 32", json!(u64::MAX), true),
            ("n >= 10 && n < 20 || n == 0", json!(0), true),
            ("!(n in [1, 2, 3])", json!(2), false),
            ("n % 2 == m", json!(3), true),
            ("n == 'big'", json!("big"), true),
            ("n.startsWith('b') && size(n) > 2", json!("big"), true),
            ("size(n) > 2", json!([1, 2, 3]), true),
            ("n[1].deep", json!([0, {"deep": true}]), true),
            ("has(n.size) && n.size > 3", json!({"size": 4}), true),
            ("has(n.size) && n.size > 3", json!({}), false),
            ("n", json!(true), true),
            ("n > 3 ? m == 1 : false", json!(4), true),
            ("true", json!(null), true),
        ] {
            assert_eq!(decide(rule, n.clone()), Ok(decision), "{rule} with {n}");
        }
    }

    #[test]
    fn what_cannot_be_decided_says_why() {
        for (rule, n, why) in [
            ("n > 32", json!("34"), "no matching overload"),
            ("n", json!(1), "not true or false"),
            ("n.a", json!({}), "No such key"),
            ("n[9]", json!([]), "out of bounds"),
            ("n / 0 > 1", json!(1), "Division by zero"),
            ("n + 1 > 0", json!(i64::MAX), "Overflow"),
        ] {
            let found = decide(rule, n).expect_err(rule);
            assert!(found.contains(why), "{rule}: {found}");
        }
    }

    #[test]
    fn what_is_wrong_is_found_when_it_is_read() {
        for (rule, why) in [
            ("", "breaks at column"),
            ("n >", "breaks at column 4: unexpected end"),
            ("n = 3", "breaks at column 3"),
            ("k > 3", "there is no parameter \"k\"; known are n, m"),
            ("siez(n) > 3", "there is no function \"siez\"; did you mean \"size\"?"),
            ("n.matches('a+')", "there is no function \"matches\""),
            ("n + 1", "true or false"),
            ("'yes'", "true or false"),
            ("[n]", "true or false"),
            ("{'a': n}", "true or false"),
            ("n ? 1 : 2", "true or false"),
            ("size(n)", "true or false"),
            ("n.all(x, x > 1)", "no loops"),
            ("n.map(x, x)", "no loops"),
            ("N{a: 1} == n", "named types"),
            (&format!("n == {}1", "1 + ".repeat(100)), "nests at most"),
            (&format!("{}n{}", "(".repeat(13), ")".repeat(13)), "brackets nest"),
            (&format!("n == '{}'", "a".repeat(BYTES_MAX)), "at most 512 bytes"),
        ] {
            let found = Rule::parse(rule, &["n", "m"]).expect_err(rule);
            assert!(found.detail.contains(why), "{rule}: {found}");
        }
    }

    #[test]
    fn a_mistyped_parameter_is_suggested_within_the_rule() {
        let found = Rule::parse("yaer > 3", &["year"]).expect_err("refused");
        assert_eq!(found.suggestion.as_deref(), Some("year > 3"));
    }

    #[test]
    fn the_deepest_rule_needs_no_more_than_an_ordinary_stack() {
        let brackets = (BRACKETS_MAX, "(", ")");
        let lists = (BRACKETS_MAX, "[", "]");
        for (times, open, close) in [brackets, lists, (DEPTH_MAX - 2, "!", "")] {
            let rule = format!("{}n{} == n", open.repeat(times), close.repeat(times));
            let rule = Rule::parse(&rule, &["n"]).expect("is read");
            assert!(rule.decide(vec![("n", json!(true))]).is_ok());
        }
    }
}
