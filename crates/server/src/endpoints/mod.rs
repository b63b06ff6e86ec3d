//! Endpoints: URL paths of the user's own. What there are is read and checked here; a request that
//! finds no route of the node's own looks for one in the table, without a lock.

mod definition;
mod parameters;
mod path;
mod table;
mod template;

use std::sync::Arc;

use arc_swap::ArcSwap;
use runabout_protocol::EndpointRequest;

use crate::codes::Code;
use crate::deployed::Functions;
use crate::problem::Problem;

pub use definition::{
    Binding, Compute, DOCUMENT, Definition, DocumentBinding, InvalidEndpoint, Target,
};
pub use parameters::{Parameters, Value};
pub use path::is_reserved;
pub use table::{Entry, Misfit, Table};
pub use template::Missing;

/// The endpoints of a node.
pub struct Endpoints {
    table: ArcSwap<Table>,
}

impl Endpoints {
    /// Those of the node's file.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn of_file(endpoints: Vec<EndpointRequest>) -> Result<Self, Misfit> {
        let table = Table::read(endpoints)?;
        Ok(Self { table: ArcSwap::from_pointee(table) })
    }

    /// The endpoints as they are now.
    pub fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Says which functions are not deployed. They may come later, so this is no error.
    pub async fn warn_of_missing(&self, functions: &Functions) {
        for entry in self.table().entries() {
            let binding = match &entry.definition.target {
                Target::Function(binding) => binding,
                Target::Document(DocumentBinding { compute: Some(compute), .. }) => {
                    &compute.binding
                }
                Target::Document(_) => continue,
            };
            let found = functions.find(binding.name.as_str(), binding.version).await;
            if found.is_err() {
                let (path, function) = (entry.definition.pattern.as_str(), binding.label());
                tracing::warn!(path, function, "an endpoint's function is not deployed");
            }
        }
    }
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
    Table::read(endpoints.to_vec()).map(drop)
}
