//! Who reads. Each checks that what it gets is a whole revision, and none from before the one it got
//! last.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::wire::Wire;
use super::{Account, Plan};

/// Reads from `begin` to `end`.
pub async fn read(
    plan: Plan,
    account: Arc<Account>,
    number: usize,
    (begin, end): (Instant, Instant),
) {
    let mut wire = match Wire::connect(&plan.node, &plan.path).await {
        Ok(wire) => wire,
        Err(error) => return account.failed(&format!("cannot connect: {error}")),
    };
    let mut latencies = Vec::with_capacity(4_096);
    let mut seen = 0;
    let pause = pause(&plan);
    // Spread over the first pause.
    let mut due = begin + pause.unwrap_or_default().mul_f64(number as f64 / plan.readers as f64);
    sleep_until(due).await;
    while Instant::now() < end {
        // In an open loop a request is late from when it was due, and not from when it was sent.
        let asked = if pause.is_some() { due } else { Instant::now() };
        match wire.ask().await {
            Ok(answer) if answer.status == 200 => {
                let took = asked.elapsed().as_micros();
                latencies.push(u32::try_from(took).unwrap_or(u32::MAX));
                match answer.revision {
                    Some(revision) if revision < seen => {
                        account.wrong(format!("revision {revision} came after {seen}"));
                    }
                    Some(revision) => {
                        seen = revision;
                        if !plan.unchecked {
                            account.saw(revision, answer.body);
                        }
                    }
                    None if !plan.unchecked => {
                        account.wrong("an answer names no revision".to_owned())
                    }
                    None => {}
                }
            }
            Ok(answer) => account.refused(answer.status),
            Err(error) => {
                account.failed(&error.to_string());
                match Wire::connect(&plan.node, &plan.path).await {
                    Ok(again) => wire = again,
                    Err(error) => return account.failed(&format!("cannot connect: {error}")),
                }
            }
        }
        if let Some(pause) = pause {
            due += pause;
            sleep_until(due).await;
        }
    }
    account.read(latencies);
}

/// How long each reader waits from one request to the next.
fn pause(plan: &Plan) -> Option<Duration> {
    (plan.rate > 0).then(|| Duration::from_secs_f64(plan.readers as f64 / plan.rate as f64))
}
