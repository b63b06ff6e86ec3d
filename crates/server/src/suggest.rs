//! Finds the known word nearest to a mistyped one, and reads which are known out of what serde says.

/// Below this likeness a suggestion would puzzle more than it helps.
const LIKENESS_MIN: f64 = 0.6;

/// The word of `known` that is most like `word`, if any is like it.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let likeness = |candidate: &str| {
        // Somebody who writes `timeout` means `timeout_ms`, however many letters are missing.
        let contained = word.len() >= 3 && candidate.contains(&word);
        let bonus = if contained { 0.2 } else { 0.0 };
        strsim::jaro_winkler(&word, candidate) + bonus
    };
    known
        .into_iter()
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(score, _)| *score >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Takes serde's ``unknown field `x`, expected one of `a`, `b` `` apart, of which `opening` is what
/// stands before the word that is not known. Those that are known come last and hold no backticks, so
/// that those of `x` do no harm.
pub fn unexpected<'a>(message: &'a str, opening: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let (word, known) = message.strip_prefix(opening)?.rsplit_once("`, expected ")?;
    Some((word, known.split('`').skip(1).step_by(2).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_finds_the_one_that_was_meant() {
        let known = ["source", "function", "args", "limits", "timeout_ms", "retries", "run_at"];
        for (word, meant) in [
            ("soruce", "source"),
            ("Source", "source"),
            ("func", "function"),
            ("arguments", "args"),
            ("limit", "limits"),
            ("timeout", "timeout_ms"),
            ("timeoutMs", "timeout_ms"),
            ("retry", "retries"),
            ("runAt", "run_at"),
        ] {
            assert_eq!(nearest(word, known), Some(meant), "{word}");
        }
    }

    #[test]
    fn a_word_like_no_other_gets_no_suggestion() {
        assert_eq!(nearest("zzz", ["source", "args"]), None);
    }
}
