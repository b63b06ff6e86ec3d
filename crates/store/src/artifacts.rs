//! Artifacts: immutable bytes, found by their digest. Small ones are rows, large ones files.

use bytes::Bytes;
use jiff::Timestamp;
use runabout_protocol::{Digest, Form, Language};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::columns::{Word, json, millis, optional_word, to_json, word};
use crate::{Error, Store};

/// Artifacts with more bytes than this are files.
pub const ROW_BYTES_MAX: usize = 64 << 10;

/// What is known of an artifact beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactMeta {
    /// What it is written in.
    pub language: Language,
    /// Script or module, for JavaScript.
    pub form: Option<Form>,
    /// What can be called.
    pub exports: Vec<String>,
}

/// An artifact to keep.
#[derive(Clone, Debug)]
pub struct NewArtifact {
    /// The digest of `bytes`.
    pub digest: Digest,
    /// What is known of it.
    pub meta: ArtifactMeta,
    /// The bytes.
    pub bytes: Bytes,
}

impl NewArtifact {
    /// Whether it is small enough to be a row, and so to be written in its task's transaction.
    pub fn fits_a_row(&self) -> bool {
        self.bytes.len() <= ROW_BYTES_MAX
    }
}

impl Store {
    /// Keeps an artifact; `false` if it was kept already.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`].
    pub async fn put_artifact(&self, artifact: NewArtifact) -> Result<bool, Error> {
        let in_a_row = artifact.fits_a_row();
        // Until its row is durable, nobody may remove a file that was found to be there.
        let _upload = if in_a_row { None } else { Some(self.uploads().read().await) };
        if !in_a_row {
            self.write_file(artifact.digest, artifact.bytes.clone()).await?;
        }
        let work = move |db: &Connection| {
            let is_new = meta(db, artifact.digest)?.is_none();
            let bytes = in_a_row.then_some(&artifact.bytes);
            insert(db, &artifact, bytes, Timestamp::now())?;
            Ok(is_new)
        };
        self.write(work).await
    }

    /// An artifact and its bytes.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn artifact(&self, digest: Digest) -> Result<Option<(ArtifactMeta, Bytes)>, Error> {
        let found = self.read(move |db| {
            let sql = "SELECT language, form, exports, bytes FROM artifacts WHERE digest = ?1";
            let row =
                |row: &Row<'_>| Ok((read_meta(row)?, row.get::<_, Option<Vec<u8>>>("bytes")?));
            db.prepare_cached(sql)?.query_row([digest.0], row).optional()
        });
        match found.await? {
            None => Ok(None),
            Some((meta, Some(bytes))) => Ok(Some((meta, bytes.into()))),
            Some((meta, None)) => match self.read_file(digest).await {
                Ok(bytes) => Ok(Some((meta, bytes))),
                // Both may have been removed since the row was read.
                Err(_) if self.artifact_meta(digest).await?.is_none() => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// What is known of an artifact, without reading its bytes.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn artifact_meta(&self, digest: Digest) -> Result<Option<ArtifactMeta>, Error> {
        self.read(move |db| meta(db, digest)).await
    }

    /// How many bytes an artifact has.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub async fn artifact_bytes(&self, digest: Digest) -> Result<Option<u64>, Error> {
        let found = self.read(move |db| {
            let sql = "SELECT length(bytes) FROM artifacts WHERE digest = ?1";
            let row = |row: &Row<'_>| row.get::<_, Option<i64>>(0);
            db.prepare_cached(sql)?.query_row([digest.0], row).optional()
        });
        match found.await? {
            Some(None) => {
                let files = self.files().clone();
                let work = move || files.size(digest);
                blocking(&format!("look at the artifact {digest}"), work).await.map(Some)
            }
            Some(Some(bytes)) => Ok(u64::try_from(bytes).ok()),
            None => Ok(None),
        }
    }

    async fn write_file(&self, digest: Digest, bytes: Bytes) -> Result<(), Error> {
        let files = self.files().clone();
        let work = move || files.write(digest, &bytes);
        blocking(&format!("write the artifact {digest}"), work).await
    }

    async fn read_file(&self, digest: Digest) -> Result<Bytes, Error> {
        let files = self.files().clone();
        blocking(&format!("read the artifact {digest}"), move || files.read(digest)).await
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    done.map_err(|error| Error::io(doing, &error))
}

/// Inserts the row. One that is there already is only marked as handed in again, and that at most
/// once an hour: it would rewrite the bytes.
pub(crate) fn insert(
    db: &Connection,
    artifact: &NewArtifact,
    bytes: Option<&Bytes>,
    at: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO artifacts (digest, language, form, exports, stored_ms, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (digest) DO UPDATE SET stored_ms = excluded.stored_ms
         WHERE stored_ms < excluded.stored_ms - 3600000";
    let ArtifactMeta { language, form, exports } = &artifact.meta;
    let form = form.map(Word::word);
    let bytes = bytes.map(|bytes| bytes.as_ref());
    let exports = to_json(exports)?;
    db.prepare_cached(sql)?
        .execute(params![artifact.digest.0, language.word(), form, exports, millis(at), bytes])
        .map(drop)
}

/// Marks the artifacts of a function's versions as just handed in: somebody may be about to name one
/// whose version is being deleted.
pub(crate) fn touch_versions(db: &Connection, name: &str, at: Timestamp) -> Result<()> {
    let sql = "UPDATE artifacts SET stored_ms = ?2
         WHERE digest IN (SELECT digest FROM versions WHERE name = ?1)";
    db.prepare_cached(sql)?.execute(params![name, millis(at)]).map(drop)
}

fn meta(db: &Connection, digest: Digest) -> Result<Option<ArtifactMeta>> {
    let sql = "SELECT language, form, exports FROM artifacts WHERE digest = ?1";
    db.prepare_cached(sql)?.query_row([digest.0], read_meta).optional()
}

fn read_meta(row: &Row<'_>) -> Result<ArtifactMeta> {
    Ok(ArtifactMeta {
        language: word(row, "language")?,
        form: optional_word(row, "form")?,
        exports: json(row, "exports")?,
    })
}
