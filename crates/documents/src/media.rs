//! Media types of documents, and the extensions of their files.

/// What a document consists of. It is decided when the document is made, and is its file's
/// extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType(&'static Row);

#[derive(Debug, PartialEq, Eq)]
struct Row {
    essence: &'static str,
    extension: &'static str,
    content_type: &'static str,
    is_text: bool,
}

const fn text(essence: &'static str, extension: &'static str, content_type: &'static str) -> Row {
    Row { essence, extension, content_type, is_text: true }
}

const fn bytes(essence: &'static str, extension: &'static str) -> Row {
    Row { essence, extension, content_type: essence, is_text: false }
}

/// No extension stands twice.
static TABLE: [Row; 16] = [
    text("text/html", "html", "text/html; charset=utf-8"),
    text("text/plain", "txt", "text/plain; charset=utf-8"),
    text("text/markdown", "md", "text/markdown; charset=utf-8"),
    text("text/css", "css", "text/css; charset=utf-8"),
    text("text/csv", "csv", "text/csv; charset=utf-8"),
    text("text/javascript", "js", "text/javascript; charset=utf-8"),
    text("application/json", "json", "application/json"),
    text("application/xml", "xml", "application/xml; charset=utf-8"),
    text("application/yaml", "yaml", "application/yaml; charset=utf-8"),
    text("image/svg+xml", "svg", "image/svg+xml; charset=utf-8"),
    bytes("image/png", "png"),
    bytes("image/jpeg", "jpg"),
    bytes("image/gif", "gif"),
    bytes("image/webp", "webp"),
    bytes("application/pdf", "pdf"),
    bytes("application/octet-stream", "bin"),
];

impl MediaType {
    /// `text/html`.
    pub const HTML: Self = Self(&TABLE[0]);
    /// `text/plain`.
    pub const PLAIN: Self = Self(&TABLE[1]);
    /// `application/octet-stream`.
    pub const BYTES: Self = Self(&TABLE[15]);

    /// The type that is written `essence`, without parameters and in lower case.
    pub fn parse(essence: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.essence == essence).map(Self)
    }

    /// The type of files with that extension.
    pub fn of_extension(extension: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.extension == extension).map(Self)
    }

    /// What the bytes of a new document look like, where nobody said.
    pub fn guess(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.trim_start().starts_with('<') => Self::HTML,
            Ok(_) => Self::PLAIN,
            Err(_) => Self::BYTES,
        }
    }

    /// Every type.
    pub(crate) fn every() -> impl Iterator<Item = Self> {
        TABLE.iter().map(Self)
    }

    /// Every type in words, for those who ask what there is.
    pub fn all() -> impl Iterator<Item = &'static str> {
        TABLE.iter().map(|row| row.essence)
    }

    /// `text/html`, say.
    pub fn essence(self) -> &'static str {
        self.0.essence
    }

    /// `html`, say.
    pub fn extension(self) -> &'static str {
        self.0.extension
    }

    /// As it stands in a `Content-Type`.
    pub fn content_type(self) -> &'static str {
        self.0.content_type
    }

    /// Whether documents of this type are UTF-8, and can be merged.
    pub fn is_text(self) -> bool {
        self.0.is_text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_extensions_lead_to_each_other() {
        for row in &TABLE {
            let media_type = MediaType::parse(row.essence).expect("is in the table");
            assert_eq!(MediaType::of_extension(media_type.extension()), Some(media_type));
            assert!(media_type.content_type().starts_with(media_type.essence()));
        }
        assert_eq!(MediaType::HTML.essence(), "text/html");
        assert_eq!(MediaType::PLAIN.extension(), "txt");
        assert_eq!(MediaType::BYTES.extension(), "bin");
    }

    #[test]
    fn a_new_document_is_guessed_by_its_bytes() {
        assert_eq!(MediaType::guess(b"\n <p>hello"), MediaType::HTML);
        assert_eq!(MediaType::guess(b"hello"), MediaType::PLAIN);
        assert_eq!(MediaType::guess(b"\xff\xd8"), MediaType::BYTES);
    }
}
