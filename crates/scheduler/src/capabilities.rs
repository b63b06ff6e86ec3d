//! What a worker can run.

use runabout_protocol::Language;

/// A set of languages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Every language there is.
    pub fn all() -> Self {
        Self::of(&LANGUAGES)
    }

    /// These languages.
    pub fn of(languages: &[Language]) -> Self {
        Self(languages.iter().fold(0, |bits, language| bits | 1 << index(*language)))
    }

    /// Whether `language` is among them.
    pub fn contains(self, language: Language) -> bool {
        self.0 & 1 << index(language) != 0
    }
}

pub(crate) const LANGUAGES: [Language; 3] = [Language::Js, Language::Wasm, Language::Wasi];

fn index(language: Language) -> usize {
    match language {
        Language::Js => 0,
        Language::Wasm => 1,
        Language::Wasi => 2,
    }
}

/// One of a thing for each language.
#[derive(Debug, Default)]
pub(crate) struct PerLanguage<T>([T; 3]);

impl<T> PerLanguage<T> {
    pub(crate) fn get(&self, language: Language) -> &T {
        &self.0[index(language)]
    }

    pub(crate) fn get_mut(&mut self, language: Language) -> &mut T {
        &mut self.0[index(language)]
    }
}
