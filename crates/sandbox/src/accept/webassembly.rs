//! WebAssembly, read by wasmparser: what it is, what it exports, and whether everything it
//! imports is here.

use runabout_protocol::Language;
use wasmparser::{Encoding, ExternalKind, Parser, Payload, TypeRef, ValidPayload, Validator};

use super::{EXPORTS_MAX, Rejection, too_many_exports};
use crate::imports::{MODULE, NAMES};

/// The export that makes a module a command.
const COMMAND_EXPORT: &str = "_start";

/// Bounds on what is compiled: within them, compiling takes seconds and not minutes.
const FUNCTIONS_MAX: u32 = 100_000;
const FUNCTION_BYTES_MAX: usize = 512 << 10;
const CODE_BYTES_MAX: usize = 16 << 20;

/// What the module is, and what can be called.
///
/// # Errors
/// It is no core module, it imports what is not here, or compiling it would cost too much.
pub fn examine(bytes: &[u8]) -> Result<(Language, Vec<String>), Rejection> {
    if !bytes.starts_with(b"\0asm") {
        let message = "not a WebAssembly module: it does not begin with the bytes 00 61 73 6d";
        return Err(Rejection::new("invalid_wasm", message));
    }
    let mut exports = Vec::new();
    let mut validator = Validator::new();
    let mut code_bytes = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        match &payload {
            Payload::Version { encoding: Encoding::Component, .. } => return Err(component()),
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let import = import.map_err(invalid)?;
                    check_import(import.module, import.name, import.ty)?;
                }
            }
            Payload::ExportSection(section) if section.count() as usize > EXPORTS_MAX => {
                return Err(too_many_exports(section.count() as usize));
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export.map_err(invalid)?;
                    if export.kind == ExternalKind::Func {
                        exports.push(export.name.to_owned());
                    }
                }
            }
            Payload::CodeSectionStart { count, .. } if *count > FUNCTIONS_MAX => {
                return Err(too_costly(format!(
                    "it has {count} functions, {FUNCTIONS_MAX} at most"
                )));
            }
            Payload::CodeSectionEntry(body) => {
                let size = body.range().len();
                code_bytes += size;
                if size > FUNCTION_BYTES_MAX {
                    return Err(too_costly(format!(
                        "a function of it has {size} bytes, 512 KiB at most"
                    )));
                }
                if code_bytes > CODE_BYTES_MAX {
                    return Err(too_costly("it has more than 16 MiB of code".to_owned()));
                }
            }
            _ => {}
        }
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(invalid)? {
            function.into_validator(Default::default()).validate(&body).map_err(invalid)?;
        }
    }
    let is_command = exports.iter().any(|name| name == COMMAND_EXPORT);
    Ok(match is_command {
        true => (Language::Wasi, vec![COMMAND_EXPORT.to_owned()]),
        false => (Language::Wasm, exports),
    })
}

fn check_import(module: &str, name: &str, ty: TypeRef) -> Result<(), Rejection> {
    let is_known = match module {
        MODULE => NAMES.contains(&name),
        // Which of its functions there are is for the linker to say.
        "wasi_snapshot_preview1" => true,
        _ => false,
    };
    if is_known && matches!(ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
        return Ok(());
    }
    let message = format!(
        "unknown import {module:?} {name:?}: a module may import WASI preview 1 and, from \"runabout\", {}",
        NAMES.join(", ")
    );
    Err(Rejection::new("unknown_import", message))
}

fn component() -> Rejection {
    let message = "this is a WebAssembly component; core modules and WASI commands can run so far";
    Rejection::new("unsupported_component", message)
}

fn invalid(error: wasmparser::BinaryReaderError) -> Rejection {
    let reason = error.message().lines().next().unwrap_or_default();
    let message = format!("not a valid WebAssembly module: {reason} (at byte {})", error.offset());
    Rejection::new("invalid_wasm", message)
}

fn too_costly(what: String) -> Rejection {
    Rejection::new(
        "compile_too_costly",
        format!("the module would cost too much to compile: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wat: &str, expected: Result<(Language, &[&str]), &str>) {
        let bytes = wat::parse_str(wat).expect("is WAT");
        let found = examine(&bytes).map_err(|error| error.code);
        let expected = expected.map(|(language, exports)| {
            (language, exports.iter().map(|name| (*name).to_owned()).collect())
        });
        assert_eq!(found, expected, "{wat}");
    }

    #[test]
    fn modules_are_told_apart() {
        check(r#"(module (func (export "f")))"#, Ok((Language::Wasm, &["f"])));
        check(r#"(module (func (export "_start")))"#, Ok((Language::Wasi, &["_start"])));
        check("(component)", Err("unsupported_component"));
    }

    #[test]
    fn imports_that_are_not_here_are_refused() {
        let ours = r#"(module (import "runabout" "log" (func (param i32 i32 i32))))"#;
        check(ours, Ok((Language::Wasm, &[])));
        check(r#"(module (import "env" "f" (func)))"#, Err("unknown_import"));
        check(r#"(module (import "runabout" "launch" (func)))"#, Err("unknown_import"));
        check(r#"(module (import "runabout" "log" (memory 1)))"#, Err("unknown_import"));
    }

    #[test]
    fn what_is_no_module_is_refused() {
        let codes = [&b"hello"[..], b"", b"\0asm\x01\0\0\0\x01"]
            .map(|bytes| examine(bytes).map_err(|error| error.code));
        assert_eq!(codes, [Err("invalid_wasm"), Err("invalid_wasm"), Err("invalid_wasm")]);
    }
}
