//! Decides what handed-in code is, and has the sandbox examine it away from the threads that
//! answer requests.

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use runabout_protocol::{Digest, Form, Language};
use runabout_sandbox::{Accepted, SourceLanguage, accept};
use runabout_store::{ArtifactMeta, NewArtifact};
use tokio::sync::Semaphore;

use crate::body::{ARTIFACT_BYTES_MAX, too_large};
use crate::codes::Code;
use crate::multipart::FilePart;
use crate::problem::Problem;

/// Code up to this size is examined where it stands; it takes less than a hop to another thread.
const EXAMINED_IN_PLACE_BYTES_MAX: usize = 16 << 10;
/// How many larger ones are examined at once; more wait for their turn.
const EXAMINED_AT_ONCE_MAX: usize = 2;

const TAKEN: &str = "JavaScript (.js, .mjs, text/javascript), TypeScript (.ts, .mts, \
                     text/typescript) and WebAssembly (.wasm, application/wasm)";

/// What the sandbox needs to know of an artifact to run it.
#[derive(Clone, Copy, Debug)]
pub struct Artifact {
    /// Its digest.
    pub digest: Digest,
    /// What it is written in.
    pub language: Language,
    /// Script or module, for JavaScript.
    pub form: Option<Form>,
}

impl Artifact {
    /// What was accepted.
    pub fn of(accepted: &Accepted) -> Self {
        Self { digest: accepted.digest, language: accepted.language, form: accepted.form }
    }
}

/// Examines code.
pub struct Examiner {
    turns: Semaphore,
}

impl Default for Examiner {
    fn default() -> Self {
        Self { turns: Semaphore::new(EXAMINED_AT_ONCE_MAX) }
    }
}

impl Examiner {
    /// Decides whether the bytes could run.
    ///
    /// # Errors
    /// The rejection's own code, or `body_too_large`.
    pub async fn accept(
        &self,
        bytes: Bytes,
        language: SourceLanguage,
    ) -> Result<Accepted, Problem> {
        if bytes.len() > ARTIFACT_BYTES_MAX {
            return Err(too_large(ARTIFACT_BYTES_MAX));
        }
        if bytes.len() <= EXAMINED_IN_PLACE_BYTES_MAX {
            return accept(bytes, language).map_err(|rejection| Problem::rejected(&rejection));
        }
        let _turn = self.turns.acquire().await.map_err(Problem::internal)?;
        tokio::task::spawn_blocking(move || accept(bytes, language))
            .await
            .map_err(Problem::internal)?
            .map_err(|rejection| Problem::rejected(&rejection))
    }
}

/// What there is to keep beside the bytes.
pub fn meta(accepted: &Accepted) -> ArtifactMeta {
    ArtifactMeta {
        language: accepted.language,
        form: accepted.form,
        exports: accepted.exports.clone(),
    }
}

/// The artifact as the store takes it.
pub fn artifact(accepted: &Accepted) -> NewArtifact {
    NewArtifact { digest: accepted.digest, meta: meta(accepted), bytes: accepted.bytes.clone() }
}

/// What a file is: by its name, else by its type, else by its first bytes.
///
/// # Errors
/// `unsupported_media_type`.
pub fn of_file(file: &FilePart) -> Result<SourceLanguage, Problem> {
    refuse_archives(&file.bytes)?;
    let name = file.file_name.as_deref().unwrap_or_default().to_ascii_lowercase();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    match extension {
        Some("js" | "mjs" | "cjs") => Ok(SourceLanguage::JavaScript),
        Some("ts" | "mts" | "cts") => Ok(SourceLanguage::TypeScript),
        Some("wasm") => Ok(SourceLanguage::Wasm),
        Some("zip" | "gz" | "tgz" | "tar") => Err(archive()),
        _ => of_type(file.content_type.as_deref(), &file.bytes),
    }
}

/// What a body is, by its `Content-Type`.
///
/// # Errors
/// `unsupported_media_type`.
pub fn of_body(headers: &HeaderMap, bytes: &[u8]) -> Result<SourceLanguage, Problem> {
    refuse_archives(bytes)?;
    of_type(essence(headers).as_deref(), bytes)
}

/// What an artifact is. It is plain JavaScript where it is no module: what else there is becomes that
/// before it has its digest.
///
/// # Errors
/// `unsupported_media_type`.
pub fn of_artifact(headers: &HeaderMap, bytes: &[u8]) -> Result<SourceLanguage, Problem> {
    match essence(headers).as_deref() {
        None | Some("application/octet-stream" | "application/x-www-form-urlencoded")
            if !bytes.starts_with(b"\0asm") =>
        {
            refuse_archives(bytes)?;
            Ok(SourceLanguage::JavaScript)
        }
        _ => of_body(headers, bytes),
    }
}

/// The type in a `Content-Type` header, without its parameters.
pub fn essence(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The type an artifact is served as.
pub fn media_type(language: Language) -> &'static str {
    match language {
        Language::Js => "text/javascript; charset=utf-8",
        Language::Wasm | Language::Wasi => "application/wasm",
    }
}

fn of_type(media_type: Option<&str>, bytes: &[u8]) -> Result<SourceLanguage, Problem> {
    match media_type {
        Some("text/javascript" | "application/javascript" | "application/x-javascript") => {
            Ok(SourceLanguage::JavaScript)
        }
        Some("text/typescript" | "application/typescript" | "application/x-typescript") => {
            Ok(SourceLanguage::TypeScript)
        }
        Some("application/wasm") => Ok(SourceLanguage::Wasm),
        // What clients say when they do not know, `curl --data-binary` among them.
        None | Some("application/octet-stream" | "application/x-www-form-urlencoded")
            if bytes.starts_with(b"\0asm") =>
        {
            Ok(SourceLanguage::Wasm)
        }
        other => {
            let found = other.unwrap_or("no content type");
            Err(unsupported(format!("{found} is not taken here; taken are {TAKEN}")))
        }
    }
}

fn refuse_archives(bytes: &[u8]) -> Result<(), Problem> {
    let magic: [&[u8]; 2] = [b"PK\x03\x04", b"\x1f\x8b"];
    if magic.iter().any(|magic| bytes.starts_with(magic)) { Err(archive()) } else { Ok(()) }
}

fn archive() -> Problem {
    unsupported(format!("archives are not taken yet; taken are {TAKEN}"))
}

/// A `415` that says what would be taken.
pub fn unsupported(detail: String) -> Problem {
    Problem::new(Code::UnsupportedMediaType, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        name: &str,
        media_type: Option<&str>,
        bytes: &'static [u8],
        is: Option<SourceLanguage>,
    ) {
        let file = FilePart {
            file_name: (!name.is_empty()).then(|| name.to_owned()),
            content_type: media_type.map(str::to_owned),
            bytes: Bytes::from_static(bytes),
        };
        assert_eq!(of_file(&file).ok(), is, "{name} {media_type:?}");
    }

    #[test]
    fn files_are_known_by_name_then_type_then_bytes() {
        use SourceLanguage::*;
        check("task.js", Some("application/octet-stream"), b"1", Some(JavaScript));
        check("a.b.mjs", None, b"1", Some(JavaScript));
        check("Task.TS", Some("video/mp2t"), b"1", Some(TypeScript));
        check("fib.wasm", None, b"\0asm", Some(Wasm));
        check("fib", Some("application/wasm"), b"\0asm", Some(Wasm));
        check("fib", Some("application/octet-stream"), b"\0asm", Some(Wasm));
        check("", Some("text/typescript"), b"1", Some(TypeScript));
        check("task.py", Some("text/x-python"), b"1", None);
        check("", Some("application/octet-stream"), b"1", None);
        check("project.zip", None, b"PK\x03\x04", None);
        check("project.js", None, b"PK\x03\x04", None);
        check("project.tar.gz", None, b"\x1f\x8b", None);
    }
}
