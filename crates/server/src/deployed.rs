//! What is deployed, kept in memory in step with the store, so that a call reads no database.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;
use runabout_protocol::{
    Arguments, FunctionName, FunctionVersion, Limits, LimitsRequest, Manifest,
};
use runabout_sandbox::Accepted;
use runabout_store::{NewVersion, Store};
use tokio::sync::Mutex;

use crate::codes::Code;
use crate::problem::Problem;
use crate::source::{Artifact, artifact};
use crate::wanted::{Offload, Wanted};

/// A version of a function, ready to be called.
#[derive(Debug)]
pub struct Deployed {
    /// The version as clients see it.
    pub version: FunctionVersion,
    /// Its limits where a request asks for none.
    pub limits: Limits,
    /// Where its calls run, if its manifest says so in the words of an endpoint.
    offload: Option<Offload>,
}

impl Deployed {
    fn new(version: FunctionVersion, maximum: Limits) -> Self {
        let wished = version.manifest.limits.unwrap_or_default();
        // The maximum may have been lowered since it was deployed; it then gets what there is.
        let limits = wished.resolve(maximum).unwrap_or_else(|_| lowered(wished, maximum));
        let offload = version.manifest.offload.as_deref().and_then(|text| {
            // It was read when it was deployed; only another version of this program can differ.
            let refused =
                |error| tracing::warn!(function = %version.name, %error, "ignored a rule");
            Offload::of_manifest(text).map_err(refused).ok()
        });
        Self { version, limits, offload }
    }

    /// What the sandbox needs to know of its artifact.
    pub fn artifact(&self) -> Artifact {
        let FunctionVersion { digest, language, form, .. } = self.version;
        Artifact { digest, language, form }
    }

    /// Where a call should run, as far as its manifest says.
    pub fn wanted(&self, args: &Arguments) -> Wanted {
        let place = || self.version.manifest.place.map(Wanted::word);
        let offload = self.offload.as_ref().and_then(|offload| offload.of_call(args));
        offload.or_else(place).unwrap_or_default()
    }

    /// `fib@1`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.version.name, self.version.version)
    }

    /// The limits of a run that asks for `wished`.
    ///
    /// # Errors
    /// `limit_above_maximum` or `invalid_field`; `prefix` leads to the field in the request.
    pub fn limits(
        &self,
        wished: LimitsRequest,
        maximum: Limits,
        prefix: &str,
    ) -> Result<Limits, Problem> {
        if wished == LimitsRequest::default() {
            return Ok(self.limits);
        }
        let manifest = self.version.manifest.limits.unwrap_or_default();
        wished.or(manifest).resolve(maximum).map_err(|above| Problem::above_maximum(&above, prefix))
    }
}

fn lowered(wished: LimitsRequest, maximum: Limits) -> Limits {
    let lower = |wish: Option<u64>, most: u64, default: u64| wish.unwrap_or(default).min(most);
    let default = Limits::default();
    let timeout_ms = lower(wished.timeout_ms, maximum.timeout_ms, default.timeout_ms);
    Limits {
        timeout_ms,
        cpu_ms: lower(wished.cpu_ms, maximum.cpu_ms, timeout_ms),
        memory_bytes: lower(wished.memory_bytes, maximum.memory_bytes, default.memory_bytes),
    }
}

/// The functions of a node.
pub struct Functions {
    store: Store,
    maximum: Limits,
    /// The latest version of each, by name; the store holds the same.
    latest: RwLock<HashMap<String, Arc<Deployed>>>,
    /// Held across a write to the store and the one to `latest`, so that both see deployments in
    /// the same order.
    deploying: Mutex<()>,
}

impl Functions {
    /// Loads what is deployed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn load(store: Store, maximum: Limits) -> Result<Self, runabout_store::Error> {
        let versions = store.functions().await?;
        let latest = versions
            .into_iter()
            .map(|version| (version.name.to_string(), Arc::new(Deployed::new(version, maximum))))
            .collect();
        Ok(Self { store, maximum, latest: RwLock::new(latest), deploying: Mutex::new(()) })
    }

    /// The latest version, or the one that is asked for.
    ///
    /// # Errors
    /// `invalid_name` or `function_not_found`.
    pub async fn find(&self, name: &str, version: Option<u32>) -> Result<Arc<Deployed>, Problem> {
        let latest = self.latest.read().get(name).cloned();
        match (latest, version) {
            (Some(latest), None) => Ok(latest),
            (Some(latest), Some(version)) if latest.version.version == version => Ok(latest),
            (_, None) => {
                parse_name(name)?;
                Err(function_not_found(name))
            }
            (_, Some(version)) => self.find_older(name, version).await,
        }
    }

    async fn find_older(&self, name: &str, version: u32) -> Result<Arc<Deployed>, Problem> {
        let stored = self.store.function(&parse_name(name)?, Some(version)).await?;
        stored
            .map(|version| Arc::new(Deployed::new(version, self.maximum)))
            .ok_or_else(|| function_not_found(&format!("{name}@{version}")))
    }

    /// The latest versions, by name.
    pub fn list(&self) -> Vec<Arc<Deployed>> {
        let mut all: Vec<_> = self.latest.read().values().cloned().collect();
        all.sort_by(|a, b| a.version.name.cmp(&b.version.name));
        all
    }

    /// Deploys `accepted`. The boolean says whether that made a new version.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn deploy(
        &self,
        name: FunctionName,
        accepted: Accepted,
        manifest: Manifest,
        created_at: Timestamp,
    ) -> Result<(Arc<Deployed>, bool), Problem> {
        let _turn = self.deploying.lock().await;
        self.store.put_artifact(artifact(&accepted)).await?;
        let Accepted { digest, language, form, exports, .. } = accepted;
        let version = NewVersion { name, digest, language, form, exports, manifest, created_at };
        let (version, created) = self.store.put_function(version).await?;
        let deployed = Arc::new(Deployed::new(version, self.maximum));
        let key = deployed.version.name.to_string();
        self.latest.write().insert(key, deployed.clone());
        Ok((deployed, created))
    }

    /// Removes a function and all its versions.
    ///
    /// # Errors
    /// `function_not_found`, or the store cannot write.
    pub async fn delete(&self, name: &str) -> Result<(), Problem> {
        let parsed = parse_name(name)?;
        let _turn = self.deploying.lock().await;
        let existed = self.store.delete_function(&parsed).await?;
        self.latest.write().remove(name);
        if existed { Ok(()) } else { Err(function_not_found(name)) }
    }
}

/// A function as somebody names it: `fib` is always the latest, `fib@3` that version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Its name, which may be none.
    pub name: &'a str,
    /// The version, if it is pinned.
    pub version: Option<u32>,
}

/// Reads a reference.
///
/// # Errors
/// Why it is none.
pub fn reference(text: &str) -> Result<Reference<'_>, String> {
    let Some((name, version)) = text.split_once('@') else {
        return Ok(Reference { name: text, version: None });
    };
    let version = version
        .parse()
        .map_err(|_| format!("{version:?} is no version: write `{name}@1` or `{name}`"))?;
    Ok(Reference { name, version: Some(version) })
}

/// Reads a function's name.
///
/// # Errors
/// `invalid_name`.
pub fn parse_name(name: &str) -> Result<FunctionName, Problem> {
    name.parse().map_err(|why: runabout_protocol::InvalidName| {
        Problem::new(Code::InvalidName, format!("{name:?} is no function's name: {why}"))
    })
}

/// No function of that name, or `name@version`, is deployed.
pub fn function_not_found(name: &str) -> Problem {
    Problem::new(Code::FunctionNotFound, format!("no function {name:?} is deployed"))
        .with("function", name)
}
