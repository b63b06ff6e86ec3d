//! What the engine relies on, whatever store it is given. Each fact is held by every store.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use runabout_protocol::{
    Attempt, Digest, Form, Limits, Outcome, Progress, Task, TaskId, TaskState, Trust,
};
use runabout_store::{
    Error, Health, MemoryStore, NewTask, ROW_BYTES_MAX, Store, Submission, TaskStore, Write,
};
use tempfile::TempDir;

use crate::fixtures::{
    artifact, at, attempt_ended, began, checkpoint, ended, id, log, new_task, returned,
};

/// A store under test, and how it is closed and opened again.
trait Subject: Sized {
    fn new() -> Self;
    fn reopen(self) -> Self;
    fn store(&self) -> &dyn TaskStore;

    async fn commit(&self, writes: Vec<Write>) {
        self.store().commit(Arc::new(writes)).await.expect("committed");
    }

    async fn accept(&self, tasks: impl IntoIterator<Item = NewTask>) {
        self.commit(tasks.into_iter().map(accepted).collect()).await;
    }

    async fn task(&self, n: u128) -> Task {
        self.store().task(id(n)).await.expect("read").expect("there")
    }

    /// The tasks that have not ended, in their order.
    async fn waiting(&self) -> Vec<TaskId> {
        let found = self.store().unfinished(None).await.expect("read");
        found.iter().map(|it| it.id).collect()
    }
}

struct InAFile {
    dir: TempDir,
    store: Store,
}

impl Subject for InAFile {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { store: Store::open(dir.path()).expect("opens"), dir }
    }

    fn reopen(self) -> Self {
        let Self { dir, store } = self;
        drop(store);
        Self { store: Store::open(dir.path()).expect("opens"), dir }
    }

    fn store(&self) -> &dyn TaskStore {
        &self.store
    }
}

struct InMemory(MemoryStore);

impl Subject for InMemory {
    fn new() -> Self {
        Self(MemoryStore::new())
    }

    fn reopen(self) -> Self {
        Self(self.0.after_crash(false))
    }

    fn store(&self) -> &dyn TaskStore {
        &self.0
    }
}

/// A test of each fact for each store. A macro, so that each has a name that says both.
macro_rules! contract {
    ($($fact:ident,)*) => {
        mod in_a_file {
            $(#[tokio::test]
            async fn $fact() {
                super::$fact::<super::InAFile>().await;
            })*
        }

        mod in_memory {
            $(#[tokio::test]
            async fn $fact() {
                super::$fact::<super::InMemory>().await;
            })*
        }
    };
}

contract! {
    an_accepted_task_is_there_after_a_restart,
    a_running_task_shows_its_latest_attempt,
    a_finished_task_shows_its_outcome_and_use,
    a_failed_attempt_is_no_outcome_of_a_task_that_is_tried_again,
    a_deleted_task_is_gone_and_late_facts_about_it_write_nothing,
    a_late_line_of_output_or_checkpoint_of_a_gone_task_is_no_error,
    an_attempt_is_sent_with_the_checkpoint_of_an_earlier_one,
    unfinished_tasks_are_found_in_the_order_of_submission,
    unfinished_tasks_come_with_their_value_of_the_label_that_was_asked_for,
    an_artifact_comes_with_its_task,
    a_submission_is_known_by_its_key_after_a_restart,
    artifacts_are_read_back_whether_small_or_large,
    a_commit_is_applied_as_a_whole_or_not_at_all,
    a_refused_commit_takes_no_other_with_it,
    a_commit_stands_though_nobody_waits_for_it,
    an_empty_commit_is_no_error,
}

fn accepted(task: NewTask) -> Write {
    Write::TaskAccepted(Arc::new(task))
}

async fn an_accepted_task_is_there_after_a_restart<S: Subject>() {
    let world = S::new();
    let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    let run_at = Some(at(60));
    let fib = Some("fib@1".to_owned());
    world.accept([NewTask { labels, run_at, function: fib, ..new_task(1) }]).await;

    let world = world.reopen();
    let task = world.task(1).await;
    assert_eq!(task.state, TaskState::Queued);
    assert_eq!(task.args.text(), "[34, 12345678901234567890]");
    assert_eq!((task.max_attempts, task.priority, task.attempt), (3, -2, Attempt(0)));
    assert_eq!(task.created_at, "2023-11-14T22:13:20.000Z");
    assert_eq!(task.run_at.as_deref(), Some("2023-11-14T22:14:20.000Z"));
    assert_eq!(task.function.as_deref(), Some("fib@1"));
    assert_eq!(task.labels["team"], "a");
    assert_eq!((task.outcome, task.worker, task.progress), (None, None, None));
    assert_eq!(world.store().task(id(2)).await, Ok(None));
}

async fn a_running_task_shows_its_latest_attempt<S: Subject>() {
    let world = S::new();
    world.accept([new_task(1)]).await;
    let progress = Progress { fraction: 0.5, message: Some("half".to_owned()) };
    let said = Write::Progress { task: id(1), progress: progress.clone() };
    world.commit(vec![began(1, 1), said]).await;

    let task = world.task(1).await;
    assert_eq!((task.state, task.attempt), (TaskState::Running, Attempt(1)));
    assert_eq!(task.worker.as_deref(), Some("worker"));
    assert_eq!(task.trust, Some(Trust::Node));
    assert_eq!(task.started_at.as_deref(), Some("2023-11-14T22:13:21.000Z"));
    assert_eq!(task.progress, Some(progress));

    world.commit(vec![began(1, 2)]).await;
    let task = world.task(1).await;
    assert_eq!((task.attempt, task.progress), (Attempt(2), None), "that was the other attempt's");
}

async fn a_finished_task_shows_its_outcome_and_use<S: Subject>() {
    let world = S::new();
    world.accept([new_task(1)]).await;
    let end = ended(1, TaskState::Succeeded, None);
    world.commit(vec![began(1, 1), attempt_ended(1, 1, returned("5702887")), end]).await;

    let world = world.reopen();
    let task = world.task(1).await;
    assert_eq!(task.state, TaskState::Succeeded);
    assert_eq!(task.outcome, Some(returned("5702887")));
    assert_eq!(task.usage.and_then(|usage| usage.cpu_ms), Some(1.5));
    assert_eq!(task.finished_at.as_deref(), Some("2023-11-14T22:13:23.000Z"));
}

async fn a_failed_attempt_is_no_outcome_of_a_task_that_is_tried_again<S: Subject>() {
    let world = S::new();
    world.accept([new_task(1)]).await;
    let threw = Outcome::threw("Error", "no");
    let queued = Write::TaskQueued { task: id(1), ready_at: at(9), failures: 1, lost: 0 };
    world.commit(vec![began(1, 1), attempt_ended(1, 1, threw), queued]).await;
    let task = world.task(1).await;
    assert_eq!((task.state, task.outcome, task.usage), (TaskState::Queued, None, None));

    let cancelled = ended(1, TaskState::Cancelled, Some(Outcome::Cancelled));
    world.commit(vec![cancelled]).await;
    let task = world.task(1).await;
    assert_eq!((task.outcome, task.usage), (Some(Outcome::Cancelled), None));
}

async fn a_deleted_task_is_gone_and_late_facts_about_it_write_nothing<S: Subject>() {
    let world = S::new();
    world.accept([new_task(1), new_task(2)]).await;
    world.commit(vec![began(1, 1), Write::TaskDeleted(id(1))]).await;
    let queued = Write::TaskQueued { task: id(1), ready_at: at(9), failures: 1, lost: 0 };
    let late = [attempt_ended(1, 1, returned("1")), queued, began(1, 2), Write::TaskDeleted(id(1))];
    world.commit(late.into()).await;
    world.commit(vec![ended(1, TaskState::Failed, None)]).await;

    let world = world.reopen();
    assert_eq!(world.store().task(id(1)).await, Ok(None));
    assert_eq!(world.waiting().await, [id(2)]);
    let runs = world.store().runs(vec![(id(1), Attempt(2))]).await.expect("read");
    assert_eq!(runs, []);
}

async fn a_late_line_of_output_or_checkpoint_of_a_gone_task_is_no_error<S: Subject>() {
    let world = S::new();
    let state = Write::Checkpoint { task: id(1), checkpoint: checkpoint("1") };
    let progress = Progress { fraction: 0.5, message: None };
    let truncated = Write::OutputTruncated { task: id(1), attempt: Attempt(1) };
    let said = Write::Progress { task: id(1), progress };
    world.commit(vec![log(1, 1, 0, "x"), state, said, truncated]).await;
    assert_eq!(world.store().task(id(1)).await, Ok(None));
}

async fn an_attempt_is_sent_with_the_checkpoint_of_an_earlier_one<S: Subject>() {
    let world = S::new();
    world.accept([new_task(1)]).await;
    let write = |text| Write::Checkpoint { task: id(1), checkpoint: checkpoint(text) };
    world.commit(vec![began(1, 1), write("1"), write("2")]).await;

    let asked = vec![(id(1), Attempt(2)), (id(9), Attempt(1))];
    let runs = world.store().runs(asked).await.expect("read");
    assert_eq!(runs.len(), 1, "the other is gone");
    assert_eq!(runs[0].checkpoint, Some(checkpoint("2")));
    assert_eq!(runs[0].attempt, Attempt(2));
    assert_eq!(runs[0].args, new_task(1).args);
    assert_eq!(runs[0].stdin.as_deref(), Some("in"));
    assert_eq!((runs[0].form, runs[0].limits), (Some(Form::Module), Limits::default()));

    world.commit(vec![ended(1, TaskState::Failed, None)]).await;
    let runs = world.store().runs(vec![(id(1), Attempt(3))]).await.expect("read");
    assert_eq!(runs[0].checkpoint, None, "it goes when the task has ended");
}

async fn unfinished_tasks_are_found_in_the_order_of_submission<S: Subject>() {
    let world = S::new();
    world.accept([new_task(3), new_task(1), new_task(2)]).await;
    let queued = Write::TaskQueued { task: id(1), ready_at: at(9), failures: 1, lost: 2 };
    world.commit(vec![began(3, 1), began(1, 1), queued, began(2, 1)]).await;
    world.commit(vec![ended(2, TaskState::Succeeded, None)]).await;

    let world = world.reopen();
    let found = world.store().unfinished(None).await.expect("read");
    let ids: Vec<_> = found.iter().map(|it| (it.id, it.running)).collect();
    assert_eq!(ids, [(id(3), true), (id(1), false)]);
    assert_eq!((found[1].failures, found[1].lost), (1, 2));
    assert_eq!((found[1].ready_at, found[1].attempt), (at(9), Attempt(1)));
    assert_eq!((found[0].queue_bytes, found[0].timeout_ms), (77, 30_000));
    assert_eq!((found[0].max_attempts, found[0].priority), (3, -2));
}

async fn unfinished_tasks_come_with_their_value_of_the_label_that_was_asked_for<S: Subject>() {
    let world = S::new();
    let labelled = |n, key: &str, value: &str| {
        let labels = [(key.to_owned(), value.to_owned()), ("other".to_owned(), "x".to_owned())];
        NewTask { labels: labels.into(), ..new_task(n) }
    };
    let quoted = "it's \"$.a\"";
    let tasks = [new_task(1), labelled(2, "team", ""), labelled(3, quoted, "b")];
    world.accept(tasks).await;

    let values = async |label: Option<&str>| -> Vec<Option<String>> {
        let found = world.store().unfinished(label.map(str::to_owned)).await.expect("read");
        found.into_iter().map(|it| it.label).collect()
    };
    assert_eq!(values(None).await, [None, None, None]);
    assert_eq!(values(Some("team")).await, [None, Some(String::new()), None]);
    assert_eq!(values(Some(quoted)).await, [None, None, Some("b".to_owned())]);
}

async fn a_submission_is_known_by_its_key_after_a_restart<S: Subject>() {
    let subject = S::new();
    let submission = Submission {
        key: "key".to_owned(),
        fingerprint: [7; 32],
        tasks: vec![id(1), id(2)],
        at: at(5),
    };
    let submitted = Write::Submitted(Arc::new(submission.clone()));
    subject.commit(vec![accepted(new_task(1)), accepted(new_task(2)), submitted]).await;
    let subject = subject.reopen();
    let keys = vec!["other".to_owned(), "key".to_owned()];
    let found = subject.store().submissions(keys).await.expect("read");
    assert_eq!(found, HashMap::from([("key".to_owned(), submission)]));
}

async fn an_artifact_comes_with_its_task<S: Subject>() {
    let world = S::new();
    let it = artifact(7, 10);
    let with = |n| NewTask { artifact: Some(it.clone()), ..new_task(n) };
    world.accept([with(1), with(2)]).await;
    let world = world.reopen();
    let found = world.store().artifact(it.digest).await.expect("read");
    assert_eq!(found, Some((it.meta.clone(), Bytes::from(vec![7; 10]))));
}

async fn artifacts_are_read_back_whether_small_or_large<S: Subject>() {
    let world = S::new();
    for (byte, len) in [(1, ROW_BYTES_MAX), (2, ROW_BYTES_MAX + 1)] {
        let it = artifact(byte, len);
        assert_eq!(world.store().put_artifact(it.clone()).await, Ok(true));
        assert_eq!(world.store().put_artifact(it.clone()).await, Ok(false));
        let found = world.store().artifact(it.digest).await.expect("read");
        assert_eq!(found, Some((it.meta, it.bytes)));
    }
    assert_eq!(world.store().artifact(Digest([9; 32])).await, Ok(None));
}

async fn a_commit_is_applied_as_a_whole_or_not_at_all<S: Subject>() {
    let world = S::new();
    world.accept([new_task(1)]).await;
    let end = ended(1, TaskState::Failed, None);
    let writes = vec![accepted(new_task(2)), end, Write::TaskDeleted(id(3)), accepted(new_task(2))];
    let refused = world.store().commit(Arc::new(writes)).await;
    assert!(matches!(refused, Err(Error::Other { .. })), "{refused:?}");

    let world = world.reopen();
    assert_eq!(world.waiting().await, [id(1)]);
    assert_eq!(world.store().health(), Health::Working);
}

async fn a_refused_commit_takes_no_other_with_it<S: Subject>() {
    let world = S::new();
    world.accept([new_task(1)]).await;
    let others = (2..20).map(|n| vec![accepted(new_task(n))]);
    let again = vec![accepted(new_task(1))];
    let commits = others.chain([again]).map(|writes| world.store().commit(Arc::new(writes)));
    let mut results = futures::future::join_all(commits).await;
    assert!(matches!(results.pop(), Some(Err(Error::Other { .. }))));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(world.waiting().await, (1..20).map(id).collect::<Vec<_>>());
}

async fn a_commit_stands_though_nobody_waits_for_it<S: Subject>() {
    let world = S::new();
    let mut commit = world.store().commit(Arc::new(vec![accepted(new_task(1))]));
    poll_fn(|context| {
        // Asked for, and whatever it says is not heard.
        let _ = commit.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    drop(commit);
    world.accept([new_task(2)]).await;
    assert_eq!(world.reopen().waiting().await, [id(1), id(2)]);
}

async fn an_empty_commit_is_no_error<S: Subject>() {
    let world = S::new();
    world.commit(Vec::new()).await;
    assert_eq!(world.waiting().await, []);
}
