//! Leaves out what QuickJS exports and the sandbox never calls: every export takes room in every
//! instance, and making and clearing that is a part of what a run costs.

use wasmtime::Result;

use crate::driver::{EXPORTS, HEADER_BYTES, Reader, append, number, sections};

macro_rules! exports {
    ($($name:ident $(= $other:literal)?),* $(,)?) => {
        const API: &[&str] =
            &["memory", "__stack_pointer", $([$($other,)? stringify!($name)][0]),*];
    };
}

include!("../src/quickjs/api.rs");

/// The module with only those exports that the sandbox calls.
///
/// # Errors
/// It is no module.
pub fn keep_api(module: &[u8]) -> Result<Vec<u8>> {
    let mut kept = module[..HEADER_BYTES].to_vec();
    for section in sections(module)? {
        match section.id {
            EXPORTS => append(&mut kept, section.id, &api_of(section.payload)?),
            _ => append(&mut kept, section.id, section.payload),
        }
    }
    Ok(kept)
}

fn api_of(payload: &[u8]) -> Result<Vec<u8>> {
    let mut reader = Reader(payload);
    let (mut count, mut entries) = (0, Vec::new());
    for _ in 0..reader.number()? {
        let before = reader.0;
        let name = reader.name()?;
        // Its kind and its index.
        reader.byte()?;
        reader.number()?;
        if API.iter().any(|known| known.as_bytes() == name) {
            count += 1;
            entries.extend_from_slice(&before[..before.len() - reader.0.len()]);
        }
    }
    Ok([number(count), entries].concat())
}
