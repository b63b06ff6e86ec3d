//! Those who only want their own work done, while hostile guests are about: they call a function of
//! a millisecond, again and again, and look whether the world of their run is as it should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::{Address, Node, guest, project};

/// Between one call and the next, so that the callers are steady and not a load.
const PAUSE: Duration = Duration::from_millis(2);

/// What they call, with what arguments, and what it must answer.
const CALLS: [(&str, &str, &str); 2] = [("fib", "[26]", "121393"), ("witness", "[]", "[]")];

/// How long one call took.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    /// When it was asked.
    pub began: Instant,
    /// From the question to the answer, by the caller's clock.
    pub caller_ms: f64,
    /// From head to answer, by the node's.
    pub total_ms: f64,
    /// How much of that it waited for its turn.
    pub queue_ms: f64,
    /// How much of that its run took.
    pub run_ms: f64,
}

/// A steady caller, on a thread of its own.
pub struct Neighbours {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Wait>>,
}

/// Deploys what the neighbours call.
pub async fn deploy_neighbours(node: &Node) {
    node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let witness = std::fs::read(project().join("tests/hostile/witness.js")).expect("is there");
    node.deploy("witness", "text/javascript", witness).await;
}

impl Neighbours {
    /// Starts to call.
    pub fn start(node: &Node) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (address, asked_to_end) = (node.address().apart(), is_over.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(call_until(&address, &asked_to_end))
        });
        Self { is_over, thread }
    }

    /// Ends, and tells how long every call took.
    ///
    /// # Panics
    /// A call was not answered, or was answered wrong.
    pub fn end(self) -> Vec<Wait> {
        self.is_over.store(true, Relaxed);
        self.thread.join().expect("every neighbour is answered, and right")
    }
}

async fn call_until(node: &Address, is_over: &AtomicBool) -> Vec<Wait> {
    let mut waits = Vec::new();
    while !is_over.load(Relaxed) {
        for (name, args, expected) in CALLS {
            let request = node.request(Method::POST, &format!("/v1/functions/{name}/call"));
            let request = request.header("content-type", "application/json").body(args);
            let began = Instant::now();
            let answer = request.send().await.expect("the node answers a neighbour");
            let headers = answer.headers().clone();
            let text = answer.text().await.expect("a body arrives");
            let caller_ms = began.elapsed().as_secs_f64() * 1e3;
            assert_eq!(text, expected, "{name}");
            waits.push(Wait {
                began,
                caller_ms,
                total_ms: phase(&headers, "total"),
                queue_ms: phase(&headers, "queue"),
                run_ms: phase(&headers, "run"),
            });
            tokio::time::sleep(PAUSE).await;
        }
    }
    waits
}

/// A phase of `Server-Timing`.
fn phase(headers: &HeaderMap, name: &str) -> f64 {
    let text = headers["server-timing"].to_str().expect("is text");
    let phases = text.split(", ").filter_map(|phase| phase.split_once(";dur="));
    let found = phases.into_iter().find(|(found, _)| *found == name);
    found.and_then(|(_, ms)| ms.parse().ok()).expect("every phase is told")
}
