//! Submissions under a key. They are looked up after everything before them is durable and before
//! anything after them is decided, so that of two that come at once one is the first.

use std::collections::HashMap;
use std::sync::Arc;

use runabout_store::{self as store, Submission, Write};

use super::batch::Answer;
use super::driver::{Driver, Reply};
use super::{Refused, SubmissionKey};

/// One that waits to be looked up.
pub(super) struct Keyed {
    pub(super) tasks: Vec<Arc<store::NewTask>>,
    pub(super) key: SubmissionKey,
    pub(super) reply: Reply,
}

impl Driver {
    /// Takes this turn's submissions under keys: those of the store, and of this turn itself, are
    /// not submitted again.
    pub(super) async fn take_keyed(&mut self) {
        if self.keyed.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.keyed);
        let keys = waiting.iter().map(|it| it.key.key.clone()).collect();
        match self.store.submissions(keys).await {
            Ok(known) => self.submit_unknown(waiting, known),
            Err(error) => {
                let refused = Refused::from(error);
                for Keyed { reply, .. } in waiting {
                    drop(reply.send(Err(refused.clone())));
                }
            }
        }
    }

    fn submit_unknown(&mut self, waiting: Vec<Keyed>, stored: HashMap<String, Submission>) {
        let share = |(key, submission)| (key, Arc::new(submission));
        let mut known: HashMap<String, Arc<Submission>> = stored.into_iter().map(share).collect();
        for Keyed { tasks, key, reply } in waiting {
            if let Some(before) = known.get(&key.key) {
                let refused = if before.fingerprint == key.fingerprint {
                    Refused::SubmittedBefore(before.tasks.clone())
                } else {
                    Refused::KeyReused
                };
                // With this turn's writes: what it names may be among them.
                let answer = Answer { reply, value: Err(refused), submitted: Vec::new() };
                self.batch.answers.push(answer);
                continue;
            }
            let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
            if self.submit(tasks, reply) {
                let SubmissionKey { key, fingerprint } = key;
                let at = self.clock.wall();
                let submission = Arc::new(Submission { key, fingerprint, tasks: ids, at });
                self.batch.writes.push(Write::Submitted(Arc::clone(&submission)));
                known.insert(submission.key.clone(), submission);
            }
        }
    }
}
