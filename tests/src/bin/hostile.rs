//! `cargo xtask hostile`: sets the hostile guests loose on a node and measures what others feel of
//! it: how long their calls take, and whether the node's memory comes back.

use std::time::{Duration, Instant};

use clap::Parser;
use runabout_tests::Node;
use runabout_tests::hostile::{
    AT_ONCE, HeldSlots, Neighbours, Row, Visit, Wait, deploy_neighbours, memory_returned, table,
    walk,
};

/// How long the neighbours are measured while they are alone.
const ALONE_FOR: Duration = Duration::from_secs(3);

/// How long they are measured while every slot is held.
const HELD_FOR: Duration = Duration::from_secs(5);

/// How many of the longest waits are told.
const WORST: usize = 8;

/// After a minute in which nobody asked for anything the node forgets the code it has in memory.
const LONG_REST: Duration = Duration::from_secs(140);

/// When what was freed has been given back to the system.
const GIVEN_BACK_AFTER: std::time::Duration = std::time::Duration::from_secs(11);

#[derive(Parser)]
#[command(about = "Measures what hostile guests do to others")]
struct Options {
    /// Walks through the table; the first is a warm-up.
    #[arg(long, default_value_t = 4)]
    walks: usize,
    /// Guests on the node at once.
    #[arg(long, default_value_t = AT_ONCE)]
    at_once: usize,
    /// Only rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let mut rows = table();
    rows.retain(|row| row.name.contains(&options.only));
    let node = Node::start(&[]).await;
    deploy_neighbours(&node).await;

    let neighbours = Neighbours::start(&node);
    tokio::time::sleep(ALONE_FOR).await;
    tell("alone", &neighbours.end());
    tell_memory("at the start", &node).await;

    let mut is_right = true;
    for number in 1..=options.walks {
        is_right &= one_walk(&node, &rows, options.at_once, number).await;
    }

    let held = HeldSlots::take(&node).await;
    let neighbours = Neighbours::start(&node);
    tokio::time::sleep(HELD_FOR).await;
    tell(&format!("all {} slots held by endless runs", held.count()), &neighbours.end());
    held.give_back(&node).await;
    tell_memory("at the end", &node).await;
    tokio::time::sleep(LONG_REST).await;
    tell_memory("after a rest of two minutes", &node).await;
    if !is_right {
        std::process::exit(1);
    }
}

async fn one_walk(node: &Node, rows: &[Row], at_once: usize, number: usize) -> bool {
    let neighbours = Neighbours::start(node);
    let began = Instant::now();
    let visits = walk(node, rows, at_once).await;
    let seconds = began.elapsed().as_secs_f64();
    let waits = neighbours.end();
    let wrong: Vec<_> = visits.iter().filter(|visit| !visit.wrong.is_empty()).collect();
    let right = visits.len() - wrong.len();
    println!("walk {number}: {right} of {} ends as expected, {seconds:.1} s", visits.len());
    for visit in &wrong {
        println!("  WRONG {}: {}", visit.name, visit.wrong.join("; "));
    }
    tell(&format!("walk {number}"), &waits);
    tell_worst(waits, &visits);
    tell_memory(&format!("after walk {number}"), node).await;
    wrong.is_empty()
}

fn tell(when: &str, waits: &[Wait]) {
    let told = |name: &str, of: fn(&Wait) -> f64| {
        let mut all: Vec<f64> = waits.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        let at = |share: f64| all.get((all.len() as f64 * share) as usize).or(all.last()).copied();
        let [p50, p99, worst] = [0.5, 0.99, 1.0].map(|share| at(share).unwrap_or(f64::NAN));
        println!("  {name:<24} p50 {p50:8.2} ms   p99 {p99:8.2} ms   max {worst:8.2} ms");
    };
    println!("{when}: {} calls of others", waits.len());
    told("by the caller's clock", |wait| wait.caller_ms);
    told("by the node's, total", |wait| wait.total_ms);
    told("by the node's, queue", |wait| wait.queue_ms);
}

/// The longest waits, and who was on the node then.
fn tell_worst(mut waits: Vec<Wait>, visits: &[Visit]) {
    waits.sort_by(|one, other| other.caller_ms.total_cmp(&one.caller_ms));
    for wait in waits.iter().take(WORST) {
        let ended = wait.began + Duration::from_secs_f64(wait.caller_ms / 1e3);
        let about: Vec<_> = visits
            .iter()
            .filter(|visit| visit.began < ended && visit.ended > wait.began)
            .map(|visit| visit.name.as_str())
            .collect();
        let Wait { caller_ms, total_ms, run_ms, .. } = wait;
        let about = about.join(", ");
        println!("    {caller_ms:7.1} ms (node {total_ms:.1}, run {run_ms:.1}) beside {about}");
    }
}

async fn tell_memory(when: &str, node: &Node) {
    // The node gives back what it has freed every five seconds.
    tokio::time::sleep(GIVEN_BACK_AFTER).await;
    let mebibytes = memory_returned(node).await as f64 / f64::from(1 << 20);
    println!("memory {when}: {mebibytes:.1} MiB resident");
}
