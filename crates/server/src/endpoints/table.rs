//! The endpoints of a node, to be found by path. A table is made as a whole and never changed.

use std::collections::HashMap;
use std::sync::Arc;

use matchit::Router;
use runabout_protocol::EndpointRequest;

use super::definition::{Definition, InvalidEndpoint};
use super::path::is_reserved;

/// The most endpoints of a node.
pub const ENDPOINTS_MAX: usize = 1000;

/// An endpoint in its table.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub definition: Definition,
}

/// Endpoints of which no two match the same paths in the same way.
#[derive(Debug, Default)]
pub struct Table {
    router: Router<Arc<Entry>>,
    /// In the order in which they were written.
    entries: Vec<Arc<Entry>>,
}

/// An endpoint that does not go into a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invalid}")]
pub struct Misfit {
    /// Which one, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub invalid: InvalidEndpoint,
}

impl Table {
    /// Checks endpoints and makes a table of them.
    ///
    /// # Errors
    /// The first that is wrong, or that another one leaves no room for.
    pub fn read(endpoints: Vec<EndpointRequest>) -> Result<Self, Misfit> {
        let mut definitions = Vec::with_capacity(endpoints.len());
        for (index, request) in endpoints.into_iter().enumerate() {
            let definition =
                Definition::new(request).map_err(|invalid| Misfit { index, invalid })?;
            definitions.push(Arc::new(Entry { definition }));
        }
        Self::new(definitions)
    }

    /// Makes a table.
    ///
    /// # Errors
    /// The first endpoint that another one leaves no room for.
    pub fn new(entries: Vec<Arc<Entry>>) -> Result<Self, Misfit> {
        let refused =
            |index, detail| Err(Misfit { index, invalid: InvalidEndpoint::new("path", detail) });
        if entries.len() > ENDPOINTS_MAX {
            return refused(ENDPOINTS_MAX, format!("a node has at most {ENDPOINTS_MAX} endpoints"));
        }
        let mut router = Router::new();
        let mut shapes: HashMap<String, &str> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let pattern = &entry.definition.pattern;
            let path = pattern.as_str();
            if let Some(other) = shapes.insert(pattern.shape(), path) {
                let same = "matches the same paths as an endpoint that is there already";
                return refused(index, format!("{path} {same}: {other}"));
            }
            if let Err(error) = router.insert(path, entry.clone()) {
                return refused(index, format!("{path} does not fit beside the others: {error}"));
            }
        }
        Ok(Self { router, entries })
    }

    /// The endpoint that a path leads to, and the parameters in the path, still percent-encoded.
    pub fn find<'a>(&'a self, path: &'a str) -> Option<(Arc<Entry>, Vec<(&'a str, &'a str)>)> {
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
        Table::read(paths.iter().map(endpoint).collect())
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
