//! `Runabout-Load`: what a node tells another one beside its answer, so that the asking node knows
//! what to expect: its processors, the runs under way, and the processor time of the run asked for.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub const LOAD: HeaderName = HeaderName::from_static("runabout-load");

/// How busy a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NodeLoad {
    /// Its processors.
    pub processors: u32,
    /// Runs under way.
    pub running: u32,
    /// Processor time of the run that was asked for, in milliseconds, where it was measured.
    pub cpu_ms: Option<f64>,
}

impl NodeLoad {
    /// As the header carries it.
    pub fn header(&self) -> Option<HeaderValue> {
        let Self { processors, running, cpu_ms } = self;
        let mut text = format!("processors={processors}, running={running}");
        if let Some(cpu_ms) = cpu_ms {
            text.push_str(&format!(", cpu_ms={cpu_ms:.3}"));
        }
        HeaderValue::try_from(text).ok()
    }

    /// What a node says of itself, if it does; what is not understood is passed over.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(LOAD)?.to_str().ok()?;
        let mut load = Self::default();
        for (name, value) in text.split(',').filter_map(|it| it.trim().split_once('=')) {
            match name {
                "processors" => load.processors = value.parse().ok()?,
                "running" => load.running = value.parse().ok()?,
                "cpu_ms" => load.cpu_ms = value.parse().ok().filter(|ms: &f64| *ms >= 0.0),
                _ => {}
            }
        }
        Some(load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood() {
        for cpu_ms in [None, Some(12.5)] {
            let load = NodeLoad { processors: 8, running: 3, cpu_ms };
            let headers = HeaderMap::from_iter([(LOAD, load.header().expect("is a header"))]);
            assert_eq!(NodeLoad::of(&headers), Some(load));
        }
        assert_eq!(NodeLoad::of(&HeaderMap::new()), None);
    }
}
