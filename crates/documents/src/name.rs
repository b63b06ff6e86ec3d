//! Names of documents: what may stand in a URL and name a file on every system.

use std::fmt;
use std::str::FromStr;

/// The longest name; with an extension and a prefix it still fits any file system.
const NAME_BYTES_MAX: usize = 128;

/// The name of a document. It has no dot, so that the name and the extension of its file are told
/// apart, and no other file of the folder is taken for a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A text that is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a document's name has 1 to 128 letters (a-z, A-Z), digits, dashes and underscores, and does not begin with a dash"
)]
pub struct InvalidName;

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
        if fits && !text.starts_with('-') && text.bytes().all(is_allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So that a map keyed by names is asked with a plain text.
impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_folder() {
        for good in ["Latest_plane_crash", "a", "7", "_a-b", &"x".repeat(128)] {
            assert_eq!(good.parse::<Name>().map(|it| it.to_string()), Ok(good.to_owned()));
        }
        let bad = ["", ".", "..", "a.html", "a/b", "a\\b", "a b", "-a", "ä", "a\0", "a\n"];
        for bad in bad.into_iter().chain([&*"x".repeat(129)]) {
            assert_eq!(bad.parse::<Name>(), Err(InvalidName), "{bad:?}");
        }
    }
}
