//! What surrounds a call's run: the gate that bounds how many run and wait, and the tail of output
//! that is shown when something goes wrong. Knows nothing of HTTP.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use runabout_protocol::{Checkpoint, Stream};
use runabout_sandbox::Observer;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls that run at once.
const CALLS_MAX: usize = 256;
/// Calls that wait for their turn; more hear 503.
const WAITING_MAX: u32 = 1024;
/// How much of a call's output is kept.
const TAIL_BYTES_MAX: usize = 8 << 10;

/// Lets a bounded number of calls through.
pub struct Gate {
    turns: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// As many calls wait as may.
pub struct Full;

impl Default for Gate {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(CALLS_MAX)), waiting: AtomicU32::new(0) }
    }
}

impl Gate {
    /// Calls that run, and calls that wait, at this moment.
    pub fn load(&self) -> (usize, usize) {
        let running = CALLS_MAX - self.turns.available_permits();
        (running, self.waiting.load(Ordering::Relaxed) as usize)
    }

    /// A turn, if there is one at once.
    pub fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turns).try_acquire_owned().ok()
    }

    /// Waits for a turn; the call runs until the permit is dropped.
    ///
    /// # Errors
    /// Too many wait already.
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(turn) = self.turns.clone().try_acquire_owned() {
            return Ok(turn);
        }
        let _waiting = Waiting::begin(&self.waiting).ok_or(Full)?;
        self.turns.clone().acquire_owned().await.map_err(|_| Full)
    }
}

/// Counts a waiting call until it is dropped, be it because the caller hung up.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicU32) -> Option<Self> {
        if count.fetch_add(1, Ordering::Relaxed) < WAITING_MAX {
            return Some(Self(count));
        }
        count.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps the last lines a run wrote.
#[derive(Default)]
pub struct Tail {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Line>,
    /// The sum of the lines' lengths, line ends counted; at most [`TAIL_BYTES_MAX`].
    bytes: usize,
    /// Something was written before them.
    is_cut: bool,
}

/// A line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Where it was written.
    pub stream: Stream,
    /// What was written, without a line end.
    pub text: String,
}

impl Tail {
    /// The lines, oldest first.
    pub fn lines(&self) -> Vec<Line> {
        self.kept.lock().lines.iter().cloned().collect()
    }

    /// Whether there was more before them.
    pub fn is_cut(&self) -> bool {
        self.kept.lock().is_cut
    }

    /// The lines as one text.
    pub fn text(&self) -> String {
        let kept = self.kept.lock();
        let mut text = String::with_capacity(kept.bytes);
        for line in &kept.lines {
            text.push_str(&line.text);
            text.push('\n');
        }
        text
    }
}

impl Observer for Tail {
    fn log(&self, stream: Stream, text: &str) {
        let end = last_of(text, TAIL_BYTES_MAX - 1);
        let mut kept = self.kept.lock();
        kept.is_cut |= end.len() < text.len();
        let text = end.to_owned();
        kept.bytes += text.len() + 1;
        kept.lines.push_back(Line { stream, text });
        while kept.bytes > TAIL_BYTES_MAX {
            let Some(oldest) = kept.lines.pop_front() else { break };
            kept.bytes -= oldest.text.len() + 1;
            kept.is_cut = true;
        }
    }

    fn progress(&self, _fraction: f64, _message: Option<&str>) {}

    fn checkpoint(&self, _checkpoint: Checkpoint) {}
}

/// The end of `text`, at most `bytes_max` of it, beginning with a whole character.
fn last_of(text: &str, bytes_max: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept() {
        let tail = Tail::default();
        tail.log(Stream::Stdout, "all of it");
        assert!(!tail.is_cut());
        for n in 0..2000 {
            tail.log(Stream::Stdout, &format!("line {n:04}"));
        }
        let text = tail.text();
        assert!(text.len() <= TAIL_BYTES_MAX && text.len() > TAIL_BYTES_MAX - 10);
        assert!(text.ends_with("line 1999\n") && text.starts_with("line "));
        assert!(tail.is_cut());
    }

    #[test]
    fn a_line_longer_than_the_tail_keeps_its_end() {
        let tail = Tail::default();
        tail.log(Stream::Stderr, &"ä".repeat(TAIL_BYTES_MAX));
        let lines = tail.lines();
        assert_eq!(lines.len(), 1);
        assert!(lines[0].text.len() < TAIL_BYTES_MAX);
        assert!(tail.is_cut());
    }

    #[tokio::test]
    async fn beyond_those_that_may_wait_calls_are_refused() {
        let gate = Gate::default();
        let mut turns = Vec::new();
        for _ in 0..CALLS_MAX {
            turns.push(gate.enter().await.ok());
        }
        gate.waiting.store(WAITING_MAX, Ordering::Relaxed);
        assert!(gate.enter().await.is_err());
        turns.pop();
        assert!(gate.enter().await.is_ok());
    }
}
