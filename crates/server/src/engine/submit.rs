//! What becomes of a submission before the loop sees it.

use std::sync::Arc;

use jiff::Timestamp;
use runabout_protocol::{Attempt, Task, TaskId, TaskState};
use runabout_store::{self as store, NewArtifact, TaskStore, time_text};
use uuid::Uuid;

use super::{NewTask, Refused};

/// What a waiting task takes beside its inputs, roughly.
const TASK_BYTES: usize = 256;

/// Gives the tasks their ids. Large artifacts are stored now, outside the loop: they are files,
/// and one that no task names does no harm. Small ones are written with their task.
pub(super) async fn prepare(
    store: &dyn TaskStore,
    tasks: Vec<NewTask>,
) -> Result<Vec<Arc<store::NewTask>>, Refused> {
    let mut prepared = Vec::with_capacity(tasks.len());
    for task in tasks {
        let mut task = record(task);
        if let Some(large) = task.artifact.take_if(|artifact| !artifact.fits_a_row()) {
            store.put_artifact(large).await?;
        }
        prepared.push(Arc::new(task));
    }
    Ok(prepared)
}

fn record(task: NewTask) -> store::NewTask {
    let queue_bytes = queue_bytes(&task);
    let artifact =
        task.artifact.map(|(bytes, meta)| NewArtifact { digest: task.digest, meta, bytes });
    store::NewTask {
        id: TaskId(Uuid::now_v7()),
        name: task.name,
        function: task.function,
        digest: task.digest,
        artifact,
        language: task.language,
        form: task.form,
        export: task.export,
        args: task.args,
        stdin: task.stdin,
        limits: task.limits,
        surroundings: task.surroundings,
        max_attempts: task.retries.saturating_add(1),
        priority: task.priority,
        queue_bytes,
        labels: task.labels,
        created_at: Timestamp::now(),
        run_at: task.run_at,
    }
}

fn queue_bytes(task: &NewTask) -> u64 {
    let artifact = task.artifact.as_ref().map_or(0, |(bytes, _)| bytes.len());
    let stdin = task.stdin.as_ref().map_or(0, String::len);
    let labels: usize = task.labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    (TASK_BYTES + artifact + stdin + labels + task.args.values.text().len()) as u64
}

/// The task as its submitter sees it.
pub(super) fn as_accepted(task: &store::NewTask) -> Task {
    Task {
        id: task.id,
        name: task.name.clone(),
        state: TaskState::Queued,
        function: task.function.clone(),
        digest: task.digest,
        language: task.language,
        export: task.export.clone(),
        args: task.args.values.clone(),
        args_encoding: task.args.encoding,
        attempt: Attempt(0),
        max_attempts: task.max_attempts,
        lost: 0,
        priority: task.priority,
        place: task.surroundings.place,
        labels: task.labels.clone(),
        created_at: time_text(task.created_at),
        run_at: task.run_at.map(time_text),
        started_at: None,
        finished_at: None,
        worker: None,
        trust: None,
        progress: None,
        outcome: None,
        usage: None,
    }
}
