//! The flags that limit a run.

use clap::Args;
use runabout_protocol::LimitsRequest;

use crate::units;

/// What a run may use; what is left out is the function's or the node's default.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct LimitFlags {
    /// Wall-clock time: milliseconds, or with a unit: 500ms, 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = units::milliseconds)]
    timeout: Option<u64>,
    /// Processor time, written like --timeout and equal to it if left out
    #[arg(long, value_name = "TIME", value_parser = units::milliseconds)]
    cpu: Option<u64>,
    /// Memory: bytes, or with a unit: 64MiB, 1GiB
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    memory: Option<u64>,
}

impl LimitFlags {
    /// The limits as a request words them.
    pub fn request(self) -> LimitsRequest {
        LimitsRequest { timeout_ms: self.timeout, cpu_ms: self.cpu, memory_bytes: self.memory }
    }

    /// The same, or `None` if nothing is asked for.
    pub fn wished(self) -> Option<LimitsRequest> {
        let request = self.request();
        (request != LimitsRequest::default()).then_some(request)
    }
}
