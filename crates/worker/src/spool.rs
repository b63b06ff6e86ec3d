//! What a run has said and the engine has not heard yet.

use std::collections::VecDeque;

use parking_lot::Mutex;
use runabout_protocol::{Attempt, Checkpoint, Stream, TaskId, WorkerToServer, frame};
use runabout_sandbox::Observer;
use tokio::sync::Notify;

/// Lines kept apart; further ones are joined to the last of their stream. The sandbox lets a run
/// write 1 MiB in all, but that may be a million lines.
const LINES_MAX: usize = 1_000;

/// Hears a run and keeps what it says until it is taken: of progress and of checkpoints the
/// latest, of output all.
#[derive(Debug)]
pub(crate) struct Spool {
    task: TaskId,
    attempt: Attempt,
    unsaid: Mutex<Unsaid>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Unsaid {
    started: bool,
    lines: VecDeque<(Stream, String)>,
    progress: Option<(f64, Option<String>)>,
    checkpoint: Option<Checkpoint>,
    /// The next line's place among the attempt's lines.
    next_seq: u64,
}

impl Spool {
    pub(crate) fn new(task: TaskId, attempt: Attempt) -> Self {
        Self { task, attempt, unsaid: Mutex::default(), filled: Notify::new() }
    }

    /// Resolves when there may be something to take.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Notes that the run begins.
    pub(crate) fn started(&self) {
        self.add(|unsaid| unsaid.started = true);
    }

    /// Takes everything, as frames in the order they are to be heard.
    pub(crate) fn take(&self) -> Vec<WorkerToServer> {
        let mut unsaid = self.unsaid.lock();
        let (task, attempt) = (self.task, self.attempt);
        let mut frames = Vec::with_capacity(unsaid.lines.len() + 3);
        if std::mem::take(&mut unsaid.started) {
            frames.push(WorkerToServer::Started(frame::Started { task, attempt }));
        }
        for (stream, text) in std::mem::take(&mut unsaid.lines) {
            let seq = unsaid.next_seq;
            unsaid.next_seq += 1;
            frames.push(WorkerToServer::Log(frame::Log { task, attempt, seq, stream, text }));
        }
        if let Some((fraction, message)) = unsaid.progress.take() {
            frames.push(WorkerToServer::Progress(frame::Progress {
                task,
                attempt,
                fraction,
                message,
            }));
        }
        if let Some(checkpoint) = unsaid.checkpoint.take() {
            let kept = frame::Checkpoint::of((task, attempt), checkpoint);
            frames.push(WorkerToServer::Checkpoint(kept));
        }
        frames
    }

    fn add(&self, change: impl FnOnce(&mut Unsaid)) {
        change(&mut self.unsaid.lock());
        self.filled.notify_one();
    }
}

impl Observer for Spool {
    fn log(&self, stream: Stream, text: &str) {
        self.add(|unsaid| unsaid.add_line(stream, text));
    }

    fn progress(&self, fraction: f64, message: Option<&str>) {
        self.add(|unsaid| unsaid.progress = Some((fraction, message.map(str::to_owned))));
    }

    fn checkpoint(&self, checkpoint: Checkpoint) {
        self.add(|unsaid| unsaid.checkpoint = Some(checkpoint));
    }
}

impl Unsaid {
    fn add_line(&mut self, stream: Stream, text: &str) {
        if self.lines.len() >= LINES_MAX {
            // The last two are enough to find one of each stream, once there are more than enough.
            let last = self.lines.iter_mut().rev().take(2).find(|(it, _)| *it == stream);
            if let Some((_, line)) = last {
                line.push('\n');
                line.push_str(text);
                return;
            }
        }
        self.lines.push_back((stream, text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use runabout_protocol::Json;
    use uuid::Uuid;

    use super::*;

    fn spool() -> Spool {
        Spool::new(TaskId(Uuid::nil()), Attempt(1))
    }

    fn lines(spool: &Spool) -> Vec<(u64, String)> {
        let line = |frame| match frame {
            WorkerToServer::Log(frame::Log { seq, text, .. }) => Some((seq, text)),
            _ => None,
        };
        spool.take().into_iter().filter_map(line).collect()
    }

    #[test]
    fn lines_are_numbered_on_from_one_taking_to_the_next() {
        let spool = spool();
        spool.log(Stream::Stdout, "a");
        spool.log(Stream::Stderr, "b");
        assert_eq!(lines(&spool), [(0, "a".to_owned()), (1, "b".to_owned())]);
        assert_eq!(lines(&spool), []);
        spool.log(Stream::Stdout, "c");
        assert_eq!(lines(&spool), [(2, "c".to_owned())]);
    }

    #[test]
    fn of_progress_and_checkpoints_the_latest_is_kept() {
        let spool = spool();
        spool.started();
        for n in 1..=3 {
            spool.progress(f64::from(n), None);
            let state = Json::of(&n).expect("a number has JSON");
            spool.checkpoint(Checkpoint { state, encoding: None });
        }
        let frames = spool.take();
        assert_eq!(frames.len(), 3, "{frames:?}");
        assert!(matches!(frames[0], WorkerToServer::Started(_)));
        assert!(matches!(
            frames[1],
            WorkerToServer::Progress(frame::Progress { fraction: 3.0, .. })
        ));
        let WorkerToServer::Checkpoint(checkpoint) = &frames[2] else {
            panic!("{frames:?}");
        };
        assert_eq!(checkpoint.state.text(), "3");
    }

    #[test]
    fn a_flood_of_lines_is_joined_and_nothing_of_it_is_lost() {
        let spool = spool();
        for n in 0..10 * LINES_MAX {
            spool.log(if n % 2 == 0 { Stream::Stdout } else { Stream::Stderr }, "x");
        }
        let lines = lines(&spool);
        assert_eq!(lines.len(), LINES_MAX);
        let count: usize = lines.iter().map(|(_, text)| text.split('\n').count()).sum();
        assert_eq!(count, 10 * LINES_MAX);
    }
}
