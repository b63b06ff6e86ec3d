//! How fast task lives are written: `cargo run --release --workspace --example life`.
use jiff::Timestamp;
use runabout_protocol::*;
use runabout_store::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    rt.block_on(async {
        let dir = tempfile::tempdir_in(".").unwrap();
        let store = Store::open(dir.path()).unwrap();
        let n: usize = std::env::args().nth(1).map_or(100_000, |it| it.parse().unwrap());
        let group: usize = std::env::args().nth(2).map_or(100, |it| it.parse().unwrap());
        let mut times = [0.0f64; 3];
        for _ in 0..n / group {
            let tasks: Vec<_> = (0..group)
                .map(|_| {
                    Arc::new(NewTask {
                        id: TaskId(uuid::Uuid::now_v7()),
                        name: None,
                        function: Some("fib@1".into()),
                        digest: Digest([7; 32]),
                        artifact: None,
                        language: Language::Wasm,
                        form: None,
                        export: Some("fib".into()),
                        args: Arguments {
                            values: serde_json::from_str("[1]").unwrap(),
                            encoding: None,
                        },
                        stdin: None,
                        limits: Limits { timeout_ms: 30000, cpu_ms: 30000, memory_bytes: 1 << 27 },
                        max_attempts: 1,
                        priority: 0,
                        queue_bytes: 300,
                        labels: BTreeMap::new(),
                        created_at: Timestamp::now(),
                        run_at: None,
                    })
                })
                .collect();
            let t = Instant::now();
            store
                .commit(
                    tasks.iter().map(|t| Write::TaskAccepted(Arc::clone(t))).collect::<Vec<_>>(),
                )
                .await
                .unwrap();
            times[0] += t.elapsed().as_secs_f64();
            let t = Instant::now();
            store
                .commit(
                    tasks
                        .iter()
                        .map(|t| Write::AttemptBegan {
                            task: t.id,
                            attempt: Attempt(1),
                            worker: "0199a-2232-2323-23232323".into(),
                            trust: Trust::Node,
                            at: Timestamp::now(),
                        })
                        .collect::<Vec<_>>(),
                )
                .await
                .unwrap();
            times[1] += t.elapsed().as_secs_f64();
            let t = Instant::now();
            let ends = tasks.iter().flat_map(|t| {
                [
                    Write::AttemptEnded {
                        task: t.id,
                        attempt: Attempt(1),
                        at: Timestamp::now(),
                        outcome: Some(Outcome::Returned(Returned {
                            value: Json::parse("1".into()).unwrap(),
                            encoding: None,
                        })),
                        usage: Some(Usage::default()),
                    },
                    Write::TaskEnded {
                        task: t.id,
                        at: Timestamp::now(),
                        state: TaskState::Succeeded,
                        outcome: None,
                        lost: 0,
                    },
                ]
            });
            store.commit(ends.collect::<Vec<_>>()).await.unwrap();
            times[2] += t.elapsed().as_secs_f64();
        }
        let us = times.map(|t| t * 1e6 / n as f64);
        println!(
            "accept {:.1} began {:.1} ended {:.1} total {:.1} us/task",
            us[0],
            us[1],
            us[2],
            us.iter().sum::<f64>()
        );
    });
}
