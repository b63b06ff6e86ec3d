//! Stores that do not keep what they promise. The simulation must find them out; else it would
//! prove nothing of those that do.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use runabout_protocol::{Attempt, Digest, Run, Task, TaskId};
use runabout_store::{
    Answer, ArtifactMeta, Health, MemoryStore, NewArtifact, Submission, TaskStore, UnfinishedTask,
    Write,
};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flaw {
    /// Of some commits it says that they are durable, and drops them.
    Forgets,
    /// It says that a commit is durable once it has heard of it.
    AnswersTooSoon,
    /// When a node starts, it shows it all unfinished tasks but the last.
    HidesOne,
}

pub(super) struct Broken {
    disk: MemoryStore,
    flaw: Flaw,
}

impl Broken {
    pub(super) fn new(disk: MemoryStore, flaw: Flaw) -> Self {
        Self { disk, flaw }
    }
}

impl TaskStore for Broken {
    fn commit(&self, writes: Arc<Vec<Write>>) -> Answer<'_, ()> {
        let mut commit = self.disk.commit(Arc::clone(&writes));
        match self.flaw {
            Flaw::Forgets if writes.len().is_multiple_of(3) => Box::pin(async { Ok(()) }),
            Flaw::Forgets | Flaw::HidesOne => commit,
            Flaw::AnswersTooSoon => Box::pin(poll_fn(move |context| {
                // It is on its way; how that ends is not awaited.
                let _ = commit.as_mut().poll(context);
                Poll::Ready(Ok(()))
            })),
        }
    }

    fn unfinished(&self, label: Option<String>) -> Answer<'_, Vec<UnfinishedTask>> {
        Box::pin(async move {
            let mut found = self.disk.unfinished(label).await?;
            if let Flaw::HidesOne = self.flaw {
                found.pop();
            }
            Ok(found)
        })
    }

    fn runs(&self, attempts: Vec<(TaskId, Attempt)>) -> Answer<'_, Vec<Run>> {
        self.disk.runs(attempts)
    }

    fn task(&self, id: TaskId) -> Answer<'_, Option<Task>> {
        self.disk.task(id)
    }

    fn submissions(&self, keys: Vec<String>) -> Answer<'_, HashMap<String, Submission>> {
        self.disk.submissions(keys)
    }

    fn put_artifact(&self, artifact: NewArtifact) -> Answer<'_, bool> {
        self.disk.put_artifact(artifact)
    }

    fn artifact(&self, digest: Digest) -> Answer<'_, Option<(ArtifactMeta, Bytes)>> {
        self.disk.artifact(digest)
    }

    fn health(&self) -> Health {
        self.disk.health()
    }
}
