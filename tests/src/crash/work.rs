//! What tasks do, and which ends are right for them.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::random::Random;

/// Attempts a task may lose before it is given up.
const LOST_MAX: u64 = 5;

/// What one task does.
#[derive(Clone, Debug)]
enum Kind {
    /// JavaScript that returns at once.
    Quick,
    /// JavaScript that keeps its thread busy.
    Busy { ms: u64 },
    /// JavaScript that waits and keeps checkpoints.
    Checkpointed { steps: u64 },
    /// Source that fills the write-ahead log.
    Large,
    /// JavaScript that throws in its first attempt, if that is not lost before.
    ThrowsFirst,
    /// JavaScript that throws in every attempt.
    ThrowsAlways,
    /// Wasm.
    Fib { n: u64 },
}

/// A task that is to be submitted.
#[derive(Clone, Debug)]
pub(super) struct Work {
    kind: Kind,
    value: u64,
    retries: u64,
    priority: i64,
    run_at: Option<Timestamp>,
}

impl Work {
    /// Draws a task; a heavy one writes much.
    pub(super) fn draw(random: &mut Random, heavy: bool) -> Self {
        let kind = match random.below(100) {
            _ if heavy => Kind::Large,
            0..40 => Kind::Quick,
            40..55 => Kind::Busy { ms: random.below(30) },
            55..65 => Kind::Checkpointed { steps: random.below(10) },
            65..70 => Kind::Large,
            70..75 => Kind::ThrowsFirst,
            75..80 => Kind::ThrowsAlways,
            _ => Kind::Fib { n: random.below(25) },
        };
        let retries = match kind {
            Kind::ThrowsFirst => 1 + random.below(2),
            Kind::ThrowsAlways => random.below(2),
            _ => 0,
        };
        // In whole milliseconds, as times are kept.
        let run_at_ms = Timestamp::now().as_millisecond() + random.below(800) as i64;
        Self {
            kind,
            value: random.below(1 << 32),
            retries,
            priority: random.below(10) as i64 - 5,
            run_at: Timestamp::from_millisecond(run_at_ms).ok().filter(|_| random.percent(15)),
        }
    }

    /// The request that submits it.
    pub(super) fn request(&self, name: &str) -> Value {
        let mut request = match &self.kind {
            Kind::Fib { n } => json!({"function": "fib", "args": [n]}),
            kind => json!({"source": self.source(kind), "args": [self.value]}),
        };
        request["name"] = name.into();
        request["retries"] = self.retries.into();
        request["priority"] = self.priority.into();
        if let Some(run_at) = self.run_at {
            request["run_at"] = run_at.to_string().into();
        }
        request
    }

    /// Every one returns its argument and the number of its attempt, so that a result from another
    /// task or another attempt does not pass for its own.
    fn source(&self, kind: &Kind) -> String {
        let body = match kind {
            Kind::Quick | Kind::Fib { .. } => String::new(),
            Kind::Busy { ms } => {
                format!("const end = Date.now() + {ms}; while (Date.now() < end);")
            }
            Kind::Checkpointed { steps } => format!(
                "for (let step = runabout.task.checkpoint?.step ?? 0; step < {steps}; step++) {{
                    await new Promise((done) => setTimeout(done, 10));
                    runabout.checkpoint({{ step: step + 1 }});
                }}"
            ),
            // Each its own artifact, which is written with its task.
            Kind::Large => format!("const text = '{}';", format!("{} ", self.value).repeat(2_000)),
            Kind::ThrowsFirst => {
                "if (runabout.task.attempt === 1) throw new Error('first');".to_owned()
            }
            Kind::ThrowsAlways => "throw new Error('always');".to_owned(),
        };
        format!(
            "export default async (value) => {{ {body} return [value, runabout.task.attempt]; }}"
        )
    }

    /// Whether this task, which has ended, may end like this.
    pub(super) fn judge(&self, task: &Value, cancel_was_asked: bool) -> Result<(), &'static str> {
        let outcome = &task["outcome"];
        match (task["state"].as_str(), outcome["kind"].as_str()) {
            (Some("succeeded"), Some("returned")) => {
                right(outcome["value"] == self.result(task), "it has another's result")
            }
            (Some("failed"), Some("threw")) => {
                right(matches!(self.kind, Kind::ThrowsAlways), "it does not throw to its end")
            }
            (Some("failed"), Some("lost")) => {
                right(task["lost"] == LOST_MAX, "it was given up too early or too late")
            }
            (Some("cancelled"), Some("cancelled")) => {
                right(cancel_was_asked, "nobody asked to cancel it")
            }
            _ => Err("its state and its outcome do not fit"),
        }
    }

    fn result(&self, task: &Value) -> Value {
        match self.kind {
            Kind::Fib { n } => fib(n).into(),
            _ => json!([self.value, task["attempt"]]),
        }
    }

    /// Whether these attempts lead to that end: numbered without gaps, each ended once, one after
    /// the other, and none after the one that decided.
    pub(super) fn judge_attempts(
        &self,
        task: &Value,
        attempts: &[Value],
    ) -> Result<(), &'static str> {
        let kinds: Vec<_> =
            attempts.iter().map(|it| it["outcome"]["kind"].as_str().unwrap_or("none")).collect();
        let count = |kind| kinds.iter().filter(|it| **it == kind).count() as u64;
        let numbered = attempts.iter().zip(1_u64..).all(|(it, number)| it["attempt"] == number);
        right(numbered, "its attempts are not numbered one by one")?;
        right(task["attempt"] == attempts.len(), "it has attempts beyond its latest one")?;
        right(task["lost"] == count("lost"), "its lost attempts are miscounted")?;
        let others = count("lost") + count("threw") + count("returned") + count("cancelled");
        right(others == attempts.len() as u64, "an attempt has no end or a wrong one")?;
        let deciding = count("returned") + count("cancelled");
        let decides = |kind: &&str| matches!(*kind, "returned" | "cancelled");
        right(deciding <= 1, "two attempts decided")?;
        right(deciding == 0 || kinds.last().is_some_and(decides), "it ran on after its end")?;
        right(
            count("returned") == u64::from(task["state"] == "succeeded"),
            "it returned for nothing",
        )?;
        let failures = count("threw");
        let throws = matches!(self.kind, Kind::ThrowsFirst | Kind::ThrowsAlways);
        right(throws || failures == 0, "an attempt threw that cannot")?;
        right(failures <= self.retries + 1, "it was tried too often")?;
        let has_failed = task["outcome"]["kind"] == "threw";
        right(!has_failed || failures == self.retries + 1, "it was not tried often enough")?;
        self.judge_times(attempts)
    }

    fn judge_times(&self, attempts: &[Value]) -> Result<(), &'static str> {
        let time = |attempt: &Value, field: &str| -> Option<Timestamp> {
            attempt[field].as_str()?.parse().ok()
        };
        let mut earliest = self.run_at;
        for attempt in attempts {
            let (began, ended) = (time(attempt, "started_at"), time(attempt, "finished_at"));
            right(began.is_some() && ended.is_some(), "an attempt has no time")?;
            right(began >= earliest && ended >= began, "an attempt ran before its time")?;
            earliest = ended;
        }
        Ok(())
    }
}

fn right(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn fib(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}
