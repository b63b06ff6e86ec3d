//! The format of `tasks.db`, and how an older one becomes the newest.

use rusqlite::Connection;

use crate::Error;

/// What leads from each format to the next; never edited once it was released.
const MIGRATIONS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// Brings the database to the newest format.
pub(crate) fn migrate(db: &mut Connection) -> Result<(), Error> {
    let failed = |error| Error::sqlite("migrate the store", &error);
    let known = MIGRATIONS.len() as i64;
    let found: i64 =
        db.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if found > known {
        return Err(Error::NewerVersion { found, known });
    }
    for (format, migration) in (1..).zip(MIGRATIONS).skip_while(|(format, _)| *format <= found) {
        let tx = db.transaction().map_err(failed)?;
        tx.execute_batch(migration).map_err(failed)?;
        tx.pragma_update(None, "user_version", format).map_err(failed)?;
        tx.commit().map_err(failed)?;
    }
    Ok(())
}

/// Sets a fresh connection up. `synchronous=FULL`: a commit in the write-ahead log is on the disk
/// when it returns.
pub(crate) fn configure(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    // What one large write made of the log is given back later.
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "cache_size", -16_384)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}
