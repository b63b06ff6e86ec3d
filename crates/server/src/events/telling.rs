//! Facts in words: the text of server-sent events, and what a stream leaves out of it.

use std::collections::HashMap;

use bytes::Bytes;
use runabout_protocol::{
    Attempt, DeletedEvent, LogEvent, LogLine, Outcome, OutcomeEvent, ProgressEvent, StateEvent,
    Task, TaskState, TruncatedEvent, Usage,
};
use runabout_store::{Write, time_text};
use serde::Serialize;

use super::{Fact, Facts, LastEventId, Place};

/// A piece ends with the event that reaches this. One event is as large as a result may be.
pub const PIECE_BYTES_MAX: usize = 256 << 10;

/// Which kinds of events a stream is to tell, where they can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Only {
    /// `state`.
    pub state: bool,
    /// `progress`.
    pub progress: bool,
    /// `log` and `truncated`.
    pub log: bool,
    /// `outcome`.
    pub outcome: bool,
    /// `deleted`.
    pub deleted: bool,
    /// `worker`.
    pub worker: bool,
    /// `revision`.
    pub revision: bool,
}

impl Only {
    /// Everything.
    pub const ALL: Self = Self {
        state: true,
        progress: true,
        log: true,
        outcome: true,
        deleted: true,
        revision: true,
        worker: true,
    };
    /// Nothing.
    const NONE: Self = Self {
        state: false,
        progress: false,
        log: false,
        outcome: false,
        deleted: false,
        revision: false,
        worker: false,
    };

    /// The kinds in a list with commas.
    ///
    /// # Errors
    /// The first word that is none.
    pub fn parse(list: &str) -> Result<Self, &str> {
        let mut only = Self::NONE;
        for word in list.split(',').map(str::trim) {
            match word {
                "state" => only.state = true,
                "progress" => only.progress = true,
                "log" => only.log = true,
                "outcome" => only.outcome = true,
                "deleted" => only.deleted = true,
                "worker" => only.worker = true,
                "revision" => only.revision = true,
                unknown => return Err(unknown),
            }
        }
        Ok(only)
    }
}

/// Text of server-sent events in the making.
#[derive(Debug, Default)]
pub struct Sheet {
    text: Vec<u8>,
}

impl Sheet {
    /// The text, if there is any.
    pub fn finish(self) -> Option<Bytes> {
        (!self.text.is_empty()).then(|| self.text.into())
    }

    /// Says how soon a client that was cut off should come back.
    pub fn retry(&mut self, milliseconds: u64) {
        self.line("retry", &milliseconds.to_string());
        self.text.push(b'\n');
    }

    /// Says where to go on, and nothing else.
    pub fn id(&mut self, id: &str) {
        self.line("id", id);
        self.text.push(b'\n');
    }

    /// A line that says nothing, so that the connection is not thought dead.
    pub fn comment(&mut self) {
        self.text.extend_from_slice(b":\n\n");
    }

    /// One event. Without an id, a client that is cut off after it goes on as before it.
    pub fn event(&mut self, name: &str, id: Option<&str>, data: &impl Serialize) {
        self.line("event", name);
        if let Some(id) = id {
            self.line("id", id);
        }
        self.text.extend_from_slice(b"data: ");
        let begin = self.text.len();
        if let Err(error) = serde_json::to_writer(&mut self.text, data) {
            tracing::error!(%error, name, "an event has no JSON");
        }
        // A value stands in it as its worker wrote it. Line ends in JSON are between its words, as
        // in strings they are escaped, and would end the data here.
        for byte in self.text.iter_mut().skip(begin).filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
        self.text.extend_from_slice(b"\n\n");
    }

    fn line(&mut self, field: &str, value: &str) {
        for part in [field, ": ", value, "\n"] {
            self.text.extend_from_slice(part.as_bytes());
        }
    }
}

/// How far a task is by what its stream has told already. What became known while a stream read
/// the store is in both, and is told once.
#[derive(Debug, Default)]
pub struct Told {
    /// Counts up with each state; `None` before the first.
    stage: Option<u64>,
    /// The last line of each attempt.
    lines: HashMap<Attempt, u64>,
}

impl Told {
    /// A stream that has told where the task stands.
    pub fn state(&mut self, task: &Task) {
        self.stage = Some(match task.state {
            TaskState::Queued => queued_after(task.attempt),
            TaskState::Running => running(task.attempt),
            _ => u64::MAX,
        });
    }

    /// A stream that has told an attempt's lines up to this one.
    pub fn line(&mut self, attempt: Attempt, seq: u64) {
        self.lines.insert(attempt, seq);
    }

    fn has_state(&self, stage: u64) -> bool {
        self.stage.is_some_and(|told| stage <= told)
    }

    fn has_line(&self, attempt: Attempt, seq: u64) -> bool {
        self.lines.get(&attempt).is_some_and(|told| seq <= *told)
    }
}

fn queued_after(attempt: Attempt) -> u64 {
    u64::from(attempt.0) * 2
}

fn running(attempt: Attempt) -> u64 {
    queued_after(attempt).saturating_sub(1)
}

/// What a stream tells, and to whom.
#[derive(Debug)]
pub struct Teller<'a> {
    /// The life of the node, which stands in every id.
    pub life: &'a str,
    /// What is left out.
    pub only: Only,
    /// Whether it is one task's stream, where the end of the task is the end of all.
    pub ends: bool,
    /// What was told before.
    pub told: &'a Told,
}

impl Teller<'_> {
    /// The id of an event that is told even if the stream's beginning included it. At the beginning
    /// of one task's stream what comes after it may have been told already, so that a stream must
    /// not be gone on with there.
    fn id_of_unfiltered<'a>(&self, id: &'a str) -> Option<&'a str> {
        (!self.ends).then_some(id)
    }
}

/// How much of some facts was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where to go on.
    pub next: Place,
    /// Whether the last of a task's facts was among them.
    pub ended: bool,
}

impl Sheet {
    /// Tells facts from a place on until there are enough of them for one piece.
    pub fn facts(&mut self, teller: &Teller<'_>, facts: &[Fact], from: Place) -> Part {
        let mut part = Part { next: from, ended: false };
        for fact in facts {
            part.next = Place::after(fact.number);
            part.ended |= self.fact(teller, fact, from);
            if self.text.len() >= PIECE_BYTES_MAX || (part.ended && teller.ends) {
                break;
            }
        }
        part
    }

    /// Tells a fact from a place on, and says whether it was the last of its task.
    fn fact(&mut self, teller: &Teller<'_>, fact: &Fact, from: Place) -> bool {
        let id = LastEventId::Ring(Place::after(fact.number)).text(teller.life);
        match &fact.facts {
            Facts::Written(writes) => {
                let Some(write) = writes.get(fact.index) else { return false };
                let before = fact.index.checked_sub(1).and_then(|index| writes.get(index));
                self.written(teller, write, before, &id);
                self.end(teller, end(write, before), fact.number, from);
                fact.is_the_end()
            }
            Facts::Revised(revision) => {
                if teller.only.revision && !teller.ends {
                    self.event("revision", Some(&id), &**revision);
                }
                false
            }
            Facts::Said(said) => {
                let id = teller.id_of_unfiltered(&id);
                if let Some(said) = said.get(fact.index).filter(|_| teller.only.progress) {
                    let progress = said.progress.clone();
                    let event = ProgressEvent { task: said.task, attempt: said.attempt, progress };
                    self.event("progress", id, &event);
                }
                false
            }
            Facts::Workers(workers) => {
                if let Some(event) = workers.get(fact.index).filter(|_| teller.only.worker) {
                    self.event("worker", Some(&id), event);
                }
                false
            }
        }
    }

    fn written(&mut self, teller: &Teller<'_>, write: &Write, before: Option<&Write>, id: &str) {
        let only = teller.only;
        match write {
            Write::Log { task, attempt, seq, at, stream, text }
                if only.log && !teller.told.has_line(*attempt, *seq) =>
            {
                let (at, text) = (time_text(*at), text.clone());
                let line = LogLine { at, attempt: *attempt, seq: *seq, stream: *stream, text };
                self.event("log", Some(id), &LogEvent { task: *task, line });
            }
            Write::OutputTruncated { task, attempt } if only.log => {
                let event = TruncatedEvent { task: *task, attempt: *attempt };
                self.event("truncated", teller.id_of_unfiltered(id), &event);
            }
            Write::TaskDeleted(task) if only.deleted || teller.ends => {
                self.event("deleted", Some(id), &DeletedEvent { task: *task });
            }
            write if only.state => {
                if let Some((event, stage)) = state(write, before)
                    && !teller.told.has_state(stage)
                {
                    self.event("state", Some(id), &event);
                }
            }
            _ => {}
        }
    }

    /// Tells the end of a task, or what is left of it.
    fn end(&mut self, teller: &Teller<'_>, end: Option<End>, number: u64, from: Place) {
        let Some((state, outcome)) = end else { return };
        let has_begun = from.is_within() && from.fact() == number;
        if teller.only.state && !has_begun {
            let id = LastEventId::Ring(Place::within(number));
            self.event("state", Some(&id.text(teller.life)), &state);
        }
        if let Some(outcome) = outcome.filter(|_| teller.only.outcome || teller.ends) {
            let after = LastEventId::Ring(Place::after(number));
            let id = if teller.ends { LastEventId::End } else { after };
            self.event("outcome", Some(&id.text(teller.life)), &outcome);
        }
    }
}

/// The end of a task as its state and its outcome.
type End = (StateEvent, Option<OutcomeEvent>);

fn end(write: &Write, before: Option<&Write>) -> Option<End> {
    let Write::TaskEnded { task, at, state, outcome: own, .. } = write else { return None };
    let latest = AttemptEnd::of(before, *task);
    let attempt = latest.as_ref().map(|it| it.attempt);
    let at = time_text(*at);
    let told = StateEvent { attempt, at: Some(at.clone()), ..StateEvent::new(*task, *state) };
    let outcome = own.as_ref().or(latest.as_ref().and_then(|it| it.outcome)).cloned();
    let usage = latest.and_then(|it| it.usage).filter(|_| own.is_none()).cloned();
    let (task, state) = (*task, *state);
    let outcome = outcome.map(|outcome| OutcomeEvent { task, state, attempt, at, outcome, usage });
    Some((told, outcome))
}

/// The end of an attempt, which stands before what it led to.
struct AttemptEnd<'a> {
    attempt: Attempt,
    at: jiff::Timestamp,
    outcome: Option<&'a Outcome>,
    usage: Option<&'a Usage>,
}

impl<'a> AttemptEnd<'a> {
    fn of(before: Option<&'a Write>, of: runabout_protocol::TaskId) -> Option<Self> {
        match before {
            Some(Write::AttemptEnded { task, attempt, at, outcome, usage }) if *task == of => {
                let (outcome, usage) = (outcome.as_ref(), usage.as_ref());
                Some(Self { attempt: *attempt, at: *at, outcome, usage })
            }
            _ => None,
        }
    }
}

/// A change of state that is no end, and its stage.
fn state(write: &Write, before: Option<&Write>) -> Option<(StateEvent, u64)> {
    match write {
        Write::TaskAccepted(new) => {
            let event = StateEvent {
                at: Some(time_text(new.created_at)),
                name: new.name.clone(),
                function: new.function.clone(),
                labels: new.labels.clone(),
                ready_at: new.run_at.map(time_text),
                ..StateEvent::new(new.id, TaskState::Queued)
            };
            Some((event, queued_after(Attempt(0))))
        }
        Write::AttemptBegan { task, attempt, worker, trust, at } => {
            let event = StateEvent {
                attempt: Some(*attempt),
                at: Some(time_text(*at)),
                worker: Some(worker.clone()),
                trust: Some(*trust),
                ..StateEvent::new(*task, TaskState::Running)
            };
            Some((event, running(*attempt)))
        }
        Write::TaskQueued { task, ready_at, .. } => {
            let latest = AttemptEnd::of(before, *task);
            let stage = latest.as_ref().map_or(u64::MAX, |it| queued_after(it.attempt));
            let event = StateEvent {
                attempt: latest.as_ref().map(|it| it.attempt),
                at: latest.as_ref().map(|it| time_text(it.at)),
                ready_at: Some(time_text(*ready_at)),
                previous: latest.and_then(|it| it.outcome).map(|it| it.kind().to_owned()),
                ..StateEvent::new(*task, TaskState::Queued)
            };
            Some((event, stage))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;
    use runabout_protocol::{Json, Returned, Stream, TaskId};
    use uuid::Uuid;

    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn task() -> TaskId {
        TaskId(Uuid::nil())
    }

    fn outcome(text: &str) -> Outcome {
        let value = Json::parse(text.to_owned()).expect("JSON");
        Outcome::Returned(Returned { value, encoding: None })
    }

    fn ended(attempt: u32, outcome: Option<Outcome>) -> Write {
        Write::AttemptEnded {
            task: task(),
            attempt: Attempt(attempt),
            at: AT,
            outcome,
            usage: None,
        }
    }

    fn end(outcome: Option<Outcome>) -> Write {
        Write::TaskEnded { task: task(), at: AT, state: TaskState::Succeeded, outcome, lost: 0 }
    }

    fn log(seq: u64) -> Write {
        let (stream, text) = (Stream::Stdout, "a\nb".to_owned());
        Write::Log { task: task(), attempt: Attempt(1), seq, at: AT, stream, text }
    }

    /// What is told of these from a place on, as `event id` each.
    fn told(writes: Vec<Write>, ends: bool, told: &Told, from: Place) -> Vec<String> {
        let facts = Facts::Written(Arc::new(writes));
        let mut sheet = Sheet::default();
        let teller = Teller { life: "a", only: Only::ALL, ends, told };
        for index in 0..facts.len() {
            let fact = Fact { number: index as u64, facts: facts.clone(), index };
            if fact.number >= from.fact() {
                sheet.fact(&teller, &fact, from);
            }
        }
        let text = String::from_utf8(sheet.text).expect("text");
        let event = |event: &str| {
            let value = |field: &str| event.lines().find_map(|line| line.strip_prefix(field));
            assert_eq!(event.lines().count(), 3, "{event}");
            format!("{} {}", value("event: ").expect("named"), value("id: ").expect("has an id"))
        };
        text.split_terminator("\n\n").map(event).collect()
    }

    #[test]
    fn the_end_of_a_task_is_two_events_and_can_be_gone_on_with_between_them() {
        let writes = vec![ended(1, Some(outcome("1"))), end(None)];
        let nothing = Told::default();
        let all = told(writes.clone(), true, &nothing, Place::before(0));
        assert_eq!(all, ["state a-3", "outcome a-end"]);
        let rest = told(writes.clone(), true, &nothing, Place::within(1));
        assert_eq!(rest, ["outcome a-end"]);
        let of_all = told(writes, false, &nothing, Place::before(0));
        assert_eq!(of_all, ["state a-3", "outcome a-4"]);
    }

    #[test]
    fn what_a_stream_has_told_at_its_beginning_is_not_told_again() {
        let began = |n| Write::AttemptBegan {
            task: task(),
            attempt: Attempt(n),
            worker: "w".to_owned(),
            trust: runabout_protocol::Trust::Node,
            at: AT,
        };
        let queued = Write::TaskQueued { task: task(), ready_at: AT, failures: 1, lost: 0 };
        let writes = vec![
            began(1),
            log(0),
            log(1),
            ended(1, Some(Outcome::threw("Error", "no"))),
            queued,
            began(2),
        ];
        let mut known = Told { stage: Some(running(Attempt(1))), ..Told::default() };
        known.line(Attempt(1), 0);
        let rest = told(writes.clone(), true, &known, Place::before(0));
        assert_eq!(rest, ["log a-6", "state a-10", "state a-12"]);
        known.stage = Some(running(Attempt(2)));
        assert_eq!(told(writes, true, &known, Place::before(0)), ["log a-6"]);
    }

    #[test]
    fn a_piece_ends_with_its_bytes_and_the_next_one_goes_on_there() {
        let large = || format!("\"{}\"", "x".repeat(PIECE_BYTES_MAX / 2));
        let writes = (0..3).flat_map(|_| [ended(1, Some(outcome(&large()))), end(None)]);
        let facts = Facts::Written(Arc::new(writes.collect()));
        let facts: Vec<_> = (0..6)
            .map(|index| Fact { number: index as u64, facts: facts.clone(), index })
            .collect();
        let told = Told::default();
        let teller = Teller { life: "a", only: Only::ALL, ends: false, told: &told };
        let mut from = Place::before(0);
        let mut pieces = Vec::new();
        while from != Place::after(5) {
            let mut sheet = Sheet::default();
            let at = usize::try_from(from.fact()).expect("small");
            from = sheet.facts(&teller, &facts[at..], from).next;
            pieces.push((from, sheet.text.len() / PIECE_BYTES_MAX));
        }
        assert_eq!(pieces, [(Place::after(3), 1), (Place::after(5), 0)]);
    }

    #[test]
    fn a_value_with_line_ends_stays_on_its_line() {
        let writes = vec![ended(1, Some(outcome("{\n\"a\":\r\n1}"))), end(None)];
        assert_eq!(told(writes, true, &Told::default(), Place::before(0)).len(), 2);
    }

    #[test]
    fn kinds_are_named_in_a_list() {
        let only = Only::parse("state, outcome").expect("known");
        assert!(only.state && only.outcome && !only.log && !only.progress);
        assert_eq!(Only::parse("state,sate"), Err("sate"));
    }
}
