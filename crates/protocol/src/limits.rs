//! What a run may use, and how a request's wishes meet a node's maxima.

use serde::{Deserialize, Serialize};

/// The limits of one run, all decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Limits {
    /// Wall-clock time, in milliseconds.
    pub timeout_ms: u64,
    /// Processor time, in milliseconds.
    pub cpu_ms: u64,
    /// Memory, in bytes: every linear memory, table and buffer of the run counted.
    pub memory_bytes: u64,
}

impl Default for Limits {
    /// 30 s of wall-clock and of processor time, 128 MiB.
    fn default() -> Self {
        Self { timeout_ms: 30_000, cpu_ms: 30_000, memory_bytes: 128 << 20 }
    }
}

/// The limits a request or a manifest asks for; what it leaves out is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct LimitsRequest {
    /// Wall-clock time, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Processor time, in milliseconds; the wall-clock limit if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// A limit asked for is above what the node grants, or is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AboveMaximum {
    /// The field of [`LimitsRequest`].
    pub field: &'static str,
    /// What was asked for.
    pub asked: u64,
    /// The most the node grants.
    pub maximum: u64,
}

impl LimitsRequest {
    /// Fills what `self` leaves open from `fallback`: a call's wishes over its manifest's.
    pub fn or(self, fallback: Self) -> Self {
        Self {
            timeout_ms: self.timeout_ms.or(fallback.timeout_ms),
            // A tighter wall-clock wish is not undone by the manifest's processor time.
            cpu_ms: self.cpu_ms.or(if self.timeout_ms.is_some() { None } else { fallback.cpu_ms }),
            memory_bytes: self.memory_bytes.or(fallback.memory_bytes),
        }
    }

    /// Decides the limits of a run.
    ///
    /// # Errors
    /// A wish is zero or above `maximum`.
    pub fn resolve(self, maximum: Limits) -> Result<Limits, AboveMaximum> {
        let default = Limits::default();
        let timeout_ms = self.timeout_ms.unwrap_or(default.timeout_ms.min(maximum.timeout_ms));
        let cpu_ms = self.cpu_ms.unwrap_or(timeout_ms.min(maximum.cpu_ms));
        let memory_bytes =
            self.memory_bytes.unwrap_or(default.memory_bytes.min(maximum.memory_bytes));
        within("timeout_ms", timeout_ms, maximum.timeout_ms)?;
        within("cpu_ms", cpu_ms, maximum.cpu_ms)?;
        within("memory_bytes", memory_bytes, maximum.memory_bytes)?;
        Ok(Limits { timeout_ms, cpu_ms, memory_bytes })
    }
}

fn within(field: &'static str, asked: u64, maximum: u64) -> Result<(), AboveMaximum> {
    if asked == 0 || asked > maximum {
        return Err(AboveMaximum { field, asked, maximum });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAXIMUM: Limits = Limits { timeout_ms: 60_000, cpu_ms: 60_000, memory_bytes: 1 << 30 };

    #[test]
    fn nothing_asked_for_is_the_default() {
        assert_eq!(LimitsRequest::default().resolve(MAXIMUM), Ok(Limits::default()));
    }

    #[test]
    fn processor_time_follows_the_wall_clock() {
        let request = LimitsRequest { timeout_ms: Some(50), ..Default::default() };
        assert_eq!(request.resolve(MAXIMUM).map(|limits| limits.cpu_ms), Ok(50));
    }

    #[test]
    fn above_the_maximum_names_the_field() {
        let request = LimitsRequest { memory_bytes: Some(2 << 30), ..Default::default() };
        let refused = request.resolve(MAXIMUM).map_err(|above| above.field);
        assert_eq!(refused, Err("memory_bytes"));
    }

    #[test]
    fn zero_is_no_limit_to_run_under() {
        let request = LimitsRequest { timeout_ms: Some(0), ..Default::default() };
        assert!(request.resolve(MAXIMUM).is_err());
    }
}
