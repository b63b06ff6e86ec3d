//! What the engine of tasks needs of a store, and no more. Whatever implements it passes the tests
//! in `tests/contract`.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use runabout_protocol::{Attempt, Digest, Run, Task, TaskId};

use crate::{ArtifactMeta, Error, Health, NewArtifact, Store, Submission, UnfinishedTask, Write};

/// What a store answers, when it does.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Keeps tasks. Reads see the last commit.
pub trait TaskStore: Send + Sync {
    /// Makes facts durable, all or none, in order. `Ok` says that they are; after
    /// [`Error::Failed`] it is not known whether they are, and nothing more is written; after any
    /// other error none of them is. Whoever drops the answer has not taken the facts back.
    fn commit(&self, writes: Arc<Vec<Write>>) -> Answer<'_, ()>;

    /// Every task that has not ended, in the order of submission, each with its value of one label
    /// if `label` names one.
    fn unfinished(&self, label: Option<String>) -> Answer<'_, Vec<UnfinishedTask>>;

    /// What workers are sent for these attempts; tasks that are gone are left out.
    fn runs(&self, attempts: Vec<(TaskId, Attempt)>) -> Answer<'_, Vec<Run>>;

    /// A task.
    fn task(&self, id: TaskId) -> Answer<'_, Option<Task>>;

    /// The submissions under these keys, by key; keys that were never used are left out.
    fn submissions(&self, keys: Vec<String>) -> Answer<'_, HashMap<String, Submission>>;

    /// Keeps an artifact; `false` if it was kept already.
    fn put_artifact(&self, artifact: NewArtifact) -> Answer<'_, bool>;

    /// An artifact and its bytes.
    fn artifact(&self, digest: Digest) -> Answer<'_, Option<(ArtifactMeta, Bytes)>>;

    /// Whether it can still write.
    fn health(&self) -> Health;
}

impl TaskStore for Store {
    fn commit(&self, writes: Arc<Vec<Write>>) -> Answer<'_, ()> {
        Box::pin(Store::commit(self, writes))
    }

    fn unfinished(&self, label: Option<String>) -> Answer<'_, Vec<UnfinishedTask>> {
        Box::pin(Store::unfinished(self, label))
    }

    fn runs(&self, attempts: Vec<(TaskId, Attempt)>) -> Answer<'_, Vec<Run>> {
        Box::pin(Store::runs(self, attempts))
    }

    fn task(&self, id: TaskId) -> Answer<'_, Option<Task>> {
        Box::pin(Store::task(self, id))
    }

    fn submissions(&self, keys: Vec<String>) -> Answer<'_, HashMap<String, Submission>> {
        Box::pin(Store::submissions(self, keys))
    }

    fn put_artifact(&self, artifact: NewArtifact) -> Answer<'_, bool> {
        Box::pin(Store::put_artifact(self, artifact))
    }

    fn artifact(&self, digest: Digest) -> Answer<'_, Option<(ArtifactMeta, Bytes)>> {
        Box::pin(Store::artifact(self, digest))
    }

    fn health(&self) -> Health {
        Store::health(self)
    }
}
