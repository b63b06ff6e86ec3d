//! The merge by examples, and by what holds for any texts.

use proptest::prelude::*;

use super::*;

/// Three texts with a slash for each line end, and the result, or `!` and the pieces that collide.
fn check(base: &str, current: &str, yours: &str, expected: &str) {
    let [base, current, yours] = [base, current, yours].map(|text| text.replace('/', "\n"));
    let shown = match merge(&base, &current, &yours) {
        Merged::Clean(text) => text,
        Merged::Conflicts(collisions) => {
            let piece = |it: &Collision| {
                let Collision { base, current, yours } = it;
                format!("{}|{}|{}", base.text, current.text, yours.text)
            };
            format!("!{}", collisions.iter().map(piece).collect::<Vec<_>>().join("!"))
        }
    };
    assert_eq!(shown.replace('\n', "/"), expected, "{base:?} {current:?} {yours:?}");
}

#[test]
fn changes_of_different_lines_both_stand() {
    check("a/b/c/", "A/b/c/", "a/b/C/", "A/b/C/");
    check("a/b/c/", "x/a/b/c/", "a/b/c/y/", "x/a/b/c/y/");
    check("a/b/c/", "b/c/", "a/b/", "b/");
}

#[test]
fn changes_of_adjacent_lines_both_stand() {
    check("a/b/", "A/b/", "a/B/", "A/B/");
    check("a/b/c/d/", "a/B/c/d/", "a/b/C/d/", "a/B/C/d/");
    check("a/b/", "a/new/b/", "a/B/", "a/new/B/");
    check("a/b/", "A/b/", "a/new/b/", "A/new/b/");
    check("a/b/c/", "a/c/", "a/b/new/c/", "a/new/c/");
}

#[test]
fn changes_of_different_words_of_a_line_both_stand() {
    check("the cat sat down/", "the dog sat down/", "the cat sat still/", "the dog sat still/");
    check("<p>one two three</p>/", "<p>1 two three</p>/", "<p>one two 3</p>/", "<p>1 two 3</p>/");
    check("one two three/four/", "1 two three/4/", "one two 3/four/", "1 two 3/4/");
}

#[test]
fn changes_of_the_same_words_collide() {
    check("a cat/", "a dog/", "a cow/", "!a cat/|a dog/|a cow/");
    check("two cats/", "two dogs/", "two cats!/", "!two cats/|two dogs/|two cats!/");
    check(
        "it fell/x/",
        "it fell, says A./x/",
        "it fell, says B./x/",
        "!it fell/|it fell, says A./|it fell, says B./",
    );
    check("a/b/", "a/", "a/B/", "!b/||B/");
}

#[test]
fn a_rewritten_sentence_is_not_shredded() {
    let (base, current) = ("The pilot landed safely.", "The pilot was injured.");
    let yours = "Nobody landed there safely.";
    check(base, current, yours, &format!("!{base}|{current}|{yours}"));
}

#[test]
fn the_same_insertion_at_one_place_collides() {
    check("a/b/", "a/new/b/", "a/new/b/", "!|new/|new/");
    check("a/", "a/new/", "a/new/", "!|new/|new/");
    check("", "new", "new", "!|new|new");
}

#[test]
fn the_same_change_by_both_stands_once() {
    check("a/teh/c/", "a/the/c/", "a/the/C/", "a/the/C/");
    check("a/b/c/", "a/c/", "a/c/", "a/c/");
}

#[test]
fn collisions_tell_their_lines() {
    let Merged::Conflicts(found) = merge("a\nb\nc\n", "new\na\nx\nc\n", "a\ny\nz\nc\n") else {
        panic!("no conflict");
    };
    let lines = |line, count, text: &str| Lines { line, count, text: text.to_owned() };
    let (base, current, yours) = (lines(2, 1, "b\n"), lines(3, 1, "x\n"), lines(2, 2, "y\nz\n"));
    assert_eq!(found, [Collision { base, current, yours }]);
}

#[test]
fn large_texts_with_nothing_in_common_take_no_time_to_speak_of() {
    let text = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut text = String::new();
        while text.len() < 400_000 {
            text.push(random.alphanumeric());
            text.push('\n');
        }
        text
    };
    // It would take minutes if the time grew with the square of what has changed.
    drop(merge(&text(1), &text(2), &text(3)));
}

#[test]
fn all_pieces_of_a_merge_share_its_steps() {
    // Ten lines, in each of which one side changes two words, and the other one between them. Which
    // words are the same still cannot be seen without comparing them: none stands there once.
    let text = |first: &str, between: &str, last: &str| {
        let line = |n: usize| format!("{n} {first} a b {between} a {last}\nsame {n}\n");
        (0..10).map(line).collect::<String>()
    };
    let (base, current, yours) = (text("a", "b", "a"), text("x", "b", "y"), text("a", "z", "a"));
    let collisions = |steps| match merge_within(steps, &base, &current, &yours) {
        Merged::Clean(merged) => {
            assert_eq!(merged, text("x", "z", "y"));
            0
        }
        Merged::Conflicts(collisions) => collisions.len(),
    };
    // Nineteen lines on both sides; eleven words and spaces on one, and one on the other.
    let (lines, piece) = (2 * 19 * 19, 11 * 11 + 1);
    let found = [0, 2, 9, 10].map(|pieces| collisions(lines + pieces * piece));
    assert_eq!(found, [10, 8, 1, 0]);
    assert_eq!(collisions(STEPS_MAX), 0);
}

#[test]
fn many_pieces_that_collide_take_no_time_to_speak_of() {
    // Each piece alone is well within the steps; all of them would be fifty times as many.
    let text = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut line = |n: usize| {
            let words = (0..1_600).map(|_| random.alphanumeric().to_string() + " ");
            format!("{}\nsame {n}\n", words.collect::<String>())
        };
        (0..500).map(&mut line).collect::<String>()
    };
    let Merged::Conflicts(collisions) = merge(&text(1), &text(2), &text(3)) else {
        panic!("no conflict");
    };
    assert_eq!(collisions.len(), 500);
}

fn texts() -> impl Strategy<Value = String> {
    // Few different words, so that they recur.
    let word =
        prop_oneof!["[ab]{1,2}", Just(" ".to_owned()), Just(".".to_owned()), Just("ü".to_owned())];
    let line = prop::collection::vec(word, 0..4).prop_map(|words| words.concat() + "\n");
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.concat())
}

/// A base with lines all different, and which of them each side changes, appends to or leaves out.
fn sides() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (1_usize..12).prop_flat_map(|lines| {
        let side = || prop::collection::vec(0_u8..4, lines);
        (side(), side())
    })
}

fn base(lines: usize) -> String {
    (0..lines).map(|n| format!("line {n}\n")).collect()
}

fn side(name: &str, acts: &[u8]) -> String {
    let line = |(n, act): (usize, &u8)| match act {
        0 => format!("{name} instead of {n}\n"),
        1 => String::new(),
        _ => format!("line {n}\n"),
    };
    acts.iter().enumerate().map(line).collect()
}

proptest! {
    #[test]
    fn a_merge_with_what_has_not_changed_is_the_other(base in texts(), text in texts()) {
        prop_assert_eq!(merge(&base, &base, &text), Merged::Clean(text.clone()));
        prop_assert_eq!(merge(&base, &text, &base), Merged::Clean(text.clone()));
        prop_assert_eq!(merge(&text, &text, &text), Merged::Clean(text));
    }

    #[test]
    fn any_three_texts_have_an_answer(base in texts(), current in texts(), yours in texts()) {
        match (merge(&base, &current, &yours), merge(&base, &yours, &current)) {
            (Merged::Clean(a), Merged::Clean(b)) => prop_assert_eq!(a, b),
            (Merged::Conflicts(a), Merged::Conflicts(b)) => {
                prop_assert!(!a.is_empty());
                prop_assert_eq!(a.len(), b.len());
            }
            (a, b) => prop_assert!(false, "it depends on who was first: {:?} {:?}", a, b),
        }
    }

    #[test]
    fn what_both_have_written_is_in_the_result((current, yours) in sides()) {
        let base = base(current.len());
        let merged = merge(&base, &side("current", &current), &side("yours", &yours));
        if let Merged::Clean(text) = merged {
            let lines: Vec<_> = text.lines().collect();
            for (n, (a, b)) in current.iter().zip(&yours).enumerate() {
                for (name, act) in [("current", a), ("yours", b)] {
                    let written = format!("{name} instead of {n}");
                    prop_assert_eq!(lines.contains(&written.as_str()), *act == 0);
                }
                let kept = format!("line {n}");
                prop_assert_eq!(lines.contains(&kept.as_str()), *a > 1 && *b > 1);
            }
        } else {
            let touched = |act: &u8| *act < 2;
            prop_assert!(current.iter().any(touched) && yours.iter().any(touched));
        }
    }

    #[test]
    fn changes_of_different_lines_never_collide(acts in prop::collection::vec(0_u8..3, 1..12)) {
        let only = |who: u8| -> Vec<u8> { acts.iter().map(|act| if *act == who { 0 } else { 2 }).collect() };
        let merged = merge(&base(acts.len()), &side("current", &only(0)), &side("yours", &only(1)));
        prop_assert!(matches!(merged, Merged::Clean(_)), "{:?}", merged);
    }
}
