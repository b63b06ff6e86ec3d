//! The endpoints of a node, to be found by path. A table is made as a whole, then never changed.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use matchit::Router;
use runabout_protocol::EndpointRequest;

use super::definition::{Definition, InvalidEndpoint};
use super::path::is_reserved;

/// The most endpoints of a node.
const ENDPOINTS_MAX: usize = 1000;

/// Where an endpoint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The node's file; it stands as long as it does there.
    File,
    /// The API.
    Api {
        /// When it was first put.
        created_at: Timestamp,
        /// When it was last put.
        updated_at: Timestamp,
    },
}

/// An endpoint in its table.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub definition: Definition,
    /// Where it comes from.
    pub source: Source,
}

/// Endpoints of which no two match the same paths in the same way.
#[derive(Debug, Default)]
pub struct Table {
    router: Router<Arc<Entry>>,
    /// In the order in which they were added.
    entries: Vec<Arc<Entry>>,
    /// Where in `entries` the endpoint of each shape is.
    shapes: HashMap<String, usize>,
}

/// One of several endpoints is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invalid}")]
pub struct Misfit {
    /// Which one, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub invalid: InvalidEndpoint,
}

impl Entry {
    /// Checks an endpoint.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(request: EndpointRequest, source: Source) -> Result<Arc<Self>, InvalidEndpoint> {
        Ok(Arc::new(Self { definition: Definition::new(request)?, source }))
    }

    /// Its path, as it was written.
    pub fn path(&self) -> &str {
        self.definition.pattern.as_str()
    }
}

/// The parameters in a path by name, still percent-encoded.
pub type InPath<'a> = Vec<(&'a str, &'a str)>;

impl Table {
    /// Checks the endpoints of a file and makes a table of them.
    ///
    /// # Errors
    /// The first that is wrong, or that another one leaves no room for.
    pub fn of_file(endpoints: Vec<EndpointRequest>) -> Result<Self, Misfit> {
        let mut table = Self::default();
        for (index, request) in endpoints.into_iter().enumerate() {
            let added = Entry::new(request, Source::File).and_then(|entry| table.add(entry));
            added.map_err(|invalid| Misfit { index, invalid })?;
        }
        Ok(table)
    }

    /// Adds an endpoint.
    ///
    /// # Errors
    /// Another one leaves no room for it.
    pub fn add(&mut self, entry: Arc<Entry>) -> Result<(), InvalidEndpoint> {
        let refused = |detail| Err(InvalidEndpoint::new("path", detail));
        if self.entries.len() == ENDPOINTS_MAX {
            return refused(format!("a node has at most {ENDPOINTS_MAX} endpoints"));
        }
        let path = entry.path();
        if let Some(other) = self.alike(&entry.definition) {
            let other = other.path();
            return refused(format!(
                "{path} matches the same paths as an endpoint there is: {other}"
            ));
        }
        if let Err(error) = self.router.insert(path, entry.clone()) {
            return refused(format!("{path} does not fit beside the others: {error}"));
        }
        self.shapes.insert(entry.definition.pattern.shape(), self.entries.len());
        self.entries.push(entry);
        Ok(())
    }

    /// The endpoint that matches the same paths as this one.
    pub fn alike(&self, definition: &Definition) -> Option<&Arc<Entry>> {
        self.entries.get(*self.shapes.get(&definition.pattern.shape())?)
    }

    /// The endpoint that a path leads to, and the parameters in the path.
    pub fn find<'a>(&'a self, path: &'a str) -> Option<(Arc<Entry>, InPath<'a>)> {
        if is_reserved(path) {
            return None;
        }
        let found = self.router.at(path).ok()?;
        Some((found.value.clone(), found.params.iter().collect()))
    }

    /// All of them.
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(paths: &[&str]) -> Result<Table, Misfit> {
        let endpoint = |path: &&str| {
            let text = format!(r#"{{"path":"{path}","function":"fib"}}"#);
            serde_json::from_str(&text).expect("an endpoint")
        };
        Table::of_file(paths.iter().map(endpoint).collect())
    }

    /// The pattern and the parameters that a path leads to, `/{a} a=1`.
    fn found(table: &Table, path: &str) -> Option<String> {
        let (entry, parameters) = table.find(path)?;
        let mut text = entry.definition.pattern.as_str().to_owned();
        for (name, value) in parameters {
            text.push_str(&format!(" {name}={value}"));
        }
        Some(text)
    }

    #[test]
    fn a_path_finds_the_endpoint_that_is_nearest() {
        let table = table(&["/a", "/a/{x}", "/a/b", "/{x}/{y}/c", "/a/{z}/d"]).expect("a table");
        for (path, expected) in [
            ("/a", Some("/a")),
            ("/a/b", Some("/a/b")),
            ("/a/c", Some("/a/{x} x=c")),
            ("/a/c%20d", Some("/a/{x} x=c%20d")),
            ("/q/r/c", Some("/{x}/{y}/c x=q y=r")),
            ("/a/r/d", Some("/a/{z}/d z=r")),
            ("/a/", None),
            ("/a/b/", None),
            ("//", None),
            ("/b", None),
            ("", None),
        ] {
            assert_eq!(found(&table, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn the_nodes_own_paths_lead_to_no_endpoint() {
        let table = table(&["/{a}", "/{a}/{b}"]).expect("a table");
        for path in ["/", "/v1", "/v1/nothing", "/assets/x", "/docs/x", "/metrics", "/healthz"] {
            assert_eq!(found(&table, path), None, "{path}");
        }
        assert!(found(&table, "/other/x").is_some());
    }

    #[test]
    fn two_that_match_the_same_are_refused() {
        for (paths, index) in
            [(["/a", "/b", "/a"], 2), (["/a/{x}", "/a/{y}", "/b"], 1), (["/{a}", "/a", "/{b}"], 2)]
        {
            let misfit = table(&paths).expect_err("refused");
            assert_eq!((misfit.index, misfit.invalid.field.as_str()), (index, "path"));
        }
    }

    #[test]
    fn there_is_a_most() {
        let paths: Vec<_> = (0..=ENDPOINTS_MAX).map(|n| format!("/p{n}")).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        assert!(table(&paths[..ENDPOINTS_MAX]).is_ok());
        assert_eq!(table(&paths).expect_err("refused").index, ENDPOINTS_MAX);
    }
}
