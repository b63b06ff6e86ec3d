//! Functions and their versions.

use jiff::Timestamp;
use runabout_protocol::{
    Digest, Form, FunctionName, FunctionVersion, InvalidName, Language, Manifest,
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::artifacts;
use crate::columns::{
    Word, digest, json, millis, optional_word, time, time_text, to_json, unreadable, word,
};
use crate::{Error, Store};

/// A version to deploy; its artifact is stored already.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The function's name.
    pub name: FunctionName,
    /// The artifact.
    pub digest: Digest,
    /// What the artifact is written in.
    pub language: Language,
    /// Script or module, for JavaScript.
    pub form: Option<Form>,
    /// What can be called.
    pub exports: Vec<String>,
    /// What is said of it.
    pub manifest: Manifest,
    /// When it is deployed.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "name, version, digest, language, form, exports, manifest, created_ms";

impl Store {
    /// Deploys a version. If artifact and manifest equal the latest version's, that one is
    /// returned, with `false`.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`].
    pub async fn put_function(&self, new: NewVersion) -> Result<(FunctionVersion, bool), Error> {
        self.write(move |db| put(db, &new)).await
    }

    /// The latest version of every function, by name.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn functions(&self) -> Result<Vec<FunctionVersion>, Error> {
        self.read(|db| {
            let sql = format!(
                "SELECT {COLUMNS} FROM versions AS v WHERE version =
                     (SELECT max(version) FROM versions WHERE name = v.name)
                 ORDER BY name"
            );
            db.prepare_cached(&sql)?.query_map((), read_version)?.collect()
        })
        .await
    }

    /// One version of a function, or its latest.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn function(
        &self,
        name: &FunctionName,
        version: Option<u32>,
    ) -> Result<Option<FunctionVersion>, Error> {
        let name = name.clone();
        self.read(move |db| find(db, &name, version)).await
    }

    /// Every version of a function, oldest first.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn versions(&self, name: &FunctionName) -> Result<Vec<FunctionVersion>, Error> {
        let name = name.clone();
        self.read(move |db| {
            let sql = format!("SELECT {COLUMNS} FROM versions WHERE name = ?1 ORDER BY version");
            db.prepare_cached(&sql)?.query_map([name.as_str()], read_version)?.collect()
        })
        .await
    }

    /// Removes every version of a function; `false` if there was none. Tasks that are bound to one
    /// keep their artifact.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`].
    pub async fn delete_function(&self, name: &FunctionName) -> Result<bool, Error> {
        let name = name.clone();
        self.write(move |db| {
            artifacts::touch_versions(db, name.as_str(), Timestamp::now())?;
            let deleted = db
                .prepare_cached("DELETE FROM versions WHERE name = ?1")?
                .execute([name.as_str()])?;
            Ok(deleted > 0)
        })
        .await
    }
}

fn put(db: &Connection, new: &NewVersion) -> Result<(FunctionVersion, bool)> {
    if let Some(latest) = find(db, &new.name, None)?
        && latest.digest == new.digest
        && latest.manifest == new.manifest
    {
        return Ok((latest, false));
    }
    let sql = "INSERT INTO functions (name, last_version) VALUES (?1, 1)
         ON CONFLICT (name) DO UPDATE SET last_version = last_version + 1
         RETURNING last_version";
    let version: u32 = db.prepare_cached(sql)?.query_row([new.name.as_str()], |row| row.get(0))?;
    let sql = format!("INSERT INTO versions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    db.prepare_cached(&sql)?.execute(params![
        new.name.as_str(),
        version,
        new.digest.0,
        new.language.word(),
        new.form.map(Word::word),
        to_json(&new.exports)?,
        to_json(&new.manifest)?,
        millis(new.created_at),
    ])?;
    Ok((deployed(new, version), true))
}

fn deployed(new: &NewVersion, version: u32) -> FunctionVersion {
    FunctionVersion {
        name: new.name.clone(),
        version,
        digest: new.digest,
        language: new.language,
        form: new.form,
        exports: new.exports.clone(),
        manifest: new.manifest.clone(),
        created_at: time_text(new.created_at),
    }
}

fn find(
    db: &Connection,
    name: &FunctionName,
    version: Option<u32>,
) -> Result<Option<FunctionVersion>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM versions WHERE name = ?1 AND (?2 IS NULL OR version = ?2)
         ORDER BY version DESC LIMIT 1"
    );
    let params = params![name.as_str(), version];
    db.prepare_cached(&sql)?.query_row(params, read_version).optional()
}

fn read_version(row: &Row<'_>) -> Result<FunctionVersion> {
    let name: String = row.get("name")?;
    let unnamed = |error: InvalidName| unreadable("name", error);
    Ok(FunctionVersion {
        name: name.parse().map_err(unnamed)?,
        version: row.get("version")?,
        digest: digest(row, "digest")?,
        language: word(row, "language")?,
        form: optional_word(row, "form")?,
        exports: json(row, "exports")?,
        manifest: json(row, "manifest")?,
        created_at: time(row, "created_ms")?,
    })
}
