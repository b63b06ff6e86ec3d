//! The second pass of a merge: a piece of text in which lines collide, by words.

use super::{Piece, Three, Touching};

/// Both sides as one, or `None` where they collide, or where the steps that are left are too few to
/// know.
///
/// Stricter than the pass by lines: changes that touch collide here. Two who change the same words
/// rarely find the same ones left over between, and what is put together from shreds reads well to
/// nobody.
pub(super) fn merge(base: &str, current: &str, yours: &str, left: &mut usize) -> Option<String> {
    if base.is_empty() {
        return None;
    }
    let three = Three { base: words(base), current: words(current), yours: words(yours) };
    let mut text = String::with_capacity(current.len().max(yours.len()));
    for piece in three.join(Touching::Collide, left) {
        let Piece::Settled(tokens) = piece else { return None };
        text.extend(tokens.iter().copied());
    }
    Some(text)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Space,
    Sign,
}

fn kind(character: char) -> Kind {
    match character {
        _ if character.is_alphanumeric() => Kind::Word,
        ' ' | '\t' => Kind::Space,
        _ => Kind::Sign,
    }
}

/// Cuts a text into words, runs of spaces, and single signs; together they are the text.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut begin = 0;
    let mut before = None;
    for (at, character) in text.char_indices() {
        let kind = kind(character);
        if before.is_some_and(|before| before != kind || kind == Kind::Sign) {
            words.push(&text[begin..at]);
            begin = at;
        }
        before = Some(kind);
    }
    if begin < text.len() {
        words.push(&text[begin..]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_its_words() {
        assert_eq!(
            words("Two  cats, o.k.\n"),
            ["Two", "  ", "cats", ",", " ", "o", ".", "k", ".", "\n"]
        );
        assert_eq!(words("über\u{301}x"), ["über", "\u{301}", "x"]);
        assert!(words("").is_empty());
    }
}
