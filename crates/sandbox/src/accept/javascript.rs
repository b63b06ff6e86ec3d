//! JavaScript and TypeScript, read by oxc. JavaScript is stored as it came, so that its lines are
//! the user's; of TypeScript the types are stripped, and a source map at the end of the artifact
//! leads back.

use std::path::{Path, PathBuf};

use oxc::allocator::Allocator;
use oxc::codegen::{Codegen, CodegenOptions, CodegenReturn};
use oxc::diagnostics::OxcDiagnostic;
use oxc::parser::{Parser, ParserReturn};
use oxc::semantic::SemanticBuilder;
use oxc::span::SourceType;
use oxc::syntax::module_record::{ExportEntry, ExportExportName, ModuleRecord};
use oxc::transformer::{TransformOptions, Transformer};
use oxc_sourcemap::SourceMap;
use runabout_protocol::Form;

use super::source_position::position_of;
use super::{EXPORTS_MAX, Rejection, too_many_exports};

/// The name that stack traces show for the source; the engine is told the same.
const FILE_NAME: &str = "function.js";

/// What stands between stripped code and its source map.
const MAP_MARK: &str = "\n//# sourceMappingURL=data:application/json;charset=utf-8;base64,";

/// The longest source map that is read. It is read whenever a run throws, and anybody can write one.
const MAP_BYTES_MAX: usize = 2 << 20;

/// Source that can run.
pub struct Examined {
    /// Plain JavaScript.
    pub code: String,
    pub form: Form,
    pub exports: Vec<String>,
}

/// # Errors
/// A syntax error, or an import of something that is not there.
pub fn examine(source: &str, is_typescript: bool) -> Result<Examined, Rejection> {
    let code = if is_typescript { strip_types(source)? } else { source.to_owned() };
    let allocator = Allocator::default();
    let (form, record) = parse(&allocator, &code)
        .map_err(|error| if is_typescript { error.at(None) } else { error })?;
    if let Some(specifier) = record.requested_modules.keys().next() {
        let place = source.find(&format!("'{specifier}'"));
        let place = place.or_else(|| source.find(&format!("\"{specifier}\"")));
        let message = format!(
            "cannot import {specifier:?}: a function is one file, and dependencies are not supported yet"
        );
        let rejection = Rejection::new("unresolved_import", message);
        return Err(rejection.at(place.map(|offset| position_of(source, offset))));
    }
    let exports = export_names(&record);
    if exports.len() > EXPORTS_MAX {
        return Err(too_many_exports(exports.len()));
    }
    Ok(Examined { code, form, exports })
}

/// The exports of accepted JavaScript.
pub fn exports_of(code: &str) -> Vec<String> {
    let allocator = Allocator::default();
    parse(&allocator, code).map(|(_, record)| export_names(&record)).unwrap_or_default()
}

/// Reads code as what it is: a module if it has imports or exports, else a script, which may have
/// a top-level `await`.
fn parse<'a>(
    allocator: &'a Allocator,
    code: &'a str,
) -> Result<(Form, ModuleRecord<'a>), Rejection> {
    let module = Parser::new(allocator, code, SourceType::mjs()).parse();
    if module.module_record.has_module_syntax {
        check(code, &module)?;
        return Ok((Form::Module, module.module_record));
    }
    let script = Parser::new(allocator, code, SourceType::script()).parse();
    match check(code, &script) {
        Ok(()) => Ok((Form::Script, script.module_record)),
        // Only a top-level await makes a module of what is no script.
        Err(_) if check(code, &module).is_ok() => Ok((Form::Script, module.module_record)),
        Err(error) => Err(error),
    }
}

fn check(code: &str, parsed: &ParserReturn<'_>) -> Result<(), Rejection> {
    if let Some(error) = parsed.diagnostics.first() {
        return Err(syntax_error(code, error));
    }
    let semantic = SemanticBuilder::new().with_check_syntax_error(true).build(&parsed.program);
    match semantic.diagnostics.first() {
        Some(error) => Err(syntax_error(code, error)),
        None => Ok(()),
    }
}

fn syntax_error(source: &str, error: &OxcDiagnostic) -> Rejection {
    let position = error.labels.first().map(|label| position_of(source, label.offset() as usize));
    let message = match &error.help {
        Some(help) => format!("{}: {help}", error.message),
        None => error.message.to_string(),
    };
    Rejection::new("syntax_error", message).at(position)
}

fn export_names(record: &ModuleRecord<'_>) -> Vec<String> {
    let entries = record.local_export_entries.iter().chain(&record.indirect_export_entries);
    let mut names: Vec<String> = entries.filter_map(export_name).collect();
    names.dedup();
    names
}

fn export_name(entry: &ExportEntry<'_>) -> Option<String> {
    match &entry.export_name {
        _ if entry.is_type => None,
        ExportExportName::Name(name) => Some(name.name.to_string()),
        ExportExportName::Default(_) => Some("default".to_owned()),
        ExportExportName::Null => None,
    }
}

fn strip_types(source: &str) -> Result<String, Rejection> {
    let allocator = Allocator::default();
    let mut parsed = Parser::new(&allocator, source, SourceType::ts()).parse();
    if let Some(error) = parsed.diagnostics.first() {
        return Err(syntax_error(source, error));
    }
    let semantic = SemanticBuilder::new()
        .with_check_syntax_error(true)
        .with_enum_eval(true)
        .build(&parsed.program);
    if let Some(error) = semantic.diagnostics.first() {
        return Err(syntax_error(source, error));
    }
    let scoping = semantic.semantic.into_scoping();
    let options = TransformOptions::default();
    let transformed = Transformer::new(&allocator, Path::new("function.ts"), &options)
        .build_with_scoping(scoping, &mut parsed.program);
    if let Some(error) = transformed.diagnostics.first() {
        return Err(syntax_error(source, error));
    }
    let options = CodegenOptions {
        source_map_path: Some(PathBuf::from("function.ts")),
        // Indenting what nests deep would take the square of its length.
        indent_width: 0,
        ..Default::default()
    };
    let CodegenReturn { code, map, .. } =
        Codegen::new().with_options(options).build(&parsed.program);
    Ok(with_map(code, map))
}

fn with_map(code: String, map: Option<SourceMap<'_>>) -> String {
    let Some(map) = map else { return code };
    let mut json = map.to_json();
    // The way back needs the positions, not the text.
    json.sources_content = None;
    match SourceMap::from_json(json) {
        Ok(map) => format!("{}\n//# sourceMappingURL={}", code.trim_end(), map.to_data_url()),
        Err(_) => code,
    }
}

/// Leads a stack trace of stripped code back to the user's lines. Code without a source map is
/// the user's own, and its stack is left as it is.
pub fn user_stack(code: &[u8], stack: &str) -> String {
    let Some(map) = source_map(code) else { return stack.to_owned() };
    let table = map.generate_lookup_table();
    let lines: Vec<String> = stack
        .lines()
        .map(|line| {
            let moved = moved_line(line, |row, column| {
                let token =
                    map.lookup_token(&table, row.checked_sub(1)?, column.checked_sub(1)?)?;
                Some((token.get_src_line() + 1, token.get_src_col() + 1))
            });
            moved.unwrap_or_else(|| line.to_owned())
        })
        .collect();
    lines.join("\n")
}

fn source_map(code: &[u8]) -> Option<SourceMap<'static>> {
    use base64::Engine as _;
    let code = std::str::from_utf8(code).ok()?;
    let (_, encoded) = code.rsplit_once(MAP_MARK)?;
    if encoded.len() > MAP_BYTES_MAX {
        return None;
    }
    let json = base64::prelude::BASE64_STANDARD.decode(encoded.trim_end()).ok()?;
    let json: oxc_sourcemap::JSONSourceMap = serde_json::from_slice(&json).ok()?;
    SourceMap::from_json(json).ok()
}

/// Rewrites the `function.js:ROW:COLUMN` of a stack's line.
fn moved_line(line: &str, lookup: impl Fn(u32, u32) -> Option<(u32, u32)>) -> Option<String> {
    let start = line.find(FILE_NAME)?;
    let rest = &line[start + FILE_NAME.len()..];
    let numbers: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ':').collect();
    let mut parts = numbers.strip_prefix(':')?.split(':');
    let row = parts.next()?.parse().ok()?;
    let column = parts.next().unwrap_or("1").parse().ok()?;
    let (row, column) = lookup(row, column)?;
    let after = &rest[numbers.len()..];
    Some(format!("{}function.ts:{row}:{column}{after}", &line[..start]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(source: &str) -> Form {
        examine(source, false).map(|examined| examined.form).expect("runs")
    }

    #[test]
    fn only_import_and_export_make_a_module() {
        assert_eq!(form_of("const x = 1; x + 1"), Form::Script);
        assert_eq!(form_of("await 1"), Form::Script);
        assert_eq!(form_of("with ({a: 1}) { a }"), Form::Script);
        assert_eq!(form_of("export default 1"), Form::Module);
        assert_eq!(form_of("export const a = 1"), Form::Module);
    }

    #[test]
    fn exports_are_found() {
        let source = "export default function f() {}; export const a = 1, b = 2; const c = 3; export { c as d };";
        let exports = examine(source, false).expect("runs").exports;
        assert_eq!(exports, ["default", "a", "b", "d"]);
    }

    #[test]
    fn a_syntax_error_has_a_place() {
        let error = examine("const ok = 1;\nconst = 2;", false).map(|_| ()).expect_err("is wrong");
        assert_eq!((error.code, error.position.map(|(line, _)| line)), ("syntax_error", Some(2)));
        let error = examine("let a;\nlet a;", false).map(|_| ()).expect_err("declared twice");
        assert_eq!(error.code, "syntax_error");
        let error = examine("const a: number = ;", true).map(|_| ()).expect_err("is wrong");
        assert_eq!((error.code, error.position.map(|(line, _)| line)), ("syntax_error", Some(1)));
    }

    #[test]
    fn an_import_is_refused_where_it_stands() {
        let error = examine("\nimport x from 'left-pad';\nexport default x", false);
        let error = error.map(|_| ()).expect_err("not there");
        assert_eq!(
            (error.code, error.position.map(|(line, _)| line)),
            ("unresolved_import", Some(2))
        );
    }

    #[test]
    fn types_are_stripped_and_type_imports_with_them() {
        let source = "import type { A } from './a';\ninterface B { c: A }\nenum D { E = 2 }\nexport default (x: number): number => x + D.E;";
        let examined = examine(source, true).expect("runs");
        assert_eq!(examined.form, Form::Module);
        assert!(!examined.code.contains("number"), "{}", examined.code);
    }

    #[test]
    fn a_stack_leads_back_to_the_lines_of_typescript() {
        let source = "interface A {\n  b: number;\n}\n\n\nexport default function f(a: A) {\n  throw new Error('x');\n}\n";
        let code = examine(source, true).expect("runs").code;
        let row = code.lines().position(|line| line.contains("throw")).expect("is there") + 1;
        let column =
            code.lines().nth(row - 1).and_then(|line| line.find("new")).expect("is there") + 1;
        let stack = user_stack(code.as_bytes(), &format!("    at f (function.js:{row}:{column})"));
        assert!(stack.contains("function.ts:7:"), "{stack}");
    }
}
