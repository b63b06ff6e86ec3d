//! How long a task waits before it is tried again.

use runabout_protocol::TaskId;

use crate::Rules;

/// The wait after the given number of failures: it doubles each time, and is shortened by up to
/// half, differently for each task, so that tasks that failed together do not return together.
pub(crate) fn wait_ms(rules: &Rules, task: TaskId, failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(32);
    let whole = rules.retry_first_ms.saturating_mul(1 << doublings).min(rules.retry_longest_ms);
    whole - mix(task, failures) % (whole / 2 + 1)
}

/// An id's low bits are random, so that mixing them with the count (by SplitMix64's finisher)
/// does for a random number without drawing one.
fn mix(task: TaskId, failures: u32) -> u64 {
    let (_, random) = task.0.as_u64_pair();
    let mut z = random.wrapping_add(u64::from(failures).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(n: u128) -> TaskId {
        TaskId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn the_wait_doubles_up_to_the_longest() {
        let rules = Rules::default();
        let ceilings = [(1, 1_000), (2, 2_000), (3, 4_000), (7, 60_000), (u32::MAX, 60_000)];
        for (failures, ceiling) in ceilings {
            let wait = wait_ms(&rules, task(7), failures);
            assert!((ceiling / 2..=ceiling).contains(&wait), "{failures} failures: {wait} ms");
        }
    }

    #[test]
    fn tasks_that_failed_together_return_apart() {
        let rules = Rules::default();
        let mut waits: Vec<u64> = (0..100).map(|n| wait_ms(&rules, task(n), 1)).collect();
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 50, "only {} different waits", waits.len());
    }
}
