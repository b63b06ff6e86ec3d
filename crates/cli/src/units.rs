//! Durations and sizes as people write them: `500`, `30s`, `5m`; `1048576`, `64MiB`, `1GiB`.

/// Reads milliseconds: a bare number, or one with `ms`, `s`, `m`, `h` or `d`.
pub fn milliseconds(text: &str) -> Result<u64, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    with_unit(text, &units).ok_or_else(|| {
        format!("{text:?} is no duration: write milliseconds, or a number with ms, s, m, h or d")
    })
}

/// Reads milliseconds too, but never from a bare number: what is kept for 30 of something had
/// better say of what.
pub fn age(text: &str) -> Result<u64, String> {
    if text.trim_end().ends_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("{text:?} has no unit: write {text}d for days, or use ms, s, m or h"));
    }
    milliseconds(text)
}

/// Reads bytes: a bare number, or one with `KiB`, `MiB` or `GiB`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    with_unit(text, &units).ok_or_else(|| {
        format!("{text:?} is no size: write bytes, or a number with KiB, MiB or GiB")
    })
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let factor = match unit {
        "" => 1,
        _ => units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    digits.trim_end().parse::<u64>().ok()?.checked_mul(factor)
}

/// Bytes for a person: `1.1 MiB`.
pub fn show_bytes(bytes: u64) -> String {
    let scaled = |unit_bytes: f64, unit| format!("{:.1} {unit}", bytes as f64 / unit_bytes);
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => scaled(1_024.0, "KiB"),
        1_048_576..1_073_741_824 => scaled(1_048_576.0, "MiB"),
        _ => scaled(1_073_741_824.0, "GiB"),
    }
}

/// Milliseconds for a person: `22.9 ms`, `1.55 s`.
pub fn show_milliseconds(ms: f64) -> String {
    if ms < 1_000.0 { format!("{ms:.1} ms") } else { format!("{:.2} s", ms / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_says_its_unit() {
        assert_eq!(age("30d"), milliseconds("30d"));
        assert!(age("30").is_err());
    }

    #[test]
    fn durations_are_milliseconds_unless_they_say_otherwise() {
        assert_eq!(milliseconds("500"), Ok(500));
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("30s"), Ok(30_000));
        assert_eq!(milliseconds("5 m"), Ok(300_000));
        assert_eq!(milliseconds("7d"), Ok(604_800_000));
        assert!(milliseconds("soon").is_err());
        assert!(milliseconds("-1").is_err());
        assert!(milliseconds("99999999999999999h").is_err());
    }

    #[test]
    fn sizes_are_bytes_unless_they_say_otherwise() {
        assert_eq!(bytes("134217728"), Ok(128 << 20));
        assert_eq!(bytes("128MiB"), Ok(128 << 20));
        assert_eq!(bytes("1gib"), Ok(1 << 30));
        assert!(bytes("1TB").is_err());
    }

    #[test]
    fn figures_are_shown_in_the_unit_they_fit() {
        assert_eq!([show_bytes(17), show_bytes(1_114_112)], ["17 B", "1.1 MiB"]);
        assert_eq!([show_milliseconds(22.94), show_milliseconds(1_550.0)], ["22.9 ms", "1.55 s"]);
    }
}
