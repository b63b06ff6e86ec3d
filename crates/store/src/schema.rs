//! The format of `tasks.db`, and how an older one becomes the newest.

use std::path::Path;

use rusqlite::Connection;

use crate::Error;

/// What leads from each format to the next; never edited once it was released.
const MIGRATIONS: [&str; 4] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
];

/// Brings the database to the newest format. Each step is a transaction: one that is interrupted
/// leaves the format before it.
pub(crate) fn migrate(db: &mut Connection) -> Result<(), Error> {
    let failed = |error| Error::sqlite("migrate the store", &error);
    let found = format(db).map_err(failed)?;
    for (format, migration) in (1..).zip(MIGRATIONS).skip_while(|(format, _)| *format <= found) {
        let tx = db.transaction().map_err(failed)?;
        tx.execute_batch(migration).map_err(failed)?;
        tx.pragma_update(None, "user_version", format).map_err(failed)?;
        tx.commit().map_err(failed)?;
    }
    Ok(())
}

/// Refuses what this program cannot have written, and what it does not know yet.
pub(crate) fn refuse_foreign(db: &Connection, path: &Path) -> Result<(), Error> {
    refuse_newer(db, path)?;
    let of_others = |db: &Connection| -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema)";
        Ok(format(db)? == 0 && db.query_row(sql, (), |row| row.get(0))?)
    };
    if of_others(db).map_err(|error| Error::opening(path, &error))? {
        let doing = format!("open the store at {}", path.display());
        let reason = "it is a database of another program; it was left as it is".to_owned();
        return Err(Error::Other { doing, reason });
    }
    Ok(())
}

/// Refuses what a newer version of this program has written.
pub(crate) fn refuse_newer(db: &Connection, path: &Path) -> Result<(), Error> {
    let known = MIGRATIONS.len() as i64;
    let found = format(db).map_err(|error| Error::opening(path, &error))?;
    if found > known { Err(Error::NewerVersion { found, known }) } else { Ok(()) }
}

/// The database's format; 0 for one that is new.
fn format(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Gives back the pages of the database that a connection keeps.
pub(crate) fn release_memory(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("PRAGMA shrink_memory")
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
