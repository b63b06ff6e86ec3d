//! `Idempotency-Key`: a submission that is sent again, because its answer got lost, is the same
//! submission. What was sent is known again by its fingerprint.

use axum::http::HeaderMap;
use sha2::{Digest as _, Sha256};

use crate::codes::Code;
use crate::engine::SubmissionKey;
use crate::multipart::Form;
use crate::problem::Problem;

/// The header.
pub const HEADER: &str = "idempotency-key";
/// On an answer to a submission that had been made before.
pub const REPLAYED: &str = "idempotent-replayed";

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// The key that a request carries, if it does, with the fingerprint of what it submits.
///
/// # Errors
/// `invalid_idempotency_key`.
pub fn key(
    headers: &HeaderMap,
    fingerprint: impl FnOnce() -> [u8; 32],
) -> Result<Option<SubmissionKey>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = (1..=KEY_BYTES_MAX).contains(&text.len());
    if !is_visible || !fits || values.next().is_some() {
        let detail = format!("send one key of 1 to {KEY_BYTES_MAX} visible ASCII characters");
        return Err(Problem::new(Code::InvalidIdempotencyKey, detail));
    }
    Ok(Some(SubmissionKey { key: text.to_owned(), fingerprint: fingerprint() }))
}

/// Of a JSON body; `route` keeps apart what the same body means at different paths.
pub fn of_body(route: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    part(&mut hash, route.as_bytes());
    part(&mut hash, body);
    hash.finalize().into()
}

/// Of a multipart body: its parts, as a client draws a new boundary each time.
pub fn of_form(route: &str, form: &Form) -> [u8; 32] {
    let mut hash = Sha256::new();
    part(&mut hash, route.as_bytes());
    if let Some(file) = &form.file {
        part(&mut hash, file.file_name.as_deref().unwrap_or_default().as_bytes());
        part(&mut hash, file.content_type.as_deref().unwrap_or_default().as_bytes());
        part(&mut hash, &file.bytes);
    }
    for (name, text) in &form.texts {
        part(&mut hash, name.as_bytes());
        part(&mut hash, text.as_bytes());
    }
    hash.finalize().into()
}

/// With its length before it, so that no two rows of parts read the same.
fn part(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn check(values: &[&'static str]) -> Result<Option<String>, Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_static(value));
        }
        let found = key(&headers, || [0; 32]).map_err(|problem| problem.code())?;
        Ok(found.map(|it| it.key))
    }

    #[test]
    fn a_key_is_one_short_visible_text() {
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&[" abc "]), Ok(Some("abc".to_owned())));
        assert_eq!(check(&[""]), Err(Code::InvalidIdempotencyKey));
        assert_eq!(check(&["a b"]), Err(Code::InvalidIdempotencyKey));
        assert_eq!(check(&["a", "b"]), Err(Code::InvalidIdempotencyKey));
        assert_eq!(check(&["x".repeat(256).leak()]), Err(Code::InvalidIdempotencyKey));
    }

    #[test]
    fn parts_that_run_together_have_other_fingerprints() {
        assert_ne!(of_body("a", b"bc"), of_body("ab", b"c"));
        let form = |name: &str, text: &str| Form {
            file: None,
            texts: vec![(name.to_owned(), text.to_owned())],
        };
        assert_ne!(of_form("r", &form("ab", "c")), of_form("r", &form("a", "bc")));
        assert_eq!(of_form("r", &form("a", "b")), of_form("r", &form("a", "b")));
    }
}
