//! What of this process is in memory.

/// How much is resident of each mapping of that size, in KiB.
pub fn resident_kib(size_kib: u64) -> Vec<u64> {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("is there");
    let number = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    let (mut is_meant, mut resident) = (false, Vec::new());
    for line in maps.lines() {
        if line.starts_with("Size:") {
            is_meant = number(line) == Some(size_kib);
        } else if line.starts_with("Rss:") && is_meant {
            resident.push(number(line).expect("is a number"));
        }
    }
    resident
}
