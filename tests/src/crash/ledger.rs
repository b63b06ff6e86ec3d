//! What one client was promised, and what it has seen since.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::work::Work;

/// How often a list must have shown an ended task before the client may delete it for good.
const SHOWN_MIN: u32 = 2;

/// A submission: one task or a batch, under a name that no other submission has.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) name: String,
    pub(super) work: Vec<Work>,
    /// Whether the name is its idempotency key too.
    pub(super) is_keyed: bool,
    /// Its tasks, if it was not answered and a list has shown them since.
    pub(super) shown: Vec<String>,
}

/// What is known of an acknowledged task.
struct Entry {
    work: Work,
    /// What was seen of it last.
    seen: Option<Value>,
    cancel_was_asked: bool,
    /// A delete that was not answered: it may be gone.
    delete_was_asked: bool,
    /// Lists that showed it after its end.
    shown: u32,
    audited: bool,
}

/// Counts of what was done and seen.
#[derive(Default)]
pub struct Tally {
    /// Tasks whose submission was acknowledged.
    pub acknowledged: u64,
    /// Submissions without a key that a kill left unanswered, and that were there after it.
    pub unanswered_kept: u64,
    /// Submissions without a key that a kill left unanswered, and that were not.
    pub unanswered_gone: u64,
    /// Submissions with a key that were sent again and had been done before.
    pub repeated_kept: u64,
    /// Submissions with a key that were sent again and had not.
    pub repeated_gone: u64,
    /// Tasks that were seen to end, by state.
    pub ended: BTreeMap<String, u64>,
    /// Cancels that were acknowledged.
    pub cancels: u64,
    /// Deletes that were acknowledged.
    pub deletes: u64,
    /// Tasks whose attempts were looked at one by one.
    pub audited: u64,
    /// Attempts among those that were lost with the node.
    pub lost_attempts: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unanswered_kept += other.unanswered_kept;
        self.unanswered_gone += other.unanswered_gone;
        self.repeated_kept += other.repeated_kept;
        self.repeated_gone += other.repeated_gone;
        for (state, count) in other.ended {
            *self.ended.entry(state).or_default() += count;
        }
        self.cancels += other.cancels;
        self.deletes += other.deletes;
        self.audited += other.audited;
        self.lost_attempts += other.lost_attempts;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} tasks acknowledged", self.acknowledged)?;
        let (kept, gone) = (self.unanswered_kept, self.unanswered_gone);
        writeln!(f, "{} submissions unanswered: {kept} kept, {gone} gone", kept + gone)?;
        let (kept, gone) = (self.repeated_kept, self.repeated_gone);
        writeln!(f, "{} sent again with their key: {kept} kept, {gone} gone", kept + gone)?;
        let ended: Vec<_> = self.ended.iter().map(|(state, n)| format!("{n} {state}")).collect();
        writeln!(f, "seen to end: {}", ended.join(", "))?;
        writeln!(f, "{} cancels and {} deletes acknowledged", self.cancels, self.deletes)?;
        let (audited, lost) = (self.audited, self.lost_attempts);
        writeln!(f, "{audited} tasks audited, {lost} of their attempts lost with the node")
    }
}

/// One client's account.
#[derive(Default)]
pub(super) struct Ledger {
    tasks: BTreeMap<String, Entry>,
    /// Their deletes were acknowledged, or carried out without an answer.
    deleted: BTreeSet<String>,
    unanswered: Vec<Submission>,
    tally: Tally,
    complaints: Vec<String>,
}

impl Ledger {
    pub(super) fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    pub(super) fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    pub(super) fn close(mut self, tally: &mut Tally, broken: &mut Vec<String>) {
        broken.append(&mut self.complaints);
        tally.add(self.tally);
    }

    /// The tasks that are there, as far as is known.
    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        self.tasks.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn unfinished(&self) -> Vec<String> {
        let unfinished = |entry: &Entry| !entry.seen.as_ref().is_some_and(has_ended);
        self.tasks.iter().filter(|(_, it)| unfinished(it)).map(|(id, _)| id.clone()).collect()
    }

    /// The node said 202.
    pub(super) fn acknowledged(&mut self, submission: Submission, ids: Vec<String>) {
        if ids.len() != submission.work.len() {
            return self.complain(format!("{} ids for {submission:?}", ids.len()));
        }
        if !submission.shown.is_empty() && submission.shown != ids {
            self.complain(format!("done twice, as {ids:?} too: {submission:?}"));
        }
        self.tally.acknowledged += ids.len() as u64;
        for (id, work) in ids.into_iter().zip(submission.work) {
            let entry = Entry {
                work,
                seen: None,
                cancel_was_asked: false,
                delete_was_asked: false,
                shown: 0,
                audited: false,
            };
            if self.deleted.contains(&id) || self.tasks.insert(id.clone(), entry).is_some() {
                self.complain(format!("the id {id} was given twice"));
            }
        }
    }

    /// The node died before it said anything: all of it is there, or nothing.
    pub(super) fn unanswered(&mut self, submission: Submission) {
        self.unanswered.push(submission);
    }

    /// A submission that was not answered and can be sent again without being done twice.
    pub(super) fn next_to_send_again(&mut self) -> Option<Submission> {
        let found = self.unanswered.iter().position(|it| it.is_keyed)?;
        let submission = self.unanswered.swap_remove(found);
        let was_kept = u64::from(!submission.shown.is_empty());
        self.tally.repeated_kept += was_kept;
        self.tally.repeated_gone += 1 - was_kept;
        Some(submission)
    }

    pub(super) fn cancel_is_asked(&mut self, id: &str) {
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.cancel_was_asked = true;
        }
    }

    pub(super) fn cancelled(&mut self, task: &Value) {
        self.tally.cancels += 1;
        if task["state"] != "cancelled" {
            self.complain(format!("a cancel was acknowledged with {task}"));
        }
        self.observe(task);
    }

    pub(super) fn delete_is_asked(&mut self, id: &str) {
        if let Some(entry) = self.tasks.get_mut(id) {
            entry.delete_was_asked = true;
        }
    }

    pub(super) fn deleted(&mut self, id: &str) {
        self.tally.deletes += 1;
        self.forget(id);
    }

    fn forget(&mut self, id: &str) {
        self.tasks.remove(id);
        self.deleted.insert(id.to_owned());
    }

    /// The node has shown this task.
    pub(super) fn observe(&mut self, task: &Value) {
        let Some(entry) = task["id"].as_str().and_then(|id| self.tasks.get_mut(id)) else {
            return self.complain(format!("not a task of this client's: {task}"));
        };
        let before = entry.seen.replace(task.clone());
        if let Some(before) = before {
            if has_ended(&before) {
                if before != *task {
                    self.complain(format!("an ended task has changed: {before} became {task}"));
                }
                return;
            }
            let went_back = |field: &str| before[field].as_u64() > task[field].as_u64();
            if went_back("attempt") || went_back("lost") {
                self.complaints.push(format!("a task went back: {before} became {task}"));
            }
        }
        if has_ended(task) {
            let state = task["state"].as_str().unwrap_or_default().to_owned();
            *self.tally.ended.entry(state).or_default() += 1;
            if let Err(wrong) = entry.work.judge(task, entry.cancel_was_asked) {
                self.complain(format!("{wrong}: {task}"));
            }
        }
    }

    /// Compares everything with what the node has after a start.
    pub(super) fn settle(&mut self, tasks: &[Value], explained: &mut BTreeSet<String>) {
        self.adopt(tasks, explained);
        let mut shown = BTreeSet::new();
        for task in tasks {
            let Some(id) = task["id"].as_str() else { continue };
            if self.deleted.contains(id) {
                self.complain(format!("a deleted task is back: {task}"));
                explained.insert(id.to_owned());
            } else if let Some(entry) = self.tasks.get_mut(id) {
                // Whoever asked is dead, so it will not be carried out any more.
                entry.delete_was_asked = false;
                entry.shown += u32::from(has_ended(task));
                self.observe(task);
                shown.insert(id.to_owned());
            }
        }
        let missing: Vec<_> = self.ids().filter(|id| !shown.contains(*id)).cloned().collect();
        for id in missing {
            match self.tasks.get(&id) {
                Some(entry) if entry.delete_was_asked => self.forget(&id),
                Some(Entry { seen, .. }) => {
                    let seen = seen.as_ref().map_or("never seen".to_owned(), Value::to_string);
                    self.complaints.push(format!("the acknowledged task {id} is lost; {seen}"));
                    self.forget(&id);
                }
                None => {}
            }
        }
        explained.extend(shown);
    }

    /// Looks for what was submitted without an answer. What has a key is sent again later, and must
    /// then be what is there already.
    fn adopt(&mut self, tasks: &[Value], explained: &mut BTreeSet<String>) {
        for mut submission in std::mem::take(&mut self.unanswered) {
            let named = tasks.iter().filter(|task| task["name"] == submission.name.as_str());
            let ids: Vec<_> =
                named.filter_map(|task| task["id"].as_str().map(str::to_owned)).collect();
            if submission.is_keyed {
                if !ids.is_empty() && ids.len() != submission.work.len() {
                    self.complain(format!("{} tasks of {submission:?}", ids.len()));
                }
                if !submission.shown.is_empty() && submission.shown != ids {
                    self.complain(format!("now {ids:?} of {submission:?}"));
                }
                explained.extend(ids.iter().cloned());
                submission.shown = ids;
                self.unanswered.push(submission);
            } else if ids.is_empty() {
                self.tally.unanswered_gone += 1;
            } else {
                self.tally.unanswered_kept += 1;
                // Half a batch is complained of in there.
                self.acknowledged(submission, ids);
            }
        }
    }

    /// Ended tasks whose attempts nobody has looked at yet.
    pub(super) fn unaudited(&self) -> Vec<String> {
        let wanted = |entry: &Entry| !entry.audited && entry.seen.as_ref().is_some_and(has_ended);
        self.tasks.iter().filter(|(_, it)| wanted(it)).map(|(id, _)| id.clone()).collect()
    }

    /// Looks at the attempts of an ended task.
    pub(super) fn audit(&mut self, id: &str, attempts: &[Value]) {
        let Some(entry) = self.tasks.get_mut(id) else { return };
        let Some(task) = &entry.seen else { return };
        entry.audited = true;
        self.tally.audited += 1;
        self.tally.lost_attempts += task["lost"].as_u64().unwrap_or_default();
        if let Err(wrong) = entry.work.judge_attempts(task, attempts) {
            let attempts = Value::from(attempts);
            self.complaints.push(format!("{wrong}: {task}, attempts {attempts}"));
        }
    }

    /// Audited tasks that several lists have shown: enough is known of them.
    pub(super) fn done_with(&self) -> Vec<String> {
        let done = |entry: &Entry| entry.audited && entry.shown >= SHOWN_MIN;
        self.tasks.iter().filter(|(_, it)| done(it)).map(|(id, _)| id.clone()).collect()
    }
}

fn has_ended(task: &Value) -> bool {
    matches!(task["state"].as_str(), Some("succeeded" | "failed" | "cancelled"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::random::Random;

    /// A ledger with one acknowledged task, and that task as it waits.
    fn promised() -> (Ledger, Value) {
        let mut ledger = Ledger::default();
        ledger.acknowledged(submission("one", 1, false), vec!["one".to_owned()]);
        let waits = json!({"id": "one", "name": "one", "state": "queued", "attempt": 0, "lost": 0});
        (ledger, waits)
    }

    fn submission(name: &str, tasks: usize, is_keyed: bool) -> Submission {
        let work = (0..tasks).map(|_| Work::draw(&mut Random::new(&[]), true)).collect();
        Submission { name: name.to_owned(), work, is_keyed, shown: Vec::new() }
    }

    fn cancelled(mut task: Value) -> Value {
        task["state"] = json!("cancelled");
        task["outcome"] = json!({"kind": "cancelled"});
        task
    }

    fn complaints(mut ledger: Ledger, shown: &[Value]) -> Vec<String> {
        ledger.settle(shown, &mut BTreeSet::new());
        ledger.take_complaints()
    }

    fn check(complaints: &[String], expected: &str) {
        assert!(complaints.len() == 1 && complaints[0].starts_with(expected), "{complaints:?}");
    }

    #[test]
    fn what_is_there_is_fine() {
        let (ledger, task) = promised();
        assert_eq!(complaints(ledger, &[task]), Vec::<String>::new());
    }

    #[test]
    fn a_lost_task_is_noticed() {
        check(&complaints(promised().0, &[]), "the acknowledged task one is lost");
    }

    #[test]
    fn an_end_that_changes_is_noticed() {
        let (mut ledger, task) = promised();
        ledger.cancel_is_asked("one");
        ledger.cancelled(&cancelled(task.clone()));
        check(&complaints(ledger, &[task]), "an ended task has changed");
    }

    #[test]
    fn a_cancel_that_nobody_asked_for_is_noticed() {
        let (ledger, task) = promised();
        check(&complaints(ledger, &[cancelled(task)]), "nobody asked to cancel it");
    }

    #[test]
    fn an_attempt_number_that_goes_back_is_noticed() {
        let (mut ledger, task) = promised();
        let mut later = task.clone();
        later["attempt"] = json!(1);
        ledger.observe(&later);
        check(&complaints(ledger, &[task]), "a task went back");
    }

    #[test]
    fn a_deleted_task_that_is_back_is_noticed() {
        let (mut ledger, task) = promised();
        ledger.deleted("one");
        check(&complaints(ledger, &[task]), "a deleted task is back");
    }

    #[test]
    fn a_delete_without_an_answer_may_have_been_done_or_not() {
        for shown in [vec![], vec![promised().1]] {
            let (mut ledger, _) = promised();
            ledger.delete_is_asked("one");
            assert_eq!(complaints(ledger, &shown), Vec::<String>::new());
        }
    }

    #[test]
    fn half_a_batch_is_noticed() {
        let (mut ledger, mut task) = promised();
        task["name"] = json!("batch");
        ledger.forget("one");
        task["id"] = json!("two");
        ledger.unanswered(submission("batch", 2, false));
        check(&complaints(ledger, &[task]), "1 ids for");
    }

    #[test]
    fn what_is_done_twice_under_its_key_is_noticed() {
        let (mut ledger, mut task) = promised();
        task["id"] = json!("two");
        task["name"] = json!("keyed");
        ledger.unanswered(submission("keyed", 1, true));
        ledger.settle(&[promised().1, task], &mut BTreeSet::new());
        let again = ledger.next_to_send_again().expect("was not answered");
        ledger.acknowledged(again, vec!["three".to_owned()]);
        check(&ledger.take_complaints(), "done twice");
    }
}
