//! The extractors of every route. axum's own answer in plain text; these answer with problems.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::Problem;
use crate::read;

/// The part of a path in braces, percent-decoded.
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        // What is no UTF-8 names nothing of ours: a text that is no id and no name says so in
        // each route's own words.
        let text = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(text.map_or_else(|_| "\u{fffd}".to_owned(), |Path(text)| text)))
    }
}

/// Two parts of a path in braces, percent-decoded.
pub struct Segments(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let unknown = || "\u{fffd}".to_owned();
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((one, other)) = texts.unwrap_or_else(|_| Path((unknown(), unknown())));
        Ok(Self(one, other))
    }
}

/// A query string.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Default, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match parts.uri.query() {
            None => Ok(Self(T::default())),
            query => read::query(query).map(Self),
        }
    }
}

/// No query string. What it may have been meant to say is not ignored: `DELETE ...?version=1` would
/// delete all of them.
pub struct NoQuery;

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        match form_urlencoded::parse(query.as_bytes()).next() {
            None => Ok(Self),
            Some((name, _)) => Err(read::unknown_field("", &name, &[])),
        }
    }
}
