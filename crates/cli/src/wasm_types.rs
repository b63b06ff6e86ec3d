//! What WebAssembly's exports take and return, in TypeScript's words.

use std::collections::HashMap;

use wasmparser::{CompositeInnerType, ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};

/// The signature of an exported function; `None` if the module has none of that name that can be
/// called with numbers.
pub fn signature(module: &[u8], export: &str) -> Option<String> {
    let function = function(module, export)?;
    let parameters = function.params().iter().zip(1..);
    let parameters = parameters
        .map(|(value, n)| number(*value).map(|value| format!("p{n}: {value}")))
        .collect::<Option<Vec<_>>>()?;
    let results = function.results().iter().map(|value| number(*value));
    let results = results.collect::<Option<Vec<_>>>()?;
    let result = match results.as_slice() {
        [] => "null".to_owned(),
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    };
    Some(format!("({}) => {result}", parameters.join(", ")))
}

/// An integer that a double cannot hold is a decimal string.
fn number(value: ValType) -> Option<&'static str> {
    match value {
        ValType::I32 => Some("number"),
        ValType::I64 | ValType::F32 | ValType::F64 => Some("number | string"),
        _ => None,
    }
}

/// Reads as much of a module as it takes to know an export's type.
fn function(module: &[u8], export: &str) -> Option<FuncType> {
    let mut types: Vec<Option<FuncType>> = Vec::new();
    let mut functions: Vec<u32> = Vec::new();
    let mut exports = HashMap::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::TypeSection(section) => {
                for group in section {
                    types.extend(group.ok()?.into_types().map(
                        |it| match it.composite_type.inner {
                            CompositeInnerType::Func(function) => Some(function),
                            _ => None,
                        },
                    ));
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Func(index) = import.ok()?.ty {
                        functions.push(index);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    functions.push(index.ok()?);
                }
            }
            Payload::ExportSection(section) => {
                for it in section {
                    let it = it.ok()?;
                    if it.kind == ExternalKind::Func {
                        exports.insert(it.name, it.index);
                    }
                }
            }
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    let index = functions.get(*exports.get(export)? as usize)?;
    types.get(*index as usize)?.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wat: &str, expected: Option<&str>) {
        let module = wat::parse_str(wat).expect("a module");
        assert_eq!(signature(&module, "f").as_deref(), expected, "{wat}");
    }

    #[test]
    fn numbers_are_numbers_and_large_ones_may_be_strings() {
        check(
            "(module (func (export \"f\") (param i32 f64) (result i64) (i64.const 1)))",
            Some("(p1: number, p2: number | string) => number | string"),
        );
        check("(module (func (export \"f\")))", Some("() => null"));
        check(
            "(module (func (export \"f\") (result i32 i32) (i32.const 1) (i32.const 2)))",
            Some("() => [number, number]"),
        );
    }

    #[test]
    fn imports_are_counted() {
        check(
            "(module (import \"a\" \"b\" (func)) (func (export \"f\") (param i32)))",
            Some("(p1: number) => null"),
        );
    }

    #[test]
    fn what_cannot_be_called_with_numbers_has_no_signature() {
        check("(module (func (export \"f\") (param externref)))", None);
        check("(module (memory (export \"f\") 1))", None);
        assert_eq!(signature(b"no module", "f"), None);
    }
}
