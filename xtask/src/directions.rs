//! Who may depend on whom. The architecture is held by this table, not by memory.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::programs::{cargo, read};

/// What a crate of ours may build on; tests may build on anything.
struct Rule {
    package: &'static str,
    /// Crates of ours.
    ours: Ours,
    /// Crates of others.
    others: Others,
}

enum Ours {
    These(&'static [&'static str]),
    AnyButApplications,
}

enum Others {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
    Any,
}

/// Async, clocks, randomness and I/O: what a crate of pure policy stays away from.
const IMPURE: &[&str] = &[
    "async-channel",
    "futures",
    "getrandom",
    "parking_lot",
    "rand",
    "reqwest",
    "rusqlite",
    "rustix",
    "tokio",
    "tracing",
];

/// Kept to the binary and to these tasks: a library's errors are its own.
const FOR_APPLICATIONS: &[&str] = &["anyhow", "clap", "indicatif"];

const RULES: &[Rule] = &[
    Rule {
        package: "runabout-protocol",
        ours: Ours::These(&[]),
        others: Others::Only(&["serde", "serde_json", "ts-rs", "utoipa", "uuid"]),
    },
    Rule {
        package: "runabout-scheduler",
        ours: Ours::These(&["runabout-protocol"]),
        others: Others::AllBut(IMPURE),
    },
    Rule {
        package: "runabout-store",
        ours: Ours::These(&["runabout-protocol"]),
        others: Others::AllBut(FOR_APPLICATIONS),
    },
    Rule {
        package: "runabout-documents",
        ours: Ours::These(&[]),
        others: Others::AllBut(FOR_APPLICATIONS),
    },
    Rule {
        package: "runabout-sandbox",
        ours: Ours::These(&["runabout-protocol"]),
        others: Others::AllBut(FOR_APPLICATIONS),
    },
    Rule {
        package: "runabout-worker",
        ours: Ours::These(&["runabout-protocol", "runabout-sandbox"]),
        others: Others::AllBut(FOR_APPLICATIONS),
    },
    Rule {
        package: "runabout-server",
        ours: Ours::These(&[
            "runabout-documents",
            "runabout-protocol",
            "runabout-sandbox",
            "runabout-scheduler",
            "runabout-store",
            "runabout-worker",
        ]),
        others: Others::AllBut(FOR_APPLICATIONS),
    },
    Rule { package: "runabout-cli", ours: Ours::AnyButApplications, others: Others::Any },
    Rule { package: "runabout-fuzz", ours: Ours::AnyButApplications, others: Others::Any },
    Rule { package: "runabout-tests", ours: Ours::AnyButApplications, others: Others::Any },
    Rule { package: "xtask", ours: Ours::These(&["runabout-protocol"]), others: Others::Any },
];

/// Nobody builds on these.
const APPLICATIONS: &[&str] = &["runabout-cli", "runabout-fuzz", "runabout-tests", "xtask"];

/// Holds every package of the workspace against the table.
pub fn check() -> Result<()> {
    let wrong: Vec<_> = packages()?
        .iter()
        .flat_map(|(package, dependencies)| complaints(package, dependencies))
        .collect();
    if !wrong.is_empty() {
        bail!("{} (see xtask/src/directions.rs)", wrong.join("; "));
    }
    Ok(())
}

struct Dependency {
    name: String,
    is_ours: bool,
}

/// The workspace's packages, each with what it builds on.
fn packages() -> Result<BTreeMap<String, Vec<Dependency>>> {
    let args = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
    let metadata: Value = serde_json::from_slice(&read(&mut cargo(&args))?)
        .context("failed to read cargo's metadata")?;
    list(&metadata["packages"])
        .map(|package| {
            let dependencies = list(&package["dependencies"])
                .filter(|dependency| dependency["kind"] != "dev")
                .map(|dependency| {
                    Ok(Dependency {
                        name: text(&dependency["name"])?,
                        is_ours: dependency["path"].is_string(),
                    })
                })
                .collect::<Result<_>>()?;
            Ok((text(&package["name"])?, dependencies))
        })
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).context("cargo's metadata has a name that is no text")
}

fn complaints(package: &str, dependencies: &[Dependency]) -> Vec<String> {
    let Some(rule) = RULES.iter().find(|rule| rule.package == package) else {
        return vec![format!("{package} has no rule")];
    };
    dependencies
        .iter()
        .filter(|dependency| !rule.permits(dependency))
        .map(|dependency| format!("{package} must not depend on {}", dependency.name))
        .collect()
}

impl Rule {
    fn permits(&self, dependency: &Dependency) -> bool {
        let name = dependency.name.as_str();
        if dependency.is_ours {
            return match self.ours {
                Ours::These(allowed) => allowed.contains(&name),
                Ours::AnyButApplications => !APPLICATIONS.contains(&name),
            };
        }
        match self.others {
            Others::Only(allowed) => allowed.contains(&name),
            Others::AllBut(refused) => !refused.contains(&name),
            Others::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(package: &str, name: &str, is_ours: bool) -> Vec<String> {
        complaints(package, &[Dependency { name: name.into(), is_ours }])
    }

    #[test]
    fn scheduler_may_not_read_a_clock_or_touch_the_store() {
        assert_eq!(
            said_of("runabout-scheduler", "tokio", false),
            ["runabout-scheduler must not depend on tokio"]
        );
        assert_eq!(
            said_of("runabout-scheduler", "runabout-store", true),
            ["runabout-scheduler must not depend on runabout-store"]
        );
        assert!(said_of("runabout-scheduler", "runabout-protocol", true).is_empty());
    }

    #[test]
    fn nobody_depends_on_the_binary() {
        assert!(!said_of("runabout-tests", "runabout-cli", true).is_empty());
        assert!(!said_of("runabout-server", "runabout-cli", true).is_empty());
    }

    #[test]
    fn package_without_a_rule_is_a_complaint() {
        assert_eq!(complaints("runabout-novelty", &[]), ["runabout-novelty has no rule"]);
    }
}
