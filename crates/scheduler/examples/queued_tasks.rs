//! Measures what waiting tasks cost: memory for each, and time to take one in and to begin it.
//! `cargo run --release --workspace --example queued_tasks -- [TASKS] [SHARES]` (Linux).

use std::error::Error;
use std::time::Instant;

use runabout_protocol::{Json, Language, Outcome, Returned, TaskId, Trust, Usage, WorkerId};
use runabout_scheduler::placement::Side;
use runabout_scheduler::{
    Capabilities, Effect, Event, Lease, Moment, Needs, Offer, Rules, Scheduler, Share, Step,
    Submission,
};
use uuid::Uuid;

const NOW: Moment = Moment(1_000_000);
const PAGE_BYTES: u64 = 4_096;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let tasks = args.next().transpose()?.unwrap_or(1_000_000);
    let shares = args.next().transpose()?.unwrap_or(1);

    let mut scheduler = Scheduler::new(Rules::default());
    let before = resident_bytes()?;
    let begun = Instant::now();
    for n in 0..tasks {
        scheduler.step(NOW, Event::Submit(vec![submission(n, n % shares)]));
    }
    let submit = begun.elapsed();
    let bytes = resident_bytes()?.saturating_sub(before);
    println!("{tasks} tasks of {shares} shares wait");
    println!("{:8} bytes each", bytes / tasks);
    println!("{:8} ns to submit one", submit.as_nanos() / u128::from(tasks));

    let begun = Instant::now();
    let ended = run_all(&mut scheduler);
    println!("{:8} ns to begin and end one", begun.elapsed().as_nanos() / u128::from(ended));
    Ok(())
}

/// Lets a worker with one slot run them one after the other.
fn run_all(scheduler: &mut Scheduler) -> u64 {
    let worker = WorkerId(Uuid::from_u128(1));
    let offer = Offer { capabilities: Capabilities::all(), trust: Trust::Node, side: Side::Here };
    let mut step = scheduler.step(NOW, Event::WorkerJoined { worker, slots: 1, offer });
    let mut ended = 0;
    while let Some(lease) = begun_in(&step) {
        let outcome = Outcome::Returned(Returned { value: Json::null(), encoding: None });
        step = scheduler.step(NOW, Event::Finished { lease, outcome, usage: Usage::default() });
        ended += 1;
    }
    ended
}

fn begun_in(step: &Step) -> Option<Lease> {
    step.effects.iter().find_map(|effect| match effect {
        Effect::Run(lease) => Some(*lease),
        _ => None,
    })
}

fn submission(n: u64, share: u64) -> Submission {
    Submission {
        // As scattered as the random bits of a UUID are, so that no order is found by accident.
        task: TaskId(Uuid::from_u128(
            u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        )),
        needs: Needs::of(Language::Js),
        priority: 0,
        share: Share(share),
        bytes: 300,
        timeout_ms: 30_000,
        max_attempts: 1,
        ready_at: NOW,
    }
}

fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("no resident pages in statm")?.parse()?;
    Ok(pages * PAGE_BYTES)
}
