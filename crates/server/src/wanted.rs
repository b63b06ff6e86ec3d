//! Where a call should run, before anybody looks at what is possible: what its caller, its endpoint
//! or its function's manifest says, and whose word it was.

use runabout_protocol::{Arguments, Encoding, Place};

use crate::rules::{InvalidRule, Rule, Undecided};

/// The most bytes of arguments that a manifest's rule looks at.
pub const RULE_ARGS_BYTES_MAX: usize = 256 << 10;

/// A wish, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub place: Place,
    /// Who says so.
    pub by: By,
}

/// Who decides where a call should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Somebody said a place: the caller, the endpoint or the manifest.
    Word,
    /// A rule, which came to a decision.
    Rule,
    /// A rule that could not be decided on this call's parameters.
    BrokenRule,
}

impl Default for Wanted {
    fn default() -> Self {
        Self::word(Place::default())
    }
}

impl Wanted {
    /// Somebody said so.
    pub fn word(place: Place) -> Self {
        Self { place, by: By::Word }
    }

    /// A rule said so. One that cannot be decided keeps the call where it is: nothing leaves the
    /// node because of a mistake.
    pub fn ruled(decision: Result<bool, Undecided>) -> Self {
        match decision {
            Ok(true) => Self { place: Place::Upstream, by: By::Rule },
            Ok(false) => Self { place: Place::Here, by: By::Rule },
            Err(Undecided(why)) => {
                tracing::debug!(why, "an offload rule could not be decided");
                Self { place: Place::Here, by: By::BrokenRule }
            }
        }
    }
}

/// The `offload` of an endpoint or of a manifest.
#[derive(Debug, PartialEq)]
pub enum Offload {
    /// Always the same place.
    Fixed(Place),
    /// The caller says, with `?offload=`.
    Query,
    /// By the parameters.
    Rule(Rule),
}

impl Offload {
    /// Reads `0`, `1`, `auto`, `query`, or a rule over parameters of these names.
    ///
    /// # Errors
    /// What is wrong with the rule.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, InvalidRule> {
        match text {
            "query" => Ok(Self::Query),
            _ => match place(text) {
                Some(place) => Ok(Self::Fixed(place)),
                None => Rule::parse(text, known).map(Self::Rule),
            },
        }
    }

    /// Reads that of a manifest, whose rule speaks of the call's arguments as `args`.
    ///
    /// # Errors
    /// What is wrong with the rule.
    pub fn of_manifest(text: &str) -> Result<Self, InvalidRule> {
        Self::parse(text, &["args"])
    }

    /// What a manifest's `offload` says of a call; `None` leaves it to others.
    pub fn of_call(&self, args: &Arguments) -> Option<Wanted> {
        match self {
            Self::Fixed(place) => Some(Wanted::word(*place)),
            Self::Query => None,
            Self::Rule(rule) => Some(Wanted::ruled(decide(rule, args))),
        }
    }
}

/// The place that `offload=0/1/auto` names.
pub fn place(offload: &str) -> Option<Place> {
    match offload {
        "0" => Some(Place::Here),
        "1" => Some(Place::Upstream),
        "auto" => Some(Place::Auto),
        _ => None,
    }
}

fn decide(rule: &Rule, args: &Arguments) -> Result<bool, Undecided> {
    if rule.variables().is_empty() {
        return rule.decide(Vec::new());
    }
    if args.encoding == Some(Encoding::Base64) {
        return Err(Undecided("a rule does not look at bytes".to_owned()));
    }
    if args.values.text().len() > RULE_ARGS_BYTES_MAX {
        let why = format!("a rule looks at no more than {RULE_ARGS_BYTES_MAX} bytes of arguments");
        return Err(Undecided(why));
    }
    let values = args.values.read().map_err(|error| Undecided(error.to_string()))?;
    rule.decide(vec![("args", values)])
}

#[cfg(test)]
mod tests {
    use runabout_protocol::Json;

    use super::*;

    fn wanted(offload: &str, args: &str) -> Option<(Place, By)> {
        let offload = Offload::of_manifest(offload).expect("is read");
        let values = Json::parse(args.to_owned()).expect("JSON");
        let wanted = offload.of_call(&Arguments { values, encoding: None })?;
        Some((wanted.place, wanted.by))
    }

    #[test]
    fn a_manifest_says_a_place_nothing_or_a_rule() {
        assert_eq!(wanted("0", "[]"), Some((Place::Here, By::Word)));
        assert_eq!(wanted("1", "[]"), Some((Place::Upstream, By::Word)));
        assert_eq!(wanted("auto", "[]"), Some((Place::Auto, By::Word)));
        assert_eq!(wanted("query", "[]"), None);
        assert_eq!(wanted("args[0] > 32", "[34]"), Some((Place::Upstream, By::Rule)));
        assert_eq!(wanted("args[0] > 32", "[30]"), Some((Place::Here, By::Rule)));
        assert_eq!(wanted("args[0] > 32", "[]"), Some((Place::Here, By::BrokenRule)));
        assert!(Offload::of_manifest("n > 32").is_err());
    }

    #[test]
    fn large_arguments_are_not_looked_at() {
        let large = format!("[\"{}\"]", "a".repeat(RULE_ARGS_BYTES_MAX));
        assert_eq!(wanted("size(args) > 0", &large), Some((Place::Here, By::BrokenRule)));
        assert_eq!(wanted("true", &large), Some((Place::Upstream, By::Rule)));
    }
}
