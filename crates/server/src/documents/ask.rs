//! What a request says beside its body: who edits and why, what the document must be for it, what the
//! bytes are.

use axum::http::{HeaderMap, header};
use runabout_documents::{Attribution, By, Condition, Key, MediaType};
use sha2::{Digest as _, Sha256};

use crate::codes::Code;
use crate::idempotency;
use crate::problem::Problem;
use crate::source;

/// Who edits.
const AUTHOR: &str = "runabout-author";
/// Why.
const SUMMARY: &str = "runabout-summary";
/// Who edits where nobody says.
const NOBODY: &str = "anonymous";
/// The most of each, in bytes.
const AUTHOR_BYTES_MAX: usize = 256;
const SUMMARY_BYTES_MAX: usize = 1_024;
/// The most revisions that a condition may name.
const TAGS_MAX: usize = 64;

/// Who does something, why, and what makes it the same if it is sent again. `what` and `body` are
/// what is sent.
///
/// # Errors
/// `invalid_field` or `invalid_idempotency_key`.
pub fn by(headers: &HeaderMap, what: &str, body: &[u8]) -> Result<By, Problem> {
    let author = words(headers, AUTHOR, AUTHOR_BYTES_MAX)?.unwrap_or_else(|| NOBODY.to_owned());
    let summary = words(headers, SUMMARY, SUMMARY_BYTES_MAX)?.unwrap_or_default();
    let key = idempotency::key(headers, || {
        let mut hash = Sha256::new();
        hash.update((what.len() as u64).to_le_bytes());
        hash.update(what);
        hash.update(body);
        hash.finalize().into()
    })?;
    let key = key.map(|key| Key { key: key.key, fingerprint: key.fingerprint });
    // Only a name that a token vouches for is more than somebody's word.
    Ok(By { attribution: Attribution { author, verified: false, summary }, key })
}

/// A header of any words. Browsers send only what is Latin-1, so that UTF-8 may be percent-encoded.
fn words(headers: &HeaderMap, name: &str, bytes_max: usize) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let invalid = |why: &str| Problem::invalid_field(name, format!("{name} {why}"));
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| invalid("is not UTF-8"))?;
    let text = decoded(text).unwrap_or_else(|| text.to_owned());
    let text = text.trim();
    if text.len() > bytes_max {
        return Err(invalid(&format!("has more than {bytes_max} bytes")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid("has control characters"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// The text without percent-encoding, if all of it is well encoded.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

/// What the document must be; `None` where nothing is said.
///
/// # Errors
/// `invalid_field`.
pub fn condition(headers: &HeaderMap) -> Result<Option<Condition>, Problem> {
    let invalid = |field: &str, why: &str| Err(Problem::invalid_field(field, why));
    match (headers.get(header::IF_MATCH), headers.get(header::IF_NONE_MATCH)) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            let detail = "If-Match and If-None-Match exclude each other here";
            Err(Problem::new(Code::ConflictingFields, detail))
        }
        (None, Some(value)) if value.as_bytes().trim_ascii() == b"*" => Ok(Some(Condition::Absent)),
        (None, Some(_)) => invalid("if-none-match", "If-None-Match is * here: only if it is new"),
        (Some(value), None) if value.as_bytes().trim_ascii() == b"*" => {
            Ok(Some(Condition::Present))
        }
        (Some(value), None) => {
            let tags = value.to_str().unwrap_or_default();
            // A weak tag says that texts are much the same, which is not enough here.
            let revisions: Vec<u64> = tags.split(',').take(TAGS_MAX).filter_map(revision).collect();
            Ok(Some(Condition::At(revisions)))
        }
    }
}

/// The revision that a strong entity tag names, in whatever form: `"7"`, `"7-gzip"`.
pub fn revision(tag: &str) -> Option<u64> {
    let tag = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    tag.strip_suffix("-gzip").or(tag.strip_suffix("-zstd")).unwrap_or(tag).parse().ok()
}

/// The media type that a request says its body has, if it says one that means something: `curl -d`
/// and `fetch` say one where nobody did. `known` is what the document is already.
///
/// # Errors
/// `unsupported_media_type`.
pub fn media_type(
    headers: &HeaderMap,
    known: Option<MediaType>,
) -> Result<Option<MediaType>, Problem> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|it| it != "identity") {
        return Err(source::unsupported(
            "send the text as it is, without Content-Encoding".to_owned(),
        ));
    }
    let Some(essence) = source::essence(headers) else { return Ok(None) };
    if !is_utf8(headers) {
        return Err(source::unsupported("send UTF-8, and no other charset".to_owned()));
    }
    let is_said_of_everything = match essence.as_str() {
        "application/x-www-form-urlencoded" => true,
        "text/plain" | "application/octet-stream" => known.is_some(),
        _ => false,
    };
    if is_said_of_everything {
        return Ok(None);
    }
    let found = MediaType::parse(&essence).ok_or_else(|| {
        let all: Vec<_> = MediaType::all().collect();
        source::unsupported(format!("a document is one of {}, not {essence}", all.join(", ")))
    })?;
    match known {
        Some(known) if known != found => Err(source::unsupported(format!(
            "the document is {}, and stays that: delete it to make another of its name",
            known.essence()
        ))),
        _ => Ok(Some(found)),
    }
}

fn is_utf8(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let charset = value.and_then(|value| {
        value.split(';').skip(1).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
        })
    });
    charset.is_none_or(|charset| {
        ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &[u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value"))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn an_author_is_any_words() {
        let author = |value: &[u8]| {
            let by = by(&headers(&[(AUTHOR, value)]), "", b"");
            by.map(|by| by.attribution.author).map_err(|problem| problem.code())
        };
        assert_eq!(author(b" Alice Liddell "), Ok("Alice Liddell".to_owned()));
        assert_eq!(author("Zoë".as_bytes()), Ok("Zoë".to_owned()));
        assert_eq!(author(b"Zo%C3%AB"), Ok("Zoë".to_owned()));
        assert_eq!(author(b"100% sure"), Ok("100% sure".to_owned()));
        assert_eq!(author(b"100%"), Ok("100%".to_owned()));
        assert_eq!(author(b""), Ok(NOBODY.to_owned()));
        assert_eq!(author(b"Zo\xeb"), Err(Code::InvalidField));
        assert_eq!(author(b"a%0Ab"), Err(Code::InvalidField));
        assert_eq!(author(&[b'x'; 257]), Err(Code::InvalidField));
    }

    #[test]
    fn conditions_name_revisions_in_any_form() {
        let check = |name: &'static str, value: &str| {
            condition(&headers(&[(name, value.as_bytes())])).map_err(|problem| problem.code())
        };
        let at = |revisions: &[u64]| Ok(Some(Condition::At(revisions.to_vec())));
        assert_eq!(check("if-match", "\"7\""), at(&[7]));
        assert_eq!(check("if-match", "\"7-gzip\", \"8-zstd\""), at(&[7, 8]));
        assert_eq!(check("if-match", "W/\"7\", 7, \"x\""), at(&[]));
        assert_eq!(check("if-match", "*"), Ok(Some(Condition::Present)));
        assert_eq!(check("if-none-match", "*"), Ok(Some(Condition::Absent)));
        assert_eq!(check("if-none-match", "\"7\""), Err(Code::InvalidField));
        assert_eq!(check("accept", "*"), Ok(None));
    }

    #[test]
    fn what_clients_say_of_everything_means_nothing() {
        let check = |value: &str, known| {
            let found = media_type(&headers(&[("content-type", value.as_bytes())]), known);
            found.map(|it| it.map(MediaType::essence)).map_err(|problem| problem.code())
        };
        let html = Some(MediaType::HTML);
        assert_eq!(check("text/html; charset=UTF-8", None), Ok(Some("text/html")));
        assert_eq!(check("text/plain;charset=UTF-8", html), Ok(None));
        assert_eq!(check("text/plain", None), Ok(Some("text/plain")));
        assert_eq!(check("application/x-www-form-urlencoded", None), Ok(None));
        assert_eq!(check("application/json", html), Err(Code::UnsupportedMediaType));
        assert_eq!(check("text/html; charset=latin1", html), Err(Code::UnsupportedMediaType));
        assert_eq!(check("multipart/form-data; boundary=x", None), Err(Code::UnsupportedMediaType));
    }
}
