//! Answers with a document's text: in the form that the client prefers, or a range of it, or the word
//! that nothing has changed. Everything that depends on the revision alone was made with it.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use runabout_documents::{Current, Form, MediaType};

use super::ask::revision;
use crate::codes::Code;
use crate::problem::Problem;

/// The revision that is answered with.
pub const REVISION: HeaderName = HeaderName::from_static("runabout-revision");

/// Documents are what their authors make them: in a browser they are shown, and can do nothing.
pub const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox");
/// Kept by whoever likes, and asked for each time.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// The newest text.
///
/// # Errors
/// `range_not_satisfiable`.
pub fn newest(headers: &HeaderMap, current: &Arc<Current>) -> Result<Response, Problem> {
    let number = current.revision.revision;
    if knows(headers, number) {
        let tag = headers.get(header::IF_NONE_MATCH).filter(|it| it.as_bytes().len() < 64);
        let tag = tag.filter(|it| it.to_str().ok().and_then(revision) == Some(number)).cloned();
        return Ok(not_modified(tag.unwrap_or_else(|| tag_of(&current.plain)), number));
    }
    if let Some(range) = headers.get(header::RANGE) {
        return part(headers, range, &current.plain, current.media_type, number);
    }
    let (form, encoding) = preferred(headers, current);
    let mut response = whole(form, current.media_type, number);
    if let Some(encoding) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, encoding);
    }
    Ok(response)
}

/// The text of some revision.
///
/// # Errors
/// `range_not_satisfiable`.
pub fn older(
    headers: &HeaderMap,
    (number, media_type, bytes): (u64, MediaType, Bytes),
) -> Result<Response, Problem> {
    let form = Form { bytes, etag: format!("\"{number}\"").into() };
    if knows(headers, number) {
        return Ok(not_modified(tag_of(&form), number));
    }
    match headers.get(header::RANGE) {
        Some(range) => part(headers, range, &form, media_type, number),
        None => Ok(whole(&form, media_type, number)),
    }
}

fn knows(headers: &HeaderMap, number: u64) -> bool {
    let Some(tags) = headers.get(header::IF_NONE_MATCH) else { return false };
    let tags = tags.to_str().unwrap_or_default();
    tags.trim() == "*"
        || tags.split(',').any(|tag| {
            let tag = tag.trim();
            revision(tag.strip_prefix("W/").unwrap_or(tag)) == Some(number)
        })
}

fn tag_of(form: &Form) -> HeaderValue {
    HeaderValue::from_maybe_shared(form.etag.clone()).expect("a number in quotes")
}

fn not_modified(tag: HeaderValue, number: u64) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(REVISION, number.into());
    response
}

fn whole(form: &Form, media_type: MediaType, number: u64) -> Response {
    let mut response = Response::new(Body::from(form.bytes.clone()));
    let headers = response.headers_mut();
    headers.reserve(12);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type.content_type()));
    headers.insert(header::CONTENT_LENGTH, form.bytes.len().into());
    headers.insert(header::ETAG, tag_of(form));
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(REVISION, number.into());
    response
}

/// The form that a client prefers, and its name.
fn preferred<'c>(headers: &HeaderMap, current: &'c Current) -> (&'c Form, Option<HeaderValue>) {
    let mut accepts = headers.get_all(header::ACCEPT_ENCODING).iter().peekable();
    if accepts.peek().is_none() {
        return (&current.plain, None);
    }
    let mut quality = Accepted::default();
    for value in accepts {
        quality.read(value.to_str().unwrap_or_default());
    }
    let [zstd, gzip] = [quality.zstd, quality.gzip].map(|it| it.or(quality.any).unwrap_or(0.0));
    let zstd_form = current.zstd().filter(|_| zstd > 0.0);
    let gzip_form = current.gzip().filter(|_| gzip > 0.0 && (zstd_form.is_none() || gzip > zstd));
    match (gzip_form, zstd_form) {
        (Some(form), _) => (form, Some(HeaderValue::from_static("gzip"))),
        (None, Some(form)) => (form, Some(HeaderValue::from_static("zstd"))),
        (None, None) => (&current.plain, None),
    }
}

/// How much a client likes each form; 0 is not at all.
#[derive(Default)]
struct Accepted {
    zstd: Option<f32>,
    gzip: Option<f32>,
    any: Option<f32>,
}

impl Accepted {
    fn read(&mut self, text: &str) {
        for item in text.split(',') {
            let (name, quality) = match item.split_once(';') {
                None => (item, 1.0),
                Some((name, quality)) => {
                    let quality = quality.trim().strip_prefix("q=").map(str::trim);
                    (name, quality.and_then(|it| it.parse().ok()).unwrap_or(1.0))
                }
            };
            let name = name.trim();
            let slot = if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                &mut self.gzip
            } else if name.eq_ignore_ascii_case("zstd") {
                &mut self.zstd
            } else if name == "*" {
                &mut self.any
            } else {
                continue;
            };
            *slot = Some(quality);
        }
    }
}

fn part(
    headers: &HeaderMap,
    range: &HeaderValue,
    form: &Form,
    media_type: MediaType,
    number: u64,
) -> Result<Response, Problem> {
    let mut response = whole(form, media_type, number);
    let is_other = headers.get(header::IF_RANGE).is_some_and(|it| it.as_bytes() != form.etag);
    let size = form.bytes.len();
    let wanted = range.to_str().ok().and_then(|range| byte_range(range, size));
    let Some(wanted) = wanted.filter(|_| !is_other) else { return Ok(response) };
    let Some(wanted) = wanted else {
        let all = HeaderValue::try_from(format!("bytes */{size}")).map_err(Problem::internal)?;
        let detail = format!("the document has {size} bytes");
        return Err(
            Problem::new(Code::RangeNotSatisfiable, detail).header(header::CONTENT_RANGE, all)
        );
    };
    let told = format!("bytes {}-{}/{size}", wanted.start, wanted.end - 1);
    let bytes = form.bytes.slice(wanted);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_RANGE, told.try_into().map_err(Problem::internal)?);
    headers.insert(header::CONTENT_LENGTH, bytes.len().into());
    *response.body_mut() = Body::from(bytes);
    Ok(response)
}

/// The one range that is asked for; the inner `None` if it lies beyond the end. Anything else, several
/// ranges too, is answered with all of it, as HTTP allows.
fn byte_range(text: &str, size: usize) -> Option<Option<Range<usize>>> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let range = match (first.trim(), last.trim()) {
        ("", "") => return None,
        ("", last) => size.saturating_sub(number(last)?)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(size)
        }
    };
    Some((range.start < range.end).then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_text_or_beyond_it() {
        let check = |text: &str| byte_range(text, 10);
        assert_eq!(check("bytes=0-3"), Some(Some(0..4)));
        assert_eq!(check("bytes=4-"), Some(Some(4..10)));
        assert_eq!(check("bytes=-3"), Some(Some(7..10)));
        assert_eq!(check("bytes=-30"), Some(Some(0..10)));
        assert_eq!(check("bytes=8-30"), Some(Some(8..10)));
        for beyond in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(check(beyond), Some(None), "{beyond}");
        }
        for none in ["bytes=-", "bytes=3-1", "bytes=a-b", "lines=0-1", "bytes=0-1,3-4"] {
            assert_eq!(check(none), None, "{none}");
        }
    }

    #[test]
    fn encodings_are_liked_more_or_less() {
        let check = |text: &str| {
            let mut accepted = Accepted::default();
            accepted.read(text);
            (accepted.zstd, accepted.gzip, accepted.any)
        };
        assert_eq!(check("gzip, deflate, br, zstd"), (Some(1.0), Some(1.0), None));
        assert_eq!(check("zstd;q=0, GZIP ; q=0.5, *"), (Some(0.0), Some(0.5), Some(1.0)));
        assert_eq!(check(""), (None, None, None));
    }
}
