//! The numbers that policy turns on.

/// Limits and waits. The defaults are those of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Tasks that may wait; a submission beyond is refused.
    pub queue_tasks_max: u64,
    /// Bytes that waiting tasks may hold; a submission beyond is refused.
    pub queue_bytes_max: u64,
    /// Attempts a task may lose with their workers before it is given up.
    pub lost_max: u32,
    /// Attempts that workers may hand back when they leave, with no mark against the task. More
    /// count as lost: a task does not wait for ever for workers that only come and go.
    pub hand_backs_max: u32,
    /// How long after `run` a worker must have said `started`.
    pub start_within_ms: u64,
    /// The same upstream, where the artifact may have to be sent first.
    pub start_upstream_within_ms: u64,
    /// How long after its own timeout an attempt may still report by itself.
    pub deadline_grace_ms: u64,
    /// How long a worker may take to end an attempt it was told to cancel.
    pub stop_within_ms: u64,
    /// The wait before the first retry; it doubles with each further one.
    pub retry_first_ms: u64,
    /// The longest wait before a retry.
    pub retry_longest_ms: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            queue_tasks_max: 2_000_000,
            queue_bytes_max: 4 << 30,
            lost_max: 5,
            hand_backs_max: 20,
            start_within_ms: 10_000,
            start_upstream_within_ms: 90_000,
            deadline_grace_ms: 5_000,
            stop_within_ms: 5_000,
            retry_first_ms: 1_000,
            retry_longest_ms: 60_000,
        }
    }
}
