//! What the node has learned about where calls run best, and how it decided.

use axum::Json;
use axum::extract::State;
use runabout_protocol::Digest;
use runabout_scheduler::placement::{LearnedClass, LearnedFunction, LearnedSide, Plan};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::limit_of;
use crate::app::App;
use crate::extract::Query;
use crate::placing::place_word;
use crate::problem::{Problem, ProblemJson};
use crate::upstream::{Knowledge, Upstream};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(placement))
}

/// What to show.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct What {
    /// How many functions, those called last first; 50 if left out.
    limit: Option<u32>,
}

/// What is known about where calls run best.
#[derive(Serialize, ToSchema)]
struct PlacementReport {
    /// The node that calls may be handed to; null if there is none, and then nothing is learned.
    upstream: Option<UpstreamReport>,
    /// The functions, those called last first.
    functions: Vec<FunctionReport>,
}

/// The node that calls may be handed to.
#[derive(Serialize, ToSchema)]
struct UpstreamReport {
    /// Where it is.
    url: String,
    /// Whether calls are handed to it.
    reachable: bool,
    /// For how long they have not been, in milliseconds.
    unreachable_for_ms: Option<u64>,
    /// How often it became unreachable.
    times_unreachable: u64,
    /// What was wrong the last time.
    trouble: Option<String>,
    /// What the way there and back takes, in milliseconds.
    round_trip_ms: f64,
    /// What each megabyte adds, in milliseconds.
    megabyte_ms: f64,
    /// Time there over time here, for the same work; null until there was some on both.
    pace: Option<f64>,
    /// Its processors, as far as it has said.
    processors: f64,
    /// Calls of this node under way there.
    under_way: usize,
    /// Calls under way here.
    under_way_here: usize,
}

/// What is known of a function.
#[derive(Serialize, ToSchema)]
struct FunctionReport {
    /// The artifact.
    digest: Digest,
    /// The names it is deployed under, at their latest versions.
    names: Vec<String>,
    /// The export, where one is named.
    export: Option<String>,
    /// Time upstream over time here, for this function alone.
    pace: Option<f64>,
    /// What is known by class of arguments.
    classes: Vec<ClassReport>,
}

/// What is known of calls with arguments of one class.
#[derive(Serialize, ToSchema)]
struct ClassReport {
    /// The class: small numbers by value, larger ones by magnitude, all else by size.
    class: String,
    /// Runs here.
    here: SideReport,
    /// Runs upstream, without the way there and back.
    upstream: SideReport,
    /// How often what was decided.
    decided: Decided,
    /// What was decided last; null while nothing was to be decided.
    last: Option<LastDecision>,
}

/// What is known of runs on one side.
#[derive(Serialize, ToSchema)]
struct SideReport {
    /// What a run is expected to take on a free processor, in milliseconds; null if nothing is
    /// known.
    run_ms: Option<f64>,
    /// How far it strays from that, on average.
    spread_ms: Option<f64>,
    /// Whether that was measured, and not concluded from other classes or the other side.
    measured: bool,
    /// Runs that were seen, up to a change.
    samples: u32,
}

/// How often what was decided.
#[derive(Serialize, ToSchema)]
struct Decided {
    /// To run here.
    here: u64,
    /// To run upstream.
    upstream: u64,
    /// To run on both sides at once, and take the first result.
    both: u64,
}

/// What was decided last.
#[derive(Serialize, ToSchema)]
struct LastDecision {
    /// Where it was to start: `here` or `upstream`.
    first: &'static str,
    /// After how long it was to start on the other side too, in milliseconds: 0 for both at once,
    /// null for never.
    other_after_ms: Option<f64>,
    /// Why, as in `Runabout-Placement`.
    reason: &'static str,
}

/// What the node has learned about where calls run best
///
/// Its estimates by function and class of arguments, and what it decided. Empty without an
/// upstream.
#[utoipa::path(
    get, path = "/v1/placement", tag = "node", params(What),
    responses(
        (status = 200, description = "What is known", body = PlacementReport),
        (status = 400, description = "A wrong parameter", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn placement(
    State(app): State<App>,
    Query(what): Query<What>,
) -> Result<Json<PlacementReport>, Problem> {
    let limit = limit_of(what.limit)? as usize;
    let Some(upstream) = &app.upstream else {
        return Ok(Json(PlacementReport { upstream: None, functions: Vec::new() }));
    };
    let knowledge = upstream.knowledge(limit);
    let report = upstream_report(upstream, &knowledge);
    let names = Names::of(&app);
    let functions = knowledge.learned.functions.into_iter();
    let functions = functions.map(|learned| function_report(learned, &names)).collect();
    Ok(Json(PlacementReport { upstream: Some(report), functions }))
}

/// The names that artifacts are deployed under.
struct Names(Vec<(Digest, String)>);

impl Names {
    fn of(app: &App) -> Self {
        let name = |it: std::sync::Arc<crate::deployed::Deployed>| {
            (it.version.digest, it.version.name.to_string())
        };
        Self(app.functions.list().into_iter().map(name).collect())
    }

    fn of_digest(&self, digest: Digest) -> Vec<String> {
        let named = self.0.iter().filter(|(other, _)| *other == digest);
        named.map(|(_, name)| name.clone()).collect()
    }
}

fn upstream_report(upstream: &Upstream, knowledge: &Knowledge) -> UpstreamReport {
    let learned = &knowledge.learned;
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    UpstreamReport {
        url: upstream.url().to_owned(),
        reachable: knowledge.unreachable_for.is_none(),
        unreachable_for_ms: knowledge.unreachable_for.map(millis),
        times_unreachable: knowledge.times_unreachable,
        trouble: knowledge.trouble.clone(),
        round_trip_ms: learned.round_trip_ms,
        megabyte_ms: learned.byte_ms * 1e6,
        pace: learned.pace,
        processors: learned.processors.1,
        under_way: learned.under_way.1,
        under_way_here: learned.under_way.0,
    }
}

fn function_report(learned: LearnedFunction, names: &Names) -> FunctionReport {
    let LearnedFunction { key, pace, classes } = learned;
    FunctionReport {
        digest: key.digest,
        names: names.of_digest(key.digest),
        export: key.export.map(|export| export.to_string()),
        pace,
        classes: classes.iter().map(class_report).collect(),
    }
}

fn class_report(learned: &LearnedClass) -> ClassReport {
    let side = |side: LearnedSide| SideReport {
        run_ms: side.run_ms,
        spread_ms: side.spread_ms,
        measured: side.is_measured,
        samples: side.samples,
    };
    let counts = learned.counts;
    ClassReport {
        class: learned.class.to_string(),
        here: side(learned.here),
        upstream: side(learned.upstream),
        decided: Decided { here: counts.here, upstream: counts.upstream, both: counts.both },
        last: learned.last.map(last_decision),
    }
}

fn last_decision(plan: Plan) -> LastDecision {
    LastDecision {
        first: place_word(plan.first),
        other_after_ms: plan.other_after.map(|after| after.as_secs_f64() * 1e3),
        reason: plan.reason.as_str(),
    }
}
