//! A document as it is read: its newest text with everything that answers need, made once.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{MediaType, Revision};

/// Shorter texts do not get any shorter by compression.
const COMPRESSED_BYTES_MIN: usize = 256;
/// Up to here gzip is done before a revision is read for the first time; beyond it, readers get
/// another form until it is done.
pub(crate) const GZIP_AT_ONCE_BYTES_MAX: usize = 256 << 10;
/// A level that costs little and gains most of what there is to gain.
const ZSTD_LEVEL: i32 = 3;

/// The newest revision of a document.
#[derive(Debug)]
pub struct Current {
    /// What is known of it.
    pub revision: Arc<Revision>,
    /// What it is.
    pub media_type: MediaType,
    /// Its text as it is, under the entity tag `"7"`.
    pub plain: Form,
    /// Compressed, under `"7-zstd"`, if that saves something.
    zstd: Option<Form>,
    /// Compressed, under `"7-gzip"`, once that is done, if it saves something.
    gzip: OnceLock<Option<Form>>,
}

/// A form that a text is sent in.
#[derive(Clone, Debug)]
pub struct Form {
    /// The bytes.
    pub bytes: Bytes,
    /// The strong entity tag, quotes included.
    pub etag: Bytes,
}

impl Current {
    /// `zstd` is what is kept of it on disk.
    pub(crate) fn with(
        zstd: Option<Bytes>,
        revision: Arc<Revision>,
        media_type: MediaType,
        text: Bytes,
    ) -> Self {
        let number = revision.revision;
        let form = |bytes: Bytes, suffix: &str| Form {
            bytes,
            etag: format!("\"{number}{suffix}\"").into(),
        };
        let current = Self {
            revision,
            media_type,
            plain: form(text, ""),
            zstd: zstd.map(|bytes| form(bytes, "-zstd")),
            gzip: OnceLock::new(),
        };
        if current.plain.bytes.len() <= GZIP_AT_ONCE_BYTES_MAX {
            current.compress();
        }
        current
    }

    /// The text compressed with zstd.
    pub fn zstd(&self) -> Option<&Form> {
        self.zstd.as_ref()
    }

    /// The text compressed with gzip, if that is done already.
    pub fn gzip(&self) -> Option<&Form> {
        self.gzip.get().and_then(Option::as_ref)
    }

    /// Makes the compressed form that was left for later.
    pub(crate) fn compress(&self) {
        self.gzip.get_or_init(|| {
            // What has no use for zstd has none for gzip.
            self.zstd.as_ref()?;
            let text = &self.plain.bytes;
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text).ok()?;
            let bytes = encoder.finish().ok().filter(|it| it.len() < text.len())?;
            let etag = format!("\"{}-gzip\"", self.revision.revision).into();
            Some(Form { bytes: bytes.into(), etag })
        });
    }

    /// Whether a compressed form was left for later.
    pub(crate) fn is_compression_left(&self) -> bool {
        self.gzip.get().is_none()
    }

    /// What it takes in memory, compressed forms included, roughly.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.plain.bytes.len() + self.zstd.as_ref().map_or(0, |form| 2 * form.bytes.len())
    }
}

/// A text compressed with zstd, if that saves something.
pub(crate) fn packed(text: &[u8]) -> Option<Bytes> {
    if text.len() < COMPRESSED_BYTES_MIN {
        return None;
    }
    let packed = zstd::bulk::compress(text, ZSTD_LEVEL).ok()?;
    (packed.len() < text.len() - text.len() / 16).then(|| packed.into())
}
