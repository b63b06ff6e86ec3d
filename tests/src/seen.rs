//! What a node can be seen to do, and waiting until it is.

use std::time::{Duration, Instant};

use crate::{Node, json_of};

/// How often a node is looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(20);

/// The sum of a metric over all its labels that hold `labels`.
pub async fn metric(node: &Node, name: &str, labels: &str) -> f64 {
    let page = node.get("/metrics").await.text().await.expect("is text");
    let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(labels));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until a node tells what is waited for, without a bound on how it comes about.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what} did not come about");
        tokio::time::sleep(LOOKED_AT_EVERY).await;
    }
}

/// Waits until a node's upstream can be reached, or cannot.
pub async fn reachable(node: &Node, is_reachable: bool) {
    until("the upstream's state", async || {
        json_of(node.get("/v1/placement").await).await["upstream"]["reachable"] == is_reachable
    })
    .await;
}
