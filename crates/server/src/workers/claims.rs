//! What a worker says of its attempts, held to the bounds that the node's own sandbox keeps. A
//! worker is not believed: it may have forgotten a limit, or be made to.

use std::collections::HashMap;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runabout_protocol::{
    Attempt, Encoding, ErrorReport, Json, LimitKind, Limits, MemoryScope, Outcome, Returned, Run,
    TaskId, Usage, WorkerToServer, frame,
};
use runabout_sandbox::{
    CHECKPOINT_BYTES_MAX, MESSAGE_BYTES_MAX, OUTPUT_BYTES_MAX, RESULT_BYTES_MAX, result_too_large,
};

/// The longest name of an error that a run threw; what is longer is cut.
const ERROR_NAME_BYTES_MAX: usize = 256;
/// The same of its message.
const ERROR_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// The same of its stack.
const ERROR_STACK_BYTES_MAX: usize = 128 << 10;

/// What a session was sent and has not said to have finished.
#[derive(Debug, Default)]
pub struct Claims {
    held: HashMap<(TaskId, Attempt), Held>,
}

#[derive(Debug)]
struct Held {
    limits: Limits,
    sent_at: Instant,
    output_bytes: usize,
    output_truncated: bool,
    /// Lines are numbered as they arrive: their order is known, whatever is said of it.
    next_seq: u64,
}

/// What becomes of a frame.
#[derive(Debug, PartialEq)]
pub enum Claim {
    /// It is handed on, as it is or cut.
    Heard(WorkerToServer),
    /// There was more output than is kept.
    Dropped,
    /// It is about an attempt that this session was not sent, or has finished.
    Foreign,
    /// It says what cannot be.
    Unfit,
}

impl Claims {
    /// The session is about to be sent an attempt.
    pub fn sent(&mut self, run: &Run, now: Instant) {
        self.holds((run.task, run.attempt), run.limits, now);
    }

    /// The session has an attempt from now on.
    pub fn holds(&mut self, attempt: (TaskId, Attempt), limits: Limits, now: Instant) {
        let held =
            Held { limits, sent_at: now, output_bytes: 0, output_truncated: false, next_seq: 0 };
        self.held.insert(attempt, held);
    }

    /// The session said this about an attempt.
    pub fn said(&mut self, frame: WorkerToServer, now: Instant) -> Claim {
        let Some(key) = frame.attempt() else { return Claim::Heard(frame) };
        let Some(held) = self.held.get_mut(&key) else { return Claim::Foreign };
        match frame {
            WorkerToServer::Progress(progress) => {
                Claim::Heard(WorkerToServer::Progress(bounded_progress(progress)))
            }
            WorkerToServer::Log(log) => held.log(log),
            WorkerToServer::Checkpoint(kept) if fits(&kept) => {
                Claim::Heard(WorkerToServer::Checkpoint(kept))
            }
            WorkerToServer::Checkpoint(_) => Claim::Unfit,
            WorkerToServer::Finished(finished) => {
                let finished = held.finished(finished, now);
                self.held.remove(&key);
                Claim::Heard(WorkerToServer::Finished(finished))
            }
            frame => Claim::Heard(frame),
        }
    }
}

impl Held {
    fn log(&mut self, mut log: frame::Log) -> Claim {
        let left = OUTPUT_BYTES_MAX - self.output_bytes;
        if log.text.len() > left || left == 0 {
            self.output_truncated = true;
        }
        if left == 0 {
            return Claim::Dropped;
        }
        cut(&mut log.text, left);
        self.output_bytes += (log.text.len() + 1).min(left);
        log.seq = self.next_seq;
        self.next_seq += 1;
        Claim::Heard(WorkerToServer::Log(log))
    }

    fn finished(&self, said: frame::Finished, now: Instant) -> frame::Finished {
        let frame::Finished { outcome, usage, output_truncated, .. } = said;
        let elapsed_ms = now.duration_since(self.sent_at).as_secs_f64() * 1_000.0;
        frame::Finished {
            outcome: bounded_outcome(outcome, self.limits),
            usage: bounded_usage(&usage, elapsed_ms),
            output_truncated: output_truncated || self.output_truncated,
            ..said
        }
    }
}

fn bounded_progress(mut progress: frame::Progress) -> frame::Progress {
    progress.fraction = progress.fraction.clamp(0.0, 1.0);
    if let Some(message) = &mut progress.message {
        cut(message, MESSAGE_BYTES_MAX);
    }
    progress
}

fn fits(kept: &frame::Checkpoint) -> bool {
    let length = match kept.state_encoding {
        None => Some(kept.state.text().len()),
        Some(Encoding::Base64) => decoded_length(&kept.state),
    };
    length.is_some_and(|length| length <= CHECKPOINT_BYTES_MAX)
}

/// How many bytes a string of base64 stands for, if the value is one.
fn decoded_length(value: &Json) -> Option<usize> {
    let text: std::borrow::Cow<'_, str> = value.read().ok()?;
    STANDARD.decode(text.as_bytes()).ok().map(|bytes| bytes.len())
}

fn bounded_outcome(outcome: Outcome, limits: Limits) -> Outcome {
    match outcome {
        Outcome::Returned(returned) => bounded_value(returned),
        Outcome::Threw(error) => Outcome::Threw(bounded_error(error)),
        Outcome::TimedOut { limit, .. } => {
            let limit_ms = match limit {
                LimitKind::Wall => limits.timeout_ms,
                LimitKind::Cpu => limits.cpu_ms,
            };
            Outcome::TimedOut { limit, limit_ms }
        }
        Outcome::OutOfMemory { scope: MemoryScope::Run, .. } => {
            let scope = MemoryScope::Run;
            Outcome::OutOfMemory { limit_bytes: limits.memory_bytes, scope }
        }
        outcome @ (Outcome::OutOfMemory { .. } | Outcome::Cancelled | Outcome::Lost { .. }) => {
            outcome
        }
    }
}

fn bounded_value(returned: Returned) -> Outcome {
    let length = match returned.encoding {
        None => Some(returned.value.text().len()),
        Some(Encoding::Base64) => decoded_length(&returned.value),
    };
    match length {
        Some(length) if length <= RESULT_BYTES_MAX => Outcome::Returned(returned),
        Some(_) => result_too_large(),
        None => Outcome::threw("TypeError", "the result is said to be base64 and is not"),
    }
}

fn bounded_error(mut error: ErrorReport) -> ErrorReport {
    cut(&mut error.name, ERROR_NAME_BYTES_MAX);
    cut(&mut error.message, ERROR_MESSAGE_BYTES_MAX);
    if let Some(stack) = &mut error.stack {
        cut(stack, ERROR_STACK_BYTES_MAX);
    }
    error
}

/// A run took no longer than it was away, and used no more processors than there are.
fn bounded_usage(said: &Usage, elapsed_ms: f64) -> Usage {
    /// Threads of one run; none has more than one, and a clock may be a little off.
    const PROCESSORS_MAX: f64 = 2.0;
    Usage {
        cpu_ms: said.cpu_ms.map(|ms| ms.clamp(0.0, elapsed_ms * PROCESSORS_MAX)),
        wall_ms: said.wall_ms.clamp(0.0, elapsed_ms),
        memory_peak_bytes: said.memory_peak_bytes,
        ran_on: None,
    }
}

fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
}

#[cfg(test)]
mod tests {
    use runabout_protocol::{Arguments, Digest, Language, Stream, Surroundings};
    use uuid::Uuid;

    use super::*;

    const KEY: (TaskId, Attempt) = (TaskId(Uuid::nil()), Attempt(1));

    fn claims(now: Instant) -> Claims {
        let mut claims = Claims::default();
        let run = Run {
            task: KEY.0,
            attempt: KEY.1,
            artifact: Digest([0; 32]),
            language: Language::Js,
            form: None,
            export: None,
            args: Arguments::none(),
            stdin: None,
            limits: Limits { timeout_ms: 7, cpu_ms: 8, memory_bytes: 9 },
            checkpoint: None,
            surroundings: Surroundings::default(),
        };
        claims.sent(&run, now);
        claims
    }

    fn log(text: &str) -> WorkerToServer {
        let (task, attempt) = KEY;
        let text = text.to_owned();
        WorkerToServer::Log(frame::Log { task, attempt, seq: 99, stream: Stream::Stdout, text })
    }

    fn finished(outcome: Outcome, usage: Usage) -> WorkerToServer {
        let (task, attempt) = KEY;
        let output_truncated = false;
        WorkerToServer::Finished(frame::Finished {
            task,
            attempt,
            outcome,
            usage,
            output_truncated,
        })
    }

    /// What is heard of an outcome.
    fn heard(outcome: Outcome) -> Outcome {
        let now = Instant::now();
        match claims(now).said(finished(outcome, Usage::default()), now) {
            Claim::Heard(WorkerToServer::Finished(finished)) => finished.outcome,
            other => panic!("{other:?}"),
        }
    }

    fn returned(value: Json, encoding: Option<Encoding>) -> Outcome {
        Outcome::Returned(Returned { value, encoding })
    }

    #[test]
    fn output_is_kept_up_to_its_bound_and_numbered_as_it_comes() {
        let now = Instant::now();
        let mut claims = claims(now);
        let half = "x".repeat(OUTPUT_BYTES_MAX / 2);
        let lengths: Vec<_> = (0..4)
            .map(|n| match claims.said(log(&half), now) {
                Claim::Heard(WorkerToServer::Log(log)) => {
                    assert_eq!(log.seq, n);
                    log.text.len()
                }
                Claim::Dropped => 0,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lengths, [half.len(), half.len() - 1, 0, 0]);
        let end = claims.said(finished(Outcome::Cancelled, Usage::default()), now);
        let Claim::Heard(WorkerToServer::Finished(end)) = end else { panic!("{end:?}") };
        assert!(end.output_truncated);
    }

    #[test]
    fn an_attempt_is_spoken_of_from_when_it_was_sent_to_when_it_has_finished() {
        let now = Instant::now();
        let mut claims = claims(now);
        let started = |attempt| {
            let (task, attempt) = (KEY.0, Attempt(attempt));
            WorkerToServer::Started(frame::Started { task, attempt })
        };
        assert_eq!(claims.said(started(2), now), Claim::Foreign);
        assert_eq!(claims.said(started(1), now), Claim::Heard(started(1)));
        claims.said(finished(Outcome::Cancelled, Usage::default()), now);
        assert_eq!(claims.said(started(1), now), Claim::Foreign);
        assert!(claims.held.is_empty());
    }

    #[test]
    fn results_that_are_too_large_or_no_base64_are_errors() {
        let large = Json::string(&"x".repeat(RESULT_BYTES_MAX));
        assert_eq!(heard(returned(large, None)), result_too_large());
        let bytes = Some(Encoding::Base64);
        assert_eq!(heard(returned(Json::string("%"), bytes)).kind(), "threw");
        assert_eq!(heard(returned(Json::null(), bytes)).kind(), "threw");
        let good = returned(Json::string("aGk="), bytes);
        assert_eq!(heard(good.clone()), good);
    }

    #[test]
    fn limits_are_those_that_were_sent() {
        let timed_out = |limit, limit_ms| Outcome::TimedOut { limit, limit_ms };
        assert_eq!(heard(timed_out(LimitKind::Wall, 1)), timed_out(LimitKind::Wall, 7));
        assert_eq!(heard(timed_out(LimitKind::Cpu, 1)), timed_out(LimitKind::Cpu, 8));
        let scope = MemoryScope::Run;
        let expected = Outcome::OutOfMemory { limit_bytes: 9, scope };
        assert_eq!(heard(Outcome::OutOfMemory { limit_bytes: 1, scope }), expected);
    }

    #[test]
    fn errors_are_cut_between_characters() {
        let error = ErrorReport {
            name: "ü".repeat(200),
            message: String::new(),
            stack: Some("ü".repeat(ERROR_STACK_BYTES_MAX)),
        };
        let Outcome::Threw(error) = heard(Outcome::Threw(error)) else { panic!("it threw") };
        assert_eq!(error.name.len(), ERROR_NAME_BYTES_MAX);
        assert_eq!(error.stack.map(|stack| stack.len()), Some(ERROR_STACK_BYTES_MAX));
    }

    #[test]
    fn usage_is_no_more_than_can_be_and_says_nothing_of_the_place() {
        let now = Instant::now();
        let later = now + std::time::Duration::from_millis(100);
        let usage = Usage {
            cpu_ms: Some(1e300),
            wall_ms: -5.0,
            memory_peak_bytes: None,
            ran_on: Some("me".to_owned()),
        };
        let end = claims(now).said(finished(Outcome::Cancelled, usage), later);
        let Claim::Heard(WorkerToServer::Finished(end)) = end else { panic!("{end:?}") };
        let expected = Usage { cpu_ms: Some(200.0), wall_ms: 0.0, ..Usage::default() };
        assert_eq!(end.usage, expected);
    }

    #[test]
    fn a_checkpoint_has_its_bound_and_progress_its_range() {
        let now = Instant::now();
        let (task, attempt) = KEY;
        let keep = |state, state_encoding| {
            let kept = frame::Checkpoint { task, attempt, state, state_encoding };
            claims(now).said(WorkerToServer::Checkpoint(kept), now)
        };
        assert_eq!(keep(Json::string(&"x".repeat(CHECKPOINT_BYTES_MAX)), None), Claim::Unfit);
        assert_eq!(keep(Json::string("%"), Some(Encoding::Base64)), Claim::Unfit);
        assert!(matches!(keep(Json::null(), None), Claim::Heard(_)));
        let message = Some("x".repeat(5_000));
        let progress = frame::Progress { task, attempt, fraction: 1e9, message };
        let heard = claims(now).said(WorkerToServer::Progress(progress), now);
        let Claim::Heard(WorkerToServer::Progress(progress)) = heard else { panic!("{heard:?}") };
        let length = progress.message.map(|message| message.len());
        assert_eq!((progress.fraction, length), (1.0, Some(MESSAGE_BYTES_MAX)));
    }
}
