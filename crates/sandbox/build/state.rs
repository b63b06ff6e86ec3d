//! Sees to it that an instance of QuickJS can be put back to the snapshot by its memory and its stack
//! pointer alone.

use wasmparser::{Operator, Parser, Payload, TypeRef};
use wasmtime::{Result, bail};

use crate::operators::changes_more;
use crate::quickjs::STACK_POINTER_AT_REST;

/// # Errors
/// A run could change more of an instance than one memory and one global.
pub fn check(module: &[u8]) -> Result<()> {
    let (mut memories, mut mutable_globals) = (0, 0);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    if !matches!(import.ty, TypeRef::Func(_)) {
                        bail!("quickjs.wasm imports {}, which others may change", import.name);
                    }
                }
            }
            Payload::MemorySection(section) => memories += section.count(),
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    mutable_globals += u32::from(global.ty.mutable);
                    let begins = global.init_expr.get_operators_reader().read()?;
                    if global.ty.mutable
                        && !matches!(begins, Operator::I32Const { value } if value == STACK_POINTER_AT_REST)
                    {
                        bail!("quickjs.wasm begins with its stack elsewhere: {begins:?}");
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    let operator = operator?;
                    if changes_more(&operator) {
                        bail!("quickjs.wasm changes a table or a segment: {operator:?}");
                    }
                }
            }
            _ => {}
        }
    }
    if (memories, mutable_globals) != (1, 1) {
        bail!("quickjs.wasm has {memories} memories and {mutable_globals} globals that change");
    }
    Ok(())
}
