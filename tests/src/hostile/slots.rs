//! Takes every slot of a node, and much of its room for calls, with runs that do not end.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{Node, json_of};

/// Endless calls beside the endless tasks.
const CALLS: usize = 32;

const ENDLESS: &str = "export default () => { for (;;); }";

/// The runs that hold them.
pub struct HeldSlots {
    tasks: Vec<String>,
    calls: JoinSet<()>,
}

impl HeldSlots {
    /// Takes all slots and is sure of it.
    pub async fn take(node: &Node) -> Self {
        node.deploy("endless", "text/javascript", ENDLESS).await;
        let slots = json_of(node.get("/v1/node").await).await["slots"].as_u64().expect("a number");
        let endless = json!({"source": ENDLESS, "limits": {"timeout_ms": 30_000}});
        let mut tasks = Vec::new();
        for _ in 0..slots {
            tasks.push(node.submit(&endless).await);
        }
        let mut calls = JoinSet::new();
        for _ in 0..CALLS {
            let request = node.address().request(Method::POST, "/v1/functions/endless/call");
            let request = request.json(&json!([])).timeout(Duration::from_secs(30));
            calls.spawn(async move {
                // Hung up on, when its time has come.
                drop(request.send().await);
            });
        }
        let held = Self { tasks, calls };
        while held.running(node).await < held.tasks.len() {}
        held
    }

    /// How many of the tasks run at this moment.
    pub async fn running(&self, node: &Node) -> usize {
        let mut running = 0;
        for id in &self.tasks {
            let task = json_of(node.get(&format!("/v1/tasks/{id}")).await).await;
            running += usize::from(task["state"] == "running");
        }
        running
    }

    /// How many slots are held.
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// Cancels the tasks and hangs up the calls.
    pub async fn give_back(mut self, node: &Node) {
        self.calls.shutdown().await;
        for id in &self.tasks {
            let cancelled = node.post(&format!("/v1/tasks/{id}/cancel"), &json!(null)).await;
            assert_eq!(cancelled.status(), 200);
        }
    }
}
