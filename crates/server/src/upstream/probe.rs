//! Looks after the upstream: finds out when one that could not be reached is back, and, while it can
//! be reached and nobody asks it anything, whether it still is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Upstream;
use super::attempt::printable;
use super::client::NoAnswer;

/// How often an upstream that can be reached is looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether it is time for a probe, while it cannot be reached.
const PROBE_TICK: Duration = Duration::from_millis(50);

/// Goes on until it is dropped.
pub async fn keep_probing(upstream: Arc<Upstream>) {
    loop {
        if upstream.is_reachable() {
            upstream.look().await;
            // Whoever finds it unreachable wakes this up.
            let _ = tokio::time::timeout(LOOKED_AT_EVERY, upstream.unreachable.notified()).await;
        } else {
            let is_time = upstream.placement.lock().probe(upstream.now());
            if is_time {
                upstream.look().await;
            }
            tokio::time::sleep(PROBE_TICK).await;
        }
    }
}

/// What is looked at in a node's report of itself.
#[derive(Deserialize)]
struct Report {
    name: String,
}

impl Upstream {
    fn is_called(&self, body: &[u8]) {
        let Ok(Report { name }) = serde_json::from_slice(body) else { return };
        if let Some(name) = printable(name) {
            self.stands(|standing| standing.name = name);
        }
    }

    async fn look(&self) {
        let began = Instant::now();
        match self.client.probe().await {
            Ok(heard) if heard.status.is_success() => {
                let took = began.elapsed();
                self.answered(super::NodeLoad::of(&heard.headers));
                self.placement.lock().heard_after(took);
                self.is_called(&heard.body);
            }
            Ok(heard) => self.failed(&format!("it answered {}", heard.status)),
            Err(NoAnswer::Unreachable(why) | NoAnswer::Lost(why)) => self.failed(&why),
        }
    }
}
