//! Endpoints that were set by the API. What they mean is not decided here.

use jiff::Timestamp;
use runabout_protocol::EndpointRequest;
use rusqlite::{Connection, Result, Row, params};

use crate::columns::{json, millis, timestamp, to_json};
use crate::{Error, Store};

/// An endpoint as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointRecord {
    /// What was asked for; its path is its name.
    pub endpoint: EndpointRequest,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it was last put.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "path, endpoint, created_ms, updated_ms";

impl Store {
    /// Keeps endpoints, in the place of those of the same paths.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`].
    pub async fn put_endpoints(&self, endpoints: Vec<EndpointRecord>) -> Result<(), Error> {
        self.write(move |db| endpoints.iter().try_for_each(|endpoint| put(db, endpoint))).await
    }

    /// Keeps these endpoints and no others.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`].
    pub async fn replace_endpoints(&self, endpoints: Vec<EndpointRecord>) -> Result<(), Error> {
        self.write(move |db| {
            db.prepare_cached("DELETE FROM endpoints")?.execute(())?;
            endpoints.iter().try_for_each(|endpoint| put(db, endpoint))
        })
        .await
    }

    /// Removes an endpoint; `false` if there was none.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`].
    pub async fn delete_endpoint(&self, path: &str) -> Result<bool, Error> {
        let path = path.to_owned();
        self.write(move |db| {
            let sql = "DELETE FROM endpoints WHERE path = ?1";
            Ok(db.prepare_cached(sql)?.execute([path.as_str()])? > 0)
        })
        .await
    }

    /// Every endpoint, by path.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn endpoints(&self) -> Result<Vec<EndpointRecord>, Error> {
        self.read(|db| {
            let sql = format!("SELECT {COLUMNS} FROM endpoints ORDER BY path");
            db.prepare_cached(&sql)?.query_map((), read_endpoint)?.collect()
        })
        .await
    }
}

fn put(db: &Connection, record: &EndpointRecord) -> Result<()> {
    let sql = format!("INSERT OR REPLACE INTO endpoints ({COLUMNS}) VALUES (?1, ?2, ?3, ?4)");
    let params = params![
        record.endpoint.path,
        to_json(&record.endpoint)?,
        millis(record.created_at),
        millis(record.updated_at),
    ];
    db.prepare_cached(&sql)?.execute(params).map(drop)
}

fn read_endpoint(row: &Row<'_>) -> Result<EndpointRecord> {
    Ok(EndpointRecord {
        endpoint: json(row, "endpoint")?,
        created_at: timestamp(row, "created_ms")?,
        updated_at: timestamp(row, "updated_ms")?,
    })
}
