//! Classes of arguments: those of one class are expected to cost about the same. Numbers count by
//! value while they are small and by magnitude beyond, everything else by its size. Reads no more
//! than the first bytes of the arguments, so that classing costs the same for six of them as for
//! six megabytes.

use std::fmt;

/// Arguments that are told apart; further ones count by their size together.
const ARGUMENTS_MAX: usize = 4;
/// How far the text of arguments is read.
const LOOKED_AT_BYTES_MAX: usize = 256;
/// Whole numbers up to this, and down to its negative, count by their value.
const EXACT_MAX: i16 = 64;
/// Steps in each doubling of a number that counts by its magnitude.
const STEPS_PER_DOUBLING: f64 = 4.0;

/// A class of arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class {
    features: [Feature; ARGUMENTS_MAX],
    /// The size of what follows the arguments that were told apart.
    rest: Size,
}

/// What is said of one argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Feature {
    #[default]
    Absent,
    /// A small whole number.
    Exact(i16),
    /// Any other number: its sign, and its size in quarters of a doubling.
    Magnitude {
        is_negative: bool,
        steps: i16,
    },
    /// `true`, `false` or `null`: its first letter.
    Word(u8),
    Text(Size),
    List(Size),
    Object(Size),
}

/// A number of bytes, in halves of a doubling; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Size(u8);

impl Size {
    fn of(bytes: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a size in halves of a doubling")]
        let steps = ((bytes + 1) as f64).log2() * 2.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "is 0 to 128")]
        Self(steps.round() as u8)
    }

    fn bytes(self) -> f64 {
        (f64::from(self.0) / 2.0).exp2()
    }
}

impl Class {
    /// The class of arguments that are written as a JSON array.
    #[must_use]
    pub fn of(arguments: &str) -> Self {
        let mut class = Self::default();
        let mut reader = Reader { text: arguments.as_bytes(), at: 0 };
        reader.enter();
        for feature in &mut class.features {
            match reader.next() {
                Some(found) => *feature = found,
                None => return class,
            }
        }
        class.rest = Size::of(arguments.len().saturating_sub(reader.at + 1));
        class
    }

    /// How far `other` is from this class, if they differ in one thing alone and that has an order.
    pub(super) fn distance_to(&self, other: &Self) -> Option<f64> {
        if self.rest != other.rest {
            return None;
        }
        let mut distance = None;
        for (one, another) in self.features.iter().zip(&other.features) {
            if one == another {
                continue;
            }
            let step = one.distance_to(*another)?;
            if distance.replace(step).is_some() {
                return None;
            }
        }
        distance
    }
}

impl Feature {
    fn distance_to(self, other: Self) -> Option<f64> {
        let sizes = |one: Size, another: Size| Some(f64::from(another.0) - f64::from(one.0));
        match (self, other) {
            (Self::Exact(one), Self::Exact(another)) => Some(f64::from(another) - f64::from(one)),
            (
                Self::Magnitude { is_negative, steps },
                Self::Magnitude { is_negative: other_is, steps: other_steps },
            ) if is_negative == other_is => Some(f64::from(other_steps) - f64::from(steps)),
            (Self::Text(one), Self::Text(another))
            | (Self::List(one), Self::List(another))
            | (Self::Object(one), Self::Object(another)) => sizes(one, another),
            _ => None,
        }
    }

    fn number(text: &str) -> Self {
        let Ok(value) = text.parse::<f64>() else { return Self::Word(b'?') };
        if value.fract() == 0.0 && value.abs() <= f64::from(EXACT_MAX) {
            #[expect(clippy::cast_possible_truncation, reason = "its bounds were just looked at")]
            return Self::Exact(value as i16);
        }
        let steps = value.abs().log2() * STEPS_PER_DOUBLING;
        // A number that no double holds is infinite here, and the cast saturates.
        #[expect(clippy::cast_possible_truncation, reason = "an exponent of a double is small")]
        Self::Magnitude { is_negative: value < 0.0, steps: steps.round() as i16 }
    }
}

/// Steps over the elements of an array's text, which is known to be JSON.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn enter(&mut self) {
        self.skip_space();
        if self.peek() == Some(b'[') {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied().filter(|_| self.at < LOOKED_AT_BYTES_MAX)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace() || byte == b',') {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<Feature> {
        self.skip_space();
        if self.at >= LOOKED_AT_BYTES_MAX {
            let rest = self.text.len().saturating_sub(self.at + 1);
            self.at = self.text.len();
            return (rest > 0).then(|| Feature::List(Size::of(rest)));
        }
        let begin = self.at;
        match self.peek()? {
            b']' => None,
            b'"' => {
                self.skip_string();
                Some(Feature::Text(Size::of(self.at - begin)))
            }
            b'[' => {
                self.skip_nested();
                Some(Feature::List(Size::of(self.at - begin)))
            }
            b'{' => {
                self.skip_nested();
                Some(Feature::Object(Size::of(self.at - begin)))
            }
            letter if letter.is_ascii_alphabetic() => {
                self.skip_plain();
                Some(Feature::Word(letter))
            }
            _ => {
                self.skip_plain();
                let text = self.text.get(begin..self.at).unwrap_or_default();
                Some(Feature::number(std::str::from_utf8(text).unwrap_or_default()))
            }
        }
    }

    fn skip_plain(&mut self) {
        let is_part = |byte: u8| !matches!(byte, b',' | b']') && !byte.is_ascii_whitespace();
        while self.peek().is_some_and(is_part) {
            self.at += 1;
        }
    }

    fn skip_string(&mut self) {
        self.at += 1;
        loop {
            match self.peek() {
                // What reaches beyond the part that is looked at counts as reaching to the end.
                None => return self.skip_all(),
                Some(b'\\') => self.at += 2,
                Some(b'"') => {
                    self.at += 1;
                    return;
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn skip_nested(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                None => return self.skip_all(),
                Some(b'"') => {
                    self.skip_string();
                    continue;
                }
                Some(b'[' | b'{') => depth += 1,
                Some(b']' | b'}') => depth -= 1,
                Some(_) => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn skip_all(&mut self) {
        self.at = self.text.len();
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for feature in self.features.iter().filter(|feature| **feature != Feature::Absent) {
            write!(f, "{separator}{feature}")?;
            separator = ", ";
        }
        if self.rest.0 > 0 {
            write!(f, "{separator}and {}", self.rest)?;
        }
        Ok(())
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => Ok(()),
            Self::Exact(value) => write!(f, "{value}"),
            Self::Magnitude { is_negative, steps } => {
                let sign = if *is_negative { "-" } else { "" };
                write!(f, "~{sign}{:.1e}", (f64::from(*steps) / STEPS_PER_DOUBLING).exp2())
            }
            Self::Word(letter) => f.write_str(match letter {
                b't' => "true",
                b'f' => "false",
                b'n' => "null",
                _ => "?",
            }),
            Self::Text(size) => write!(f, "text of {size}"),
            Self::List(size) => write!(f, "list of {size}"),
            Self::Object(size) => write!(f, "object of {size}"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        if bytes < 1024.0 {
            write!(f, "~{bytes:.0} B")
        } else if bytes < 1024.0 * 1024.0 {
            write!(f, "~{:.0} KiB", bytes / 1024.0)
        } else {
            write!(f, "~{:.1} MiB", bytes / 1024.0 / 1024.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, another: &str) -> bool {
        Class::of(one) == Class::of(another)
    }

    #[test]
    fn small_numbers_count_by_value_and_large_ones_by_magnitude() {
        assert!(same("[34]", " [ 34.0 ] "));
        assert!(!same("[34]", "[33]") && !same("[34]", "[-34]") && !same("[34]", "[34, 34]"));
        assert!(same("[1000000]", "[1010000]") && !same("[1000000]", "[1500000]"));
        assert!(same("[0.001]", "[0.00102]") && !same("[0.001]", "[-0.001]"));
    }

    #[test]
    fn everything_else_counts_by_its_size() {
        assert!(same(r#"["abcdefgh"]"#, r#"["ijkl,]\"p"]"#));
        assert!(!same(r#"["a"]"#, r#"["abcdefgh"]"#) && !same(r#"["a"]"#, "[[1]]"));
        assert!(same(r#"[{"a":[1,2],"b":"]}"}]"#, r#"[{"a":[1,2],"b":"}}"}]"#));
        assert!(same("[true, 2]", "[true,2]") && !same("[true]", "[null]"));
    }

    #[test]
    fn only_the_beginning_is_read_and_the_whole_counts() {
        let list = |length: usize| format!("[7, [{}0]]", "1,".repeat(length));
        assert!(same(&list(100_000), &list(101_000)));
        assert!(!same(&list(100_000), &list(200_000)) && !same(&list(10), &list(1000)));
        assert_eq!(Class::of(&list(100_000)).to_string(), "7, list of ~181 KiB");
    }

    #[test]
    fn classes_that_differ_in_one_number_are_neighbours() {
        let distance = |one: &str, other: &str| Class::of(one).distance_to(&Class::of(other));
        assert_eq!(distance("[30]", "[34]"), Some(4.0));
        assert_eq!(distance("[34, true]", "[30, true]"), Some(-4.0));
        assert_eq!(distance("[1000]", "[2000]"), Some(4.0));
        assert_eq!(distance("[30, 1]", "[34, 2]"), None);
        assert_eq!(distance("[30]", "[\"a\"]"), None);
        assert_eq!(distance("[30]", "[30]"), None);
    }

    #[test]
    fn no_text_breaks_it() {
        for text in ["", "[", "]", "[,,", "[\"", "[[[", "[\"\\", "[}", "[1e999]", "[-]", "7"] {
            let _ = Class::of(text).to_string();
        }
    }

    #[test]
    fn a_class_can_be_read() {
        let shown = |text: &str| Class::of(text).to_string();
        assert_eq!(shown("[34, -2]"), "34, -2");
        assert_eq!(shown("[]"), "");
        assert_eq!(shown("[1000000]"), "~1.0e6");
        assert_eq!(shown("[1,2,3,4,5,6]"), "1, 2, 3, 4, and ~6 B");
    }
}
