//! `Server-Timing`, as nodes write and read it: names and milliseconds.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Writes phases.
pub fn server_timing<'a>(phases: impl IntoIterator<Item = (&'a str, Duration)>) -> HeaderValue {
    let mut text = String::with_capacity(80);
    let mut digits = itoa::Buffer::new();
    for (name, duration) in phases {
        let separator = if text.is_empty() { "" } else { ", " };
        text.extend([separator, name, ";dur=", digits.format(duration.as_millis()), "."]);
        // The leading digit only makes three of the others.
        text.push_str(&digits.format(1000 + duration.subsec_micros() % 1000)[1..]);
    }
    HeaderValue::try_from(text).expect("names and numbers make a header")
}

/// How long a phase took, as another node says.
pub fn phase(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let text = headers.get(SERVER_TIMING)?.to_str().ok()?;
    let mut phases = text.split(',').map(str::trim);
    let found = phases.find_map(|phase| phase.strip_prefix(name)?.strip_prefix(";dur="))?;
    Duration::try_from_secs_f64(found.parse::<f64>().ok()? / 1_000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_told_in_milliseconds_and_read_again() {
        let run = Duration::from_micros(22_900);
        let header = server_timing([("run", run), ("total", Duration::from_millis(23))]);
        assert_eq!(header, "run;dur=22.900, total;dur=23.000");
        let headers = HeaderMap::from_iter([(SERVER_TIMING, header)]);
        assert_eq!(phase(&headers, "run"), Some(run));
        assert_eq!(phase(&headers, "queue"), None);
    }
}
