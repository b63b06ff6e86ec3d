//! The hostile guests. Every row of `tests/hostile/table.toml` ends as it says, others are served
//! rightly meanwhile, and the node's memory comes back. How long others wait is measured by
//! `cargo xtask hostile`.

use runabout_tests::Node;
use runabout_tests::hostile::{
    AT_ONCE, HeldSlots, Neighbours, deploy_neighbours, memory_given_back, memory_returned, table,
    walk,
};
use serde_json::json;

/// How much more memory the node may hold after two walks than before. What is kept of compiled
/// and read code is forgotten meanwhile.
const GROWTH_BYTES_MAX: u64 = 110 << 20;

#[tokio::test]
async fn hostile_guests_end_as_the_table_says_and_leave_nothing_behind() {
    let node = Node::start(&[]).await;
    deploy_neighbours(&node).await;
    let rows = table();
    let at_first = memory_returned(&node).await;
    for _ in 0..2 {
        let neighbours = Neighbours::start(&node);
        let visits = walk(&node, &rows, AT_ONCE).await;
        let waits = neighbours.end();
        assert!(!waits.is_empty());
        let wrong: Vec<_> = visits
            .iter()
            .filter(|visit| !visit.wrong.is_empty())
            .map(|visit| format!("{}: {}", visit.name, visit.wrong.join("; ")))
            .collect();
        assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    }
    memory_given_back(&node, at_first + GROWTH_BYTES_MAX).await;
}

#[tokio::test]
async fn calls_are_answered_while_every_slot_is_held() {
    let node = Node::start(&[]).await;
    deploy_neighbours(&node).await;
    let held = HeldSlots::take(&node).await;
    for _ in 0..50 {
        let answer = node.call("fib", json!([26])).await;
        assert_eq!(answer.text().await.expect("is text"), "121393");
    }
    // Nobody made room for them: the slots were held all the time.
    assert_eq!(held.running(&node).await, held.count());
    held.give_back(&node).await;
    memory_returned(&node).await;
}
