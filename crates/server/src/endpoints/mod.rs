//! Endpoints: URL paths of the user's own. What there are is read, checked and kept here; a request
//! that finds no route of the node's own looks for one in the table, without a lock.

mod definition;
mod parameters;
mod path;
mod table;
mod template;

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use runabout_protocol::{Endpoint, EndpointRequest, EndpointSource};
use runabout_store::{EndpointRecord, Store, time_text};
use tokio::sync::Mutex;

use crate::codes::Code;
use crate::deployed::Functions;
use crate::problem::Problem;

pub use definition::{
    Binding, Compute, DOCUMENT, Definition, DocumentBinding, InvalidEndpoint, Target,
};
pub use parameters::{Parameters, Value};
pub use path::is_reserved;
pub use table::{Entry, Misfit, Source, Table};
pub use template::Missing;

/// The endpoints of a node.
pub struct Endpoints {
    store: Store,
    /// Those of the node's file.
    file: Vec<Arc<Entry>>,
    /// All there are; the store holds those of the API among them.
    table: ArcSwap<Table>,
    /// Held across a write to the store and the one to `table`, so that both see changes in the
    /// same order.
    changing: Mutex<()>,
}

impl Endpoints {
    /// Those of the node's file, which are checked already, and those that the store holds.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn load(store: Store, file: Table) -> Result<Self, runabout_store::Error> {
        let entries = file.entries().to_vec();
        let mut table = file;
        for record in store.endpoints().await? {
            let path = record.endpoint.path.clone();
            // The file may have taken its place since; it stays in the store.
            let added = entry_of(record).and_then(|entry| table.add(entry));
            if let Err(error) = added {
                tracing::warn!(path, %error, "an endpoint that was set by the API does not serve");
            }
        }
        let table = ArcSwap::from_pointee(table);
        Ok(Self { store, file: entries, table, changing: Mutex::new(()) })
    }

    /// The endpoints as they are now.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Sets one endpoint, in the place of the one of the same path; with whether it is new.
    ///
    /// # Errors
    /// It is wrong or stands in the file, or the store cannot write.
    pub async fn put(&self, request: EndpointRequest) -> Result<(Arc<Entry>, bool), Problem> {
        let _turn = self.changing.lock().await;
        let (entry, is_new) = self.renewed(request, Timestamp::now())?;
        let mut all = self.of_api();
        all.retain(|other| other.path() != entry.path());
        all.push(entry.clone());
        let table = self.table_with(all).map_err(|misfit| misfit.invalid)?;
        self.store.put_endpoints(record_of(&entry).into_iter().collect()).await?;
        self.table.store(Arc::new(table));
        Ok((entry, is_new))
    }

    /// Sets these endpoints in the place of all that the API has set.
    ///
    /// # Errors
    /// One is wrong or stands in the file, or the store cannot write.
    pub async fn replace(&self, requests: Vec<EndpointRequest>) -> Result<(), Problem> {
        let _turn = self.changing.lock().await;
        let now = Timestamp::now();
        let mut all = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            let renewed = self.renewed(request, now);
            all.push(renewed.map_err(|problem| problem.with("index", index))?.0);
        }
        let records = all.iter().filter_map(|entry| record_of(entry)).collect();
        let misfit = |misfit: Misfit| Problem::from(misfit.invalid).with("index", misfit.index);
        let table = self.table_with(all).map_err(misfit)?;
        self.store.replace_endpoints(records).await?;
        self.table.store(Arc::new(table));
        Ok(())
    }

    /// Removes an endpoint that the API has set.
    ///
    /// # Errors
    /// There is none, or it stands in the file, or the store cannot write.
    pub async fn delete(&self, path: &str) -> Result<(), Problem> {
        let _turn = self.changing.lock().await;
        let mut all = self.of_api();
        all.retain(|entry| entry.path() != path);
        let table = self.table_with(all).map_err(|misfit| misfit.invalid)?;
        if self.store.delete_endpoint(path).await? {
            self.table.store(Arc::new(table));
            return Ok(());
        }
        if self.file.iter().any(|entry| entry.path() == path) {
            return Err(of_file(path));
        }
        let detail = format!("there is no endpoint {path:?}");
        Err(Problem::new(Code::EndpointNotFound, detail).with("path", path))
    }

    /// Says which functions are not deployed. They may come later, so this is no error.
    pub async fn warn_of_missing(&self, functions: &Functions) {
        for entry in self.table().entries() {
            if let Some(function) = missing_function(entry, functions).await {
                let path = entry.path();
                tracing::warn!(path, function, "an endpoint's function is not deployed");
            }
        }
    }

    /// An endpoint checked and dated; with whether it is new.
    fn renewed(
        &self,
        request: EndpointRequest,
        now: Timestamp,
    ) -> Result<(Arc<Entry>, bool), Problem> {
        let definition = Definition::new(request)?;
        let path = definition.pattern.as_str();
        let created_at = match self.table().alike(&definition).map(|entry| entry.source) {
            Some(Source::File) => return Err(of_file(path)),
            Some(Source::Api { created_at, .. }) => Some(created_at),
            None => None,
        };
        let is_new = created_at.is_none();
        let created_at = created_at.unwrap_or(now);
        let source = Source::Api { created_at, updated_at: now };
        Ok((Arc::new(Entry { definition, source }), is_new))
    }

    fn of_api(&self) -> Vec<Arc<Entry>> {
        let of_api = |entry: &&Arc<Entry>| entry.source != Source::File;
        self.table().entries().iter().filter(of_api).cloned().collect()
    }

    /// A table of the file's endpoints and these; an index counts these.
    fn table_with(&self, entries: Vec<Arc<Entry>>) -> Result<Table, Misfit> {
        let mut table = Table::default();
        for entry in &self.file {
            table.add(entry.clone()).map_err(|invalid| Misfit { index: 0, invalid })?;
        }
        for (index, entry) in entries.into_iter().enumerate() {
            table.add(entry).map_err(|invalid| Misfit { index, invalid })?;
        }
        Ok(table)
    }
}

/// An endpoint as clients see it.
pub async fn view(entry: &Entry, functions: &Functions) -> Endpoint {
    let Definition { request, methods, .. } = &entry.definition;
    let (source, times) = match entry.source {
        Source::File => (EndpointSource::File, None),
        Source::Api { created_at, updated_at } => {
            (EndpointSource::Api, Some((time_text(created_at), time_text(updated_at))))
        }
    };
    let (created_at, updated_at) = times.unzip();
    Endpoint {
        endpoint: EndpointRequest { methods: Some(methods.clone()), ..request.clone() },
        source,
        function_missing: missing_function(entry, functions).await.is_some(),
        created_at,
        updated_at,
    }
}

/// The endpoint's function, if it is not deployed.
async fn missing_function(entry: &Entry, functions: &Functions) -> Option<String> {
    let binding = match &entry.definition.target {
        Target::Function(binding) => binding,
        Target::Document(DocumentBinding { compute: Some(compute), .. }) => &compute.binding,
        Target::Document(_) => return None,
    };
    let found = functions.find(binding.name.as_str(), binding.version).await;
    found.err().filter(|problem| problem.is(Code::FunctionNotFound)).map(|_| binding.label())
}

fn entry_of(record: EndpointRecord) -> Result<Arc<Entry>, InvalidEndpoint> {
    let EndpointRecord { endpoint, created_at, updated_at } = record;
    Entry::new(endpoint, Source::Api { created_at, updated_at })
}

/// What is kept of an endpoint; nothing of one of the file.
fn record_of(entry: &Entry) -> Option<EndpointRecord> {
    let Source::Api { created_at, updated_at } = entry.source else { return None };
    Some(EndpointRecord { endpoint: entry.definition.request.clone(), created_at, updated_at })
}

fn of_file(path: &str) -> Problem {
    let detail = format!("{path} stands in the node's file, and is changed there");
    Problem::new(Code::EndpointOfFile, detail).with("path", path)
}

impl Binding {
    /// `fib`, or `fib@3`.
    pub fn label(&self) -> String {
        match self.version {
            None => self.name.to_string(),
            Some(version) => format!("{}@{version}", self.name),
        }
    }

    /// The function is not there, which is no fault of the caller's.
    pub fn function_missing(&self) -> Problem {
        let function = self.label();
        let detail = format!("the endpoint calls {function:?}, which is not deployed");
        Problem::new(Code::FunctionMissing, detail).with("function", function)
    }
}

impl From<Missing> for Problem {
    fn from(Missing(name): Missing) -> Self {
        let detail = format!("the parameter `{name}` is missing");
        Self::new(Code::MissingField, detail).with("field", name)
    }
}

impl From<InvalidEndpoint> for Problem {
    fn from(invalid: InvalidEndpoint) -> Self {
        let problem = Self::invalid_field(invalid.field.clone(), invalid.to_string());
        match invalid.suggestion {
            Some(suggestion) => problem.with("suggestion", suggestion),
            None => problem,
        }
    }
}

/// Checks the endpoints of a file, as a node does when it starts.
///
/// # Errors
/// The first that is wrong.
pub fn check(endpoints: &[EndpointRequest]) -> Result<(), Misfit> {
    Table::of_file(endpoints.to_vec()).map(drop)
}
