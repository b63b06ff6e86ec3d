//! What everybody saw and did, and whether it fits together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use reqwest::Client;
use serde_json::json;

use super::Plan;
use super::editors::Edit;

/// Contradictions that are told; the others are only counted.
const TOLD_MAX: usize = 10;

/// As many of the newest revisions a node promises to keep.
const REVISIONS_KEPT: u64 = 100_000;

/// What happened.
#[derive(Debug)]
pub struct Account {
    plan: Plan,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Of all answers, in microseconds.
    latencies: Vec<u32>,
    refused: BTreeMap<u16, u64>,
    failed: u64,
    /// Every revision that a reader saw, with its text.
    seen: HashMap<u64, Box<[u8]>>,
    edits: Vec<Edit>,
    edit_latencies: Vec<u32>,
    wrong: u64,
    told: Vec<String>,
}

impl Account {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { plan: plan.clone(), inner: Mutex::default() }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics with it")
    }

    /// A reader got this as that revision.
    pub(super) fn saw(&self, revision: u64, body: &[u8]) {
        let mut inner = self.inner();
        let known = inner.seen.entry(revision).or_insert_with(|| body.into());
        if **known != *body {
            drop(inner);
            self.wrong(format!("revision {revision} had two texts"));
        }
    }

    pub(super) fn read(&self, latencies: Vec<u32>) {
        self.inner().latencies.extend(latencies);
    }

    pub(super) fn refused(&self, status: u16) {
        *self.inner().refused.entry(status).or_default() += 1;
    }

    pub(super) fn failed(&self, why: &str) {
        let mut inner = self.inner();
        inner.failed += 1;
        if inner.told.len() < TOLD_MAX {
            inner.told.push(why.to_owned());
        }
    }

    pub(super) fn edited(&self, edit: Edit, took: Duration) {
        let mut inner = self.inner();
        inner.edits.push(edit);
        inner.edit_latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// Something that must not be.
    pub(super) fn wrong(&self, what: String) {
        let mut inner = self.inner();
        inner.wrong += 1;
        if inner.told.len() < TOLD_MAX {
            inner.told.push(what);
        }
    }

    /// Holds what was acknowledged and what was seen against the history.
    pub(super) async fn check_history(&self, plan: &Plan) {
        let client = Client::new();
        let url = format!("http://{}/v1/documents/{}", plan.node, plan.document);
        let get = async |path: String| {
            let answer = client.get(format!("{url}{path}")).send().await.ok()?;
            if answer.status() == 200 { answer.text().await.ok() } else { None }
        };
        let (edits, seen) = {
            let mut inner = self.inner();
            (inner.edits.clone(), std::mem::take(&mut inner.seen))
        };
        let Some(newest) = get(String::new()).await else {
            return self.wrong("the document cannot be read".to_owned());
        };
        // Of very many the oldest are no longer kept, which the node says itself.
        let oldest = self.oldest(&client, &url).await;
        for edit in edits.iter().filter(|edit| edit.revision >= oldest) {
            match get(format!("/revisions/{}", edit.revision)).await {
                Some(text) if text.contains(&edit.words) => {}
                _ => self.wrong(format!("an acknowledged edit is lost: {edit:?}")),
            }
        }
        let mut last: BTreeMap<usize, &Edit> = BTreeMap::new();
        for edit in &edits {
            last.insert(edit.editor, edit);
        }
        for edit in last.values().filter(|edit| !newest.contains(&edit.words)) {
            self.wrong(format!("an acknowledged edit is not in the text: {edit:?}"));
        }
        for (revision, body) in seen.into_iter().filter(|(revision, _)| *revision >= oldest) {
            let text = get(format!("/revisions/{revision}")).await;
            if text.as_deref().map(str::as_bytes) != Some(&*body) {
                self.wrong(format!("a reader saw of revision {revision} what it never was"));
            }
        }
    }

    /// The oldest revision that is kept. Fewer than were promised are wrong.
    async fn oldest(&self, client: &Client, url: &str) -> u64 {
        let answer = client.get(format!("{url}/revisions/1")).send().await;
        let Ok(answer) = answer else { return 1 };
        if answer.status() != 404 {
            return 1;
        }
        let problem: serde_json::Value = answer.json().await.unwrap_or_default();
        let [oldest, newest] = ["oldest", "newest"].map(|name| problem[name].as_u64());
        match (oldest, newest) {
            (Some(oldest), Some(newest)) if newest.saturating_sub(oldest) + 1 >= REVISIONS_KEPT => {
                oldest
            }
            _ => {
                self.wrong(format!("revisions are gone that should be kept: {problem}"));
                1
            }
        }
    }

    /// Whether nothing failed and nothing is wrong.
    pub fn is_well(&self) -> bool {
        let inner = self.inner();
        inner.wrong == 0 && inner.failed == 0 && inner.refused.is_empty()
    }

    /// For people, or as JSON.
    pub fn text(&self) -> String {
        let inner = self.inner();
        let mut latencies = inner.latencies.clone();
        let mut edits = inner.edit_latencies.clone();
        let rate = latencies.len() as f64 / self.plan.seconds;
        let told = json!({
            "requests": latencies.len(),
            "requests_per_second": rate.round(),
            "p50_ms": quantile(&mut latencies, 0.5),
            "p99_ms": quantile(&mut latencies, 0.99),
            "p999_ms": quantile(&mut latencies, 0.999),
            "edits": edits.len(),
            "edit_p50_ms": quantile(&mut edits, 0.5),
            "edit_p99_ms": quantile(&mut edits, 0.99),
            "refused": inner.refused,
            "failed": inner.failed,
            "wrong": inner.wrong,
            "told": inner.told,
        });
        if self.plan.json {
            return told.to_string();
        }
        let lines = told.as_object().into_iter().flatten();
        lines.map(|(name, value)| format!("{name:20} {value}")).collect::<Vec<_>>().join("\n")
    }
}

/// In milliseconds.
fn quantile(latencies: &mut [u32], part: f64) -> f64 {
    latencies.sort_unstable();
    let at = (latencies.len() as f64 * part) as usize;
    let found = latencies.get(at.min(latencies.len().saturating_sub(1)));
    f64::from(found.copied().unwrap_or_default()) / 1_000.0
}
