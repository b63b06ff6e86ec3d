//! What tests of runs have in common.

use std::sync::Arc;

use bytes::Bytes;
use runabout_sandbox::{Program, Sandbox, SourceLanguage, accept};

/// A program from source or WAT.
pub async fn program(sandbox: &Sandbox, source: &str, language: SourceLanguage) -> Arc<Program> {
    let bytes = match language {
        SourceLanguage::Wasm => Bytes::from(wat::parse_str(source).expect("is WAT")),
        _ => Bytes::copy_from_slice(source.as_bytes()),
    };
    let accepted = accept(bytes, language).expect("is accepted");
    sandbox
        .prepare(accepted.digest, accepted.language, accepted.form, accepted.bytes)
        .await
        .expect("compiles")
}
