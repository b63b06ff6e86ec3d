//! Decides, once, what handed-in bytes are: strips types, finds the form and the exports, and
//! refuses what could never run, with the line and the column where it is wrong.

mod deep_stack;
mod javascript;
mod source_position;
mod webassembly;

use bytes::Bytes;
use runabout_protocol::{Digest, Form, Language};
use sha2::{Digest as _, Sha256};

pub use javascript::user_stack;

/// What can be called is kept in memory with every version, and told to everybody who asks for it.
const EXPORTS_MAX: usize = 10_000;

/// What a client says its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceLanguage {
    /// JavaScript.
    JavaScript,
    /// TypeScript.
    TypeScript,
    /// WebAssembly, a core module or a WASI command.
    Wasm,
}

/// An artifact, fit to be stored and run.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The bytes to store: plain JavaScript, or the module as it came.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: Digest,
    /// What they are.
    pub language: Language,
    /// Script or module, for JavaScript.
    pub form: Option<Form>,
    /// What can be called.
    pub exports: Vec<String>,
}

/// Why bytes were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// A stable code: `syntax_error`, `unresolved_import`, `invalid_wasm`, `unknown_import`,
    /// `unsupported_component`, `compile_too_costly`.
    pub code: &'static str,
    /// What is wrong, for a person.
    pub message: String,
    /// Line and column in the user's source, both from 1.
    pub position: Option<(u32, u32)>,
}

impl Rejection {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), position: None }
    }

    fn at(self, position: Option<(u32, u32)>) -> Self {
        Self { position, ..self }
    }
}

/// Examines handed-in bytes.
///
/// # Errors
/// They could never run; the rejection says why and where.
pub fn accept(bytes: Bytes, language: SourceLanguage) -> Result<Accepted, Rejection> {
    match language {
        SourceLanguage::Wasm => {
            let (language, exports) = webassembly::examine(&bytes)?;
            Ok(Accepted { digest: digest(&bytes), bytes, language, form: None, exports })
        }
        SourceLanguage::JavaScript => accept_source(text(&bytes)?, false),
        SourceLanguage::TypeScript => accept_source(text(&bytes)?, true),
    }
}

fn accept_source(source: &str, is_typescript: bool) -> Result<Accepted, Rejection> {
    let examined =
        deep_stack::with_stack_for(source, || javascript::examine(source, is_typescript))??;
    let bytes = Bytes::from(examined.code);
    Ok(Accepted {
        digest: digest(&bytes),
        bytes,
        language: Language::Js,
        form: Some(examined.form),
        exports: examined.exports,
    })
}

fn text(bytes: &[u8]) -> Result<&str, Rejection> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        let rejection = Rejection::new("syntax_error", "the source is not UTF-8");
        rejection.at(Some((line as u32 + 1, 1)))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn too_many_exports(count: usize) -> Rejection {
    let message = format!("it has {count} exports, {EXPORTS_MAX} at most");
    Rejection::new("compile_too_costly", message)
}

/// The exports of accepted JavaScript.
///
/// # Errors
/// The source is larger than those that are accepted.
pub fn exports_of(source: &str) -> Result<Vec<String>, Rejection> {
    deep_stack::with_stack_for(source, || javascript::exports_of(source))
}

/// The digest of an artifact's bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}
