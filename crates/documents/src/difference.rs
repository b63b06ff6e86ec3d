//! What lies between two texts, as a unified difference.

use std::fmt::Write;

use crate::merge::{Change, STEPS_MAX, changes};

/// Lines shown before and after each change.
const CONTEXT: usize = 3;

/// The difference that leads from one text to the other, in the format of `diff -u` but for the names
/// of files; empty if there is none.
pub fn difference(from: &str, to: &str) -> String {
    let old: Vec<&str> = from.split_inclusive('\n').collect();
    let new: Vec<&str> = to.split_inclusive('\n').collect();
    let mut left = STEPS_MAX;
    let changes = changes(&old, &new, false, &mut left);
    let mut text = String::new();
    let mut rest = changes.as_slice();
    while !rest.is_empty() {
        // Those whose context would overlap stand together.
        let apart = |pair: &[Change]| pair[1].before.start - pair[0].before.end > 2 * CONTEXT;
        let together = rest.windows(2).position(apart).map_or(rest.len(), |at| at + 1);
        let (hunk, later) = rest.split_at(together);
        write_hunk(&mut text, hunk, &old, &new);
        rest = later;
    }
    text
}

fn write_hunk(text: &mut String, hunk: &[Change], old: &[&str], new: &[&str]) {
    let (first, last) = (&hunk[0], &hunk[hunk.len() - 1]);
    let before = first.before.start.min(CONTEXT);
    let after = (old.len() - last.before.end).min(CONTEXT);
    let range = |start: usize, end: usize| {
        let count = end + after - (start - before);
        // A range without lines is told by the line before it.
        let line = start - before + usize::from(count > 0);
        format!("{line},{count}")
    };
    let old_range = range(first.before.start, last.before.end);
    let new_range = range(first.after.start, last.after.end);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "@@ -{old_range} +{new_range} @@");
    let mut at = first.before.start - before;
    for change in hunk {
        write_lines(text, ' ', &old[at..change.before.start]);
        write_lines(text, '-', &old[change.before.clone()]);
        write_lines(text, '+', &new[change.after.clone()]);
        at = change.before.end;
    }
    write_lines(text, ' ', &old[at..at + after]);
}

fn write_lines(text: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        text.push(mark);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str, expected: &str) {
        let lines = |text: &str| text.replace('/', "\n");
        assert_eq!(difference(&lines(from), &lines(to)), lines(expected), "{from} {to}");
    }

    #[test]
    fn differences_are_told_with_the_lines_around_them() {
        check("a/", "a/", "");
        check("", "a/", "@@ -0,0 +1,1 @@/+a/");
        check("a/", "", "@@ -1,1 +0,0 @@/-a/");
        check("a/b/c/", "a/B/c/", "@@ -1,3 +1,3 @@/ a/-b/+B/ c/");
        check(
            "a",
            "b",
            "@@ -1,1 +1,1 @@/-a/\\ No newline at end of file/+b/\\ No newline at end of file/",
        );
    }

    #[test]
    fn distant_changes_stand_apart() {
        let from = "x/1/2/3/4/5/6/7/y/";
        let to = "X/1/2/3/4/5/6/7/Y/";
        check(from, to, "@@ -1,4 +1,4 @@/-x/+X/ 1/ 2/ 3/@@ -6,4 +6,4 @@/ 5/ 6/ 7/-y/+Y/");
    }
}
