//! Clears up behind the node: finished tasks that are older than they are to be kept, records of
//! submissions, artifacts that nothing names, compiled code that nobody has loaded for long. All of
//! it in small steps, at most half of the time, and always after the node's own work: what is not
//! done in this pass is done in the next.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use jiff::Timestamp;
use runabout_protocol::TaskId;
use runabout_store::{
    Collection, Error, Health, KEPT_UNNAMED, Step, Store, SubmissionWalk, TaskWalk, Write,
};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::events::{Events, Facts};

/// How long a submission's record is kept at least.
const SUBMISSIONS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How often what a pass left behind is looked at again.
const FROM_THE_START_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often artifacts are looked through: it reads every task.
const COLLECT_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// When that is done first. A node that starts has better things to do.
const COLLECT_FIRST_AFTER: Duration = Duration::from_secs(10 * 60);
/// Compiled code that is kept; beyond it, what was not loaded for longest goes.
const COMPILED_BYTES_MAX: u64 = 1 << 30;
/// Compiled code that was loaded since is kept in any case.
const COMPILED_KEPT: Duration = Duration::from_secs(60 * 60);

/// Clears up until it is dropped.
pub struct Janitor {
    store: Store,
    /// Told which tasks are gone.
    events: Arc<Events>,
    /// How long finished tasks are kept; `None` for ever.
    keep: Option<Duration>,
    /// The folder of compiled code.
    compiled: PathBuf,
    tasks: TaskWalk,
    submissions: SubmissionWalk,
    started_over: Instant,
    collect_at: Instant,
}

impl Janitor {
    /// One that keeps finished tasks for so long.
    pub fn new(
        store: Store,
        events: Arc<Events>,
        keep: Option<Duration>,
        compiled: PathBuf,
    ) -> Self {
        let now = Instant::now();
        Self {
            store,
            events,
            keep,
            compiled,
            tasks: TaskWalk::default(),
            submissions: SubmissionWalk::default(),
            started_over: now,
            collect_at: now + COLLECT_FIRST_AFTER,
        }
    }

    /// Clears up until the store writes no more.
    pub async fn run(mut self) {
        let mut passes = interval(self.pass_every());
        passes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.store.health() == Health::Working {
            passes.tick().await;
            if let Err(error) = self.pass().await {
                tracing::warn!(%error, "clearing up goes on later");
            }
        }
    }

    /// Often enough that a task is gone soon after its time.
    fn pass_every(&self) -> Duration {
        let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        self.keep.map_or(longest, |keep| (keep / 10).clamp(shortest, longest))
    }

    async fn pass(&mut self) -> Result<(), Error> {
        if self.started_over.elapsed() >= FROM_THE_START_EVERY {
            (self.tasks, self.submissions) = Default::default();
            self.started_over = Instant::now();
        }
        if let Some(before) = self.keep.and_then(ago) {
            let mut pace = Pace::new();
            let events = Arc::clone(&self.events);
            // Step by step, at the pace of the removal. What is kept for those who listen is bounded:
            // of very many, who does not read as fast is told to begin anew.
            let gone = |tasks: Vec<TaskId>| {
                let writes = tasks.into_iter().map(Write::TaskDeleted).collect();
                events.publish(Facts::Written(Arc::new(writes)));
            };
            while pace.goes_on(self.store.forget_tasks(&mut self.tasks, before, gone).await?).await
            {
            }
            tell("tasks", pace.removed);
        }
        if let Some(before) = ago(SUBMISSIONS_KEPT) {
            let (mut pace, walk) = (Pace::new(), &mut self.submissions);
            while pace.goes_on(self.store.forget_submissions(walk, before).await?).await {}
            tell("records of submissions", pace.removed);
        }
        if Instant::now() >= self.collect_at {
            self.collect_at = Instant::now() + COLLECT_EVERY;
            self.collect().await?;
        }
        Ok(())
    }

    async fn collect(&self) -> Result<(), Error> {
        if let Some(before) = ago(KEPT_UNNAMED) {
            let (mut pace, mut collection) = (Pace::new(), Collection::new(before));
            while pace.goes_on(collection.step(&self.store).await?).await {}
            tell("artifacts", pace.removed);
        }
        let folder = self.compiled.clone();
        let trimming = tokio::task::spawn_blocking(move || {
            trim(&folder, COMPILED_BYTES_MAX, SystemTime::now() - COMPILED_KEPT)
        });
        match trimming.await {
            Ok(Ok(removed)) => tell("pieces of compiled code", removed),
            Ok(Err(error)) => tracing::warn!(%error, "compiled code could not be looked through"),
            Err(error) => tracing::warn!(%error, "looking through compiled code ended early"),
        }
        Ok(())
    }
}

/// `None` for a time before all times.
fn ago(time: Duration) -> Option<Timestamp> {
    let time = jiff::SignedDuration::try_from(time).ok()?;
    Timestamp::now().checked_sub(time).ok()
}

/// Rests as long as each step took.
struct Pace {
    began: Instant,
    removed: u64,
}

impl Pace {
    fn new() -> Self {
        Self { began: Instant::now(), removed: 0 }
    }

    /// Whether another step is to follow, after some rest.
    async fn goes_on(&mut self, step: Step) -> bool {
        self.removed += step.removed;
        if step.more {
            sleep(self.began.elapsed()).await;
            self.began = Instant::now();
        }
        step.more
    }
}

/// What the janitor removes, in the words of its log and of its metric.
pub const REMOVES: [&str; 4] =
    ["tasks", "records of submissions", "artifacts", "pieces of compiled code"];

fn tell(what: &'static str, removed: u64) {
    if removed > 0 {
        tracing::info!(removed, what, "cleared up");
        crate::metrics::cleared_up(what).increment(removed);
    }
}

/// Removes the files that are oldest until those that are left take no more than `bytes_max`, but
/// none that is younger than `before`. Code that is being run stays mapped; what is being loaded
/// and found gone is compiled again.
fn trim(folder: &Path, bytes_max: u64, before: SystemTime) -> io::Result<u64> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // `runabout run` may remove and rename here too.
        let Ok(found) = entry.metadata() else { continue };
        if found.is_file() {
            files.push((found.modified()?, found.len(), entry.path()));
        }
    }
    let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    files.sort();
    let mut removed = 0;
    for (modified, size, path) in files {
        if bytes <= bytes_max || modified >= before {
            break;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
        bytes -= size;
        removed += 1;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_compiled_code_goes_first_and_what_is_young_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        for (name, hours) in [("a", 3), ("b", 9), ("c", 6), ("d", 0)] {
            let path = folder.path().join(name);
            fs::write(&path, [0; 100]).expect("written");
            let file = fs::File::options().append(true).open(&path).expect("opens");
            file.set_modified(now - Duration::from_secs(hours * 3_600)).expect("made old");
        }
        let left = || {
            let entries = fs::read_dir(folder.path()).expect("there");
            let mut names: Vec<_> = entries
                .map(|it| it.expect("read").file_name().into_string().expect("text"))
                .collect();
            names.sort();
            names.concat()
        };
        let hour_ago = now - Duration::from_secs(3_600);
        assert_eq!((trim(folder.path(), 400, hour_ago).ok(), left()), (Some(0), "abcd".to_owned()));
        assert_eq!((trim(folder.path(), 250, hour_ago).ok(), left()), (Some(2), "ad".to_owned()));
        assert_eq!((trim(folder.path(), 0, hour_ago).ok(), left()), (Some(1), "d".to_owned()));
    }

    #[test]
    fn passes_are_as_frequent_as_what_is_kept_is_short_lived() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let every = |keep: Option<u64>| {
            let keep = keep.map(Duration::from_secs);
            let events = Arc::new(Events::new());
            Janitor::new(store.clone(), events, keep, PathBuf::new()).pass_every().as_secs()
        };
        assert_eq!([None, Some(1), Some(100), Some(604_800)].map(every), [60, 1, 10, 60]);
    }
}
