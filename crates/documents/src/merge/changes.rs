//! What one text has changed of another, as ranges of tokens. In time that is bounded, whatever the
//! texts: what cannot be told apart within it counts as changed as a whole.

use std::collections::HashMap;
use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput, NoSliderHeuristic, Token};

/// The most steps spent on a merge, or on the difference of two texts: roughly a quarter of a second.
/// A stretch of n tokens beside one of m takes n times m at worst.
pub(crate) const STEPS_MAX: usize = 100_000_000;

/// Up to here two stretches are compared as a whole, which finds the best match.
const STEPS_AT_ONCE_MAX: usize = 4_000_000;

/// A stretch of the base, and what stands there instead. Between two changes of one text lies at
/// least one token that it has kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// In the base.
    pub(crate) before: Range<usize>,
    /// In the changed text.
    pub(crate) after: Range<usize>,
}

/// What `side` has changed of `base`, from front to back, found in no more than the steps that are
/// `left`. With `spread`, changes of one line with nothing but space and punctuation between them are
/// one: whoever changes two neighbouring words has changed what they say together.
pub(crate) fn changes(base: &[&str], side: &[&str], spread: bool, left: &mut usize) -> Vec<Change> {
    let mut input: InternedInput<&str> = InternedInput::default();
    input.update_before(base.iter().copied());
    input.update_after(side.iter().copied());
    let whole = Change { before: 0..base.len(), after: 0..side.len() };
    let stretch = strip(whole, &input.before, &input.after);
    let mut found = Vec::new();
    if steps(&stretch) <= STEPS_AT_ONCE_MAX.min(*left) {
        *left -= steps(&stretch);
        let mut diff = Diff::compute(Algorithm::Histogram, &input);
        // Both sides' changes come to lie at the same end of a row of equal tokens.
        diff.postprocess_with_heuristic(&input, NoSliderHeuristic);
        found.extend(hunks(&diff, 0, 0));
    } else {
        for gap in gaps(stretch, &input.before, &input.after) {
            compare(gap, (&input.before, &input.after), left, &mut found);
        }
    }
    if spread { joined(found, base) } else { found }
}

fn hunks(diff: &Diff, before: usize, after: usize) -> impl Iterator<Item = Change> {
    let range = |range: Range<u32>, from| range.start as usize + from..range.end as usize + from;
    diff.hunks().map(move |hunk| Change {
        before: range(hunk.before, before),
        after: range(hunk.after, after),
    })
}

fn steps(stretch: &Change) -> usize {
    stretch.before.len().saturating_mul(stretch.after.len())
}

/// Without what is equal at both ends.
fn strip(mut stretch: Change, before: &[Token], after: &[Token]) -> Change {
    while !stretch.before.is_empty()
        && !stretch.after.is_empty()
        && before[stretch.before.start] == after[stretch.after.start]
    {
        stretch.before.start += 1;
        stretch.after.start += 1;
    }
    while !stretch.before.is_empty()
        && !stretch.after.is_empty()
        && before[stretch.before.end - 1] == after[stretch.after.end - 1]
    {
        stretch.before.end -= 1;
        stretch.after.end -= 1;
    }
    stretch
}

/// Cuts a long stretch at tokens that both texts have exactly once, in the same order.
fn gaps(stretch: Change, before: &[Token], after: &[Token]) -> Vec<Change> {
    let mut gaps = Vec::new();
    let mut rest = stretch.clone();
    for (old, new) in ascending(&anchors(&stretch, before, after)) {
        gaps.push(Change { before: rest.before.start..old, after: rest.after.start..new });
        (rest.before.start, rest.after.start) = (old + 1, new + 1);
    }
    gaps.push(rest);
    gaps
}

/// Where both have a token that neither has twice, by its place in `before`.
fn anchors(stretch: &Change, before: &[Token], after: &[Token]) -> Vec<(usize, usize)> {
    let once = |tokens: &[Token], range: &Range<usize>| {
        let mut places: HashMap<Token, Option<usize>> = HashMap::new();
        for at in range.clone() {
            places.entry(tokens[at]).and_modify(|place| *place = None).or_insert(Some(at));
        }
        places
    };
    let (old, new) = (once(before, &stretch.before), once(after, &stretch.after));
    let place =
        |places: &HashMap<Token, Option<usize>>, token| places.get(token).copied().flatten();
    stretch
        .before
        .clone()
        .filter_map(|at| Some((place(&old, &before[at])?, place(&new, &before[at])?)))
        .collect()
}

/// The longest row of anchors that keep their order in the other text as well.
fn ascending(anchors: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // The anchor at which the best row of each length ends, and for each anchor the one before it.
    let mut ends: Vec<usize> = Vec::new();
    let mut previous: Vec<Option<usize>> = Vec::with_capacity(anchors.len());
    for (index, (_, new)) in anchors.iter().enumerate() {
        let length = ends.partition_point(|end| anchors[*end].1 < *new);
        previous.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        if length == ends.len() {
            ends.push(index);
        } else {
            ends[length] = index;
        }
    }
    let mut row = Vec::with_capacity(ends.len());
    let mut at = ends.last().copied();
    while let Some(index) = at {
        row.push(anchors[index]);
        at = previous[index];
    }
    row.reverse();
    row
}

/// Finds what has changed in a gap, if the steps that are left allow it.
fn compare(
    gap: Change,
    (before, after): (&[Token], &[Token]),
    left: &mut usize,
    found: &mut Vec<Change>,
) {
    let gap = strip(gap, before, after);
    let steps = steps(&gap);
    if steps == 0 || steps > *left {
        if !(gap.before.is_empty() && gap.after.is_empty()) {
            found.push(gap);
        }
        return;
    }
    *left -= steps;
    let mut diff = Diff::default();
    let (old, new) = (&before[gap.before.clone()], &after[gap.after.clone()]);
    // This algorithm does not ask how many different tokens there are.
    diff.compute_with(Algorithm::Myers, old, new, 0);
    found.extend(hunks(&diff, gap.before.start, gap.after.start));
}

fn joined(changes: Vec<Change>, base: &[&str]) -> Vec<Change> {
    let parts = |token: &&str| *token == "\n" || token.starts_with(char::is_alphanumeric);
    let is_gap = |tokens: &[&str]| !tokens.iter().any(parts);
    let mut joined: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes {
        match joined.last_mut() {
            Some(last) if is_gap(&base[last.before.end..change.before.start]) => {
                last.before.end = change.before.end;
                last.after.end = change.after.end;
            }
            _ => joined.push(change),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(base: &[&str], side: &[&str], changes: &[Change]) -> Vec<String> {
        let (mut result, mut at): (Vec<&str>, _) = (Vec::new(), 0);
        for Change { before, after } in changes {
            result.extend(base[at..before.start].iter().chain(&side[after.clone()]));
            at = before.end;
        }
        result.extend(&base[at..]);
        result.into_iter().map(ToString::to_string).collect()
    }

    proptest! {
        #[test]
        fn cut_at_anchors_or_not_the_changes_lead_from_one_to_the_other(
            base in prop::collection::vec("[a-k]", 0..40),
            side in prop::collection::vec("[a-k]", 0..40),
            left in 0_usize..500,
        ) {
            let base: Vec<_> = base.iter().map(String::as_str).collect();
            let side: Vec<_> = side.iter().map(String::as_str).collect();
            for spread in [false, true] {
                let mut some = left;
                let found = changes(&base, &side, spread, &mut some);
                prop_assert_eq!(&applied(&base, &side, &found), &side);
            }

            let mut input: InternedInput<&str> = InternedInput::default();
            input.update_before(base.iter().copied());
            input.update_after(side.iter().copied());
            let whole = Change { before: 0..base.len(), after: 0..side.len() };
            let (mut left, mut found) = (left, Vec::new());
            for gap in gaps(whole, &input.before, &input.after) {
                compare(gap, (&input.before, &input.after), &mut left, &mut found);
            }
            prop_assert_eq!(&applied(&base, &side, &found), &side);
            for pair in found.windows(2) {
                prop_assert!(pair[0].before.end < pair[1].before.start, "{:?}", found);
            }
        }
    }

    #[test]
    fn far_apart_changes_of_a_long_text_are_found_one_by_one() {
        let base: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let mut side = base.clone();
        side[3] = "x".to_owned();
        side[9_990] = "y".to_owned();
        let [base, side] =
            [&base, &side].map(|it| it.iter().map(String::as_str).collect::<Vec<_>>());
        let found = changes(&base, &side, false, &mut STEPS_MAX.clone());
        let expected = [3..4, 9_990..9_991].map(|at| Change { before: at.clone(), after: at });
        assert_eq!(found, expected);
    }
}
