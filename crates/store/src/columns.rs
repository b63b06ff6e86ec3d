//! How the words of the protocol stand in columns, and back.

use jiff::Timestamp;
use runabout_protocol::{
    Digest, Encoding, Form, JsEngine, Language, Missed, Place, Stream, Surroundings, TaskId,
    TaskState, Trust,
};
use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// A word that serde writes as a plain string.
pub(crate) trait Word: Sized + Copy + 'static {
    const ALL: &'static [(Self, &'static str)];

    fn word(self) -> &'static str
    where
        Self: PartialEq,
    {
        Self::ALL.iter().find(|(it, _)| *it == self).map_or("", |(_, word)| word)
    }
}

impl Word for Language {
    const ALL: &'static [(Self, &'static str)] =
        &[(Self::Js, "js"), (Self::Wasm, "wasm"), (Self::Wasi, "wasi")];
}

impl Word for Missed {
    const ALL: &'static [(Self, &'static str)] =
        &[(Self::Skip, "skip"), (Self::RunOnce, "run_once"), (Self::RunAll, "run_all")];
}

impl Word for Form {
    const ALL: &'static [(Self, &'static str)] =
        &[(Self::Script, "script"), (Self::Module, "module")];
}

impl Word for Stream {
    const ALL: &'static [(Self, &'static str)] =
        &[(Self::Stdout, "stdout"), (Self::Stderr, "stderr")];
}

impl Word for Trust {
    const ALL: &'static [(Self, &'static str)] =
        &[(Self::Node, "node"), (Self::Joined, "joined"), (Self::Tab, "tab")];
}

impl Word for Place {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Here, "here"),
        (Self::Upstream, "upstream"),
        (Self::Tab, "tab"),
        (Self::Auto, "auto"),
    ];
}

impl Word for JsEngine {
    const ALL: &'static [(Self, &'static str)] = &[(Self::Quickjs, "quickjs")];
}

impl Word for Encoding {
    const ALL: &'static [(Self, &'static str)] = &[(Self::Base64, "base64")];
}

impl Word for TaskState {
    const ALL: &'static [(Self, &'static str)] = &[
        (Self::Queued, "queued"),
        (Self::Running, "running"),
        (Self::Succeeded, "succeeded"),
        (Self::Failed, "failed"),
        (Self::Cancelled, "cancelled"),
    ];
}

/// Reads a column that holds a word.
pub(crate) fn word<T: Word>(row: &Row<'_>, column: &str) -> Result<T> {
    optional_word(row, column)?.ok_or_else(|| unreadable(column, "there is none"))
}

/// Reads a column that holds a word or null.
pub(crate) fn optional_word<T: Word>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    let known = T::ALL.iter().find(|(_, word)| *word == text);
    known.map(|(it, _)| Some(*it)).ok_or_else(|| unreadable(column, text))
}

/// Reads the columns that say in what surroundings a task runs.
pub(crate) fn surroundings(row: &Row<'_>) -> Result<Surroundings> {
    Ok(Surroundings {
        place: optional_word(row, "place")?.unwrap_or_default(),
        engine: optional_word(row, "engine")?,
        reuse: row.get::<_, Option<bool>>("reuse")?.unwrap_or(false),
    })
}

/// Reads a column that holds JSON.
pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T> {
    optional_json(row, column)?.ok_or_else(|| unreadable(column, "there is none"))
}

/// Reads a column that holds JSON or null.
pub(crate) fn optional_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<Option<T>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|error| unreadable(column, error))
}

/// Writes a value as JSON.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

/// Reads a count that is never negative.
pub(crate) fn count(row: &Row<'_>, column: &str) -> Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|error| unreadable(column, error))
}

/// A count as SQLite has it. What is beyond it is beyond any size or time we meet.
pub(crate) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// Reads a time.
pub(crate) fn timestamp(row: &Row<'_>, column: &str) -> Result<Timestamp> {
    let ms: i64 = row.get(column)?;
    Timestamp::from_millisecond(ms).map_err(|error| unreadable(column, error))
}

/// Reads a time as RFC 3339 text in UTC, or null.
pub(crate) fn optional_time(row: &Row<'_>, column: &str) -> Result<Option<String>> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(_) => timestamp(row, column).map(|at| Some(time_text(at))),
    }
}

/// Reads a time as RFC 3339 text in UTC.
pub(crate) fn time(row: &Row<'_>, column: &str) -> Result<String> {
    timestamp(row, column).map(time_text)
}

/// A time as the protocol has it: RFC 3339 in UTC, always with milliseconds.
pub fn time_text(at: Timestamp) -> String {
    format!("{at:.3}")
}

pub(crate) fn task_id(row: &Row<'_>, column: &str) -> Result<TaskId> {
    let bytes: [u8; 16] = row.get(column)?;
    Ok(TaskId(Uuid::from_bytes(bytes)))
}

pub(crate) fn digest(row: &Row<'_>, column: &str) -> Result<Digest> {
    row.get(column).map(Digest)
}

/// What a column holds is not what it should.
pub(crate) fn unreadable(column: &str, reason: impl std::fmt::Display) -> Error {
    let message = format!("column {column}: {reason}");
    Error::FromSqlConversionFailure(0, Type::Text, message.into())
}
