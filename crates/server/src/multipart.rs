//! Reads multipart bodies: one file and a few named texts.

use std::convert::Infallible;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures::stream;

use crate::codes::Code;
use crate::problem::Problem;
use crate::read;

/// The most parts a body may have.
const PARTS_MAX: usize = 32;

/// A multipart body.
#[derive(Debug, Default)]
pub struct Form {
    /// The part named `file`.
    pub file: Option<FilePart>,
    /// The other parts, by name.
    pub texts: Vec<(String, String)>,
}

/// A file as it was handed in.
#[derive(Debug)]
pub struct FilePart {
    /// The name it had with the client.
    pub file_name: Option<String>,
    /// What the client says it is.
    pub content_type: Option<String>,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Whether the body is multipart.
pub fn is_multipart(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|value| value.starts_with("multipart/form-data"))
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

/// Takes a body apart.
///
/// # Errors
/// `invalid_multipart`, or `conflicting_fields` where a part stands twice.
pub async fn parse(headers: &HeaderMap, body: Bytes) -> Result<Form, Problem> {
    let boundary =
        multer::parse_boundary(content_type(headers).unwrap_or_default()).map_err(invalid)?;
    let whole = stream::once(async { Ok::<_, Infallible>(body) });
    let mut parts = multer::Multipart::new(whole, boundary);
    let mut form = Form::default();
    while let Some(part) = parts.next_field().await.map_err(invalid)? {
        if form.texts.len() >= PARTS_MAX {
            let detail = format!("a body has at most {PARTS_MAX} parts");
            return Err(Problem::new(Code::InvalidMultipart, detail));
        }
        take(&mut form, part).await?;
    }
    Ok(form)
}

async fn take(form: &mut Form, part: multer::Field<'_>) -> Result<(), Problem> {
    let name = part.name().unwrap_or_default().to_owned();
    let twice = form.texts.iter().any(|(known, _)| *known == name);
    if twice || (name == "file" && form.file.is_some()) {
        let detail = format!("the part `{name}` stands twice");
        return Err(Problem::new(Code::ConflictingFields, detail).with("field", name));
    }
    if name == "file" {
        form.file = Some(FilePart {
            file_name: part.file_name().map(str::to_owned),
            content_type: part.content_type().map(|mime| mime.essence_str().to_owned()),
            bytes: part.bytes().await.map_err(invalid)?,
        });
        return Ok(());
    }
    if part.file_name().is_some() {
        return Err(read::unknown_field("", &name, &["file"]));
    }
    let bytes = part.bytes().await.map_err(invalid)?;
    let text = String::from_utf8(bytes.into())
        .map_err(|_| Problem::invalid_field(name.clone(), format!("`{name}` is not UTF-8")))?;
    form.texts.push((name, text));
    Ok(())
}

fn invalid(err: multer::Error) -> Problem {
    Problem::new(Code::InvalidMultipart, format!("the multipart body cannot be read: {err}"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    async fn form(body: &'static str) -> Result<Form, Problem> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_static("multipart/form-data; boundary=X");
        headers.insert(header::CONTENT_TYPE, value);
        parse(&headers, Bytes::from_static(body.as_bytes())).await
    }

    #[tokio::test]
    async fn a_file_and_its_texts_are_told_apart() {
        let form = form(
            "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.js\"\r\n\
             Content-Type: text/javascript\r\n\r\n1+1\r\n\
             --X\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\ntask1\r\n--X--\r\n",
        )
        .await
        .expect("reads");
        let file = form.file.expect("there is a file");
        assert_eq!(file.file_name.as_deref(), Some("a.js"));
        assert_eq!(file.content_type.as_deref(), Some("text/javascript"));
        assert_eq!(file.bytes, "1+1");
        assert_eq!(form.texts, [("name".to_owned(), "task1".to_owned())]);
    }

    #[tokio::test]
    async fn a_broken_body_is_named_as_such() {
        let problem = form("--X\r\nno header").await.expect_err("refused");
        assert_eq!(problem.code(), Code::InvalidMultipart);
    }
}
