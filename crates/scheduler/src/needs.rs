//! What tasks ask of a worker, and what workers offer.

use runabout_protocol::{Capability, Language, Trust};

use crate::placement::Side;

/// What a task asks of the worker that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Needs {
    /// What the worker must be able to run.
    pub capability: Capability,
    /// Only a worker that is trusted that far, and no further; any worker if left out.
    pub only: Option<Trust>,
    /// Whether it may be handed upstream.
    pub sides: Sides,
}

/// On which sides of the node a task may run. Either way it goes upstream only when the upstream is
/// one of the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sides {
    /// On both; upstream if there is no free slot here.
    #[default]
    Both,
    /// Here.
    Here,
    /// Upstream for as long as the upstream is there, be it busy, and here while it is not.
    Upstream,
}

impl Needs {
    /// Any worker that can run the language.
    pub fn of(language: Language) -> Self {
        let capability = match language {
            Language::Js => Capability::Js,
            Language::Wasm => Capability::Wasm,
            Language::Wasi => Capability::Wasi,
        };
        Self { capability, only: None, sides: Sides::default() }
    }
}

/// What a worker offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offer {
    /// What it can run.
    pub capabilities: Capabilities,
    /// How far its word is to be believed.
    pub trust: Trust,
    /// Whether it is the upstream.
    pub side: Side,
}

impl Offer {
    /// Whether it is what a task asks for.
    pub fn meets(self, needs: Needs) -> bool {
        self.capabilities.contains(needs.capability)
            && needs.only.is_none_or(|only| only == self.trust)
            && (self.side == Side::Here || needs.sides != Sides::Here)
    }
}

/// A set of what a worker can run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capabilities(u8);

/// Every capability that this version knows.
const ALL: [Capability; 4] =
    [Capability::Js, Capability::Wasm, Capability::Wasi, Capability::Quickjs];

impl Capabilities {
    /// Everything there is.
    pub fn all() -> Self {
        Self::of(&ALL)
    }

    /// These; what this version does not know is left out.
    pub fn of(capabilities: &[Capability]) -> Self {
        Self(capabilities.iter().fold(0, |bits, capability| bits | bit(*capability)))
    }

    /// Whether `capability` is among them.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & bit(capability) != 0
    }

    /// They, one after the other.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        ALL.into_iter().filter(move |capability| self.contains(*capability))
    }
}

fn bit(capability: Capability) -> u8 {
    match capability {
        Capability::Js => 1,
        Capability::Wasm => 2,
        Capability::Wasi => 4,
        Capability::Quickjs => 8,
        Capability::Unknown => 0,
    }
}
