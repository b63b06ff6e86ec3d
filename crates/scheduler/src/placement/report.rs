//! What has been learned, for people to look at.

use super::class::Class;
use super::costs::{Basis, Costs, Forecast};
use super::{Counts, Function, Key, Placement, Plan, Side};

/// All that has been learned.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The functions, those asked for last first.
    pub functions: Vec<LearnedFunction>,
    /// What the round trip to the upstream takes, in milliseconds.
    pub round_trip_ms: f64,
    /// What each byte adds, in milliseconds.
    pub byte_ms: f64,
    /// Time upstream over time here, of the same work; `None` while no work was seen on both.
    pub pace: Option<f64>,
    /// Processors here and upstream.
    pub processors: (f64, f64),
    /// Calls of this node under way here and upstream.
    pub under_way: (usize, usize),
}

/// What has been learned of a function.
#[derive(Clone, Debug)]
pub struct LearnedFunction {
    /// The function.
    pub key: Key,
    /// As for all functions together.
    pub pace: Option<f64>,
    /// Its classes, in order.
    pub classes: Vec<LearnedClass>,
}

/// What has been learned of a class of arguments.
#[derive(Clone, Copy, Debug)]
pub struct LearnedClass {
    /// The class.
    pub class: Class,
    /// Runs here.
    pub here: LearnedSide,
    /// Runs upstream, without the way there and back.
    pub upstream: LearnedSide,
    /// What was decided.
    pub counts: Counts,
    /// The last of it; `None` while nothing was to be decided.
    pub last: Option<Plan>,
}

/// What has been learned of runs on one side.
#[derive(Clone, Copy, Debug, Default)]
pub struct LearnedSide {
    /// What a run is expected to take on a free processor; `None` if nothing is known.
    pub run_ms: Option<f64>,
    /// How far it strays, on average.
    pub spread_ms: Option<f64>,
    /// Whether that comes from runs of this class on this side.
    pub is_measured: bool,
    /// Those runs.
    pub samples: u32,
}

impl LearnedSide {
    fn new(forecast: Option<Forecast>, costs: &Costs) -> Self {
        Self {
            run_ms: forecast.map(|forecast| forecast.run_ms()),
            spread_ms: forecast.map(|forecast| forecast.spread_ms),
            is_measured: forecast.is_some_and(|forecast| forecast.basis == Basis::Measured),
            samples: costs.samples(),
        }
    }
}

impl Placement {
    /// What has been learned of the `functions_max` functions asked for last.
    #[must_use]
    pub fn learned(&self, functions_max: usize) -> Learned {
        let mut functions: Vec<_> = self.functions.iter().collect();
        functions.sort_by_key(|(_, function)| std::cmp::Reverse(function.used));
        functions.truncate(functions_max);
        Learned {
            functions: functions.into_iter().map(|it| self.learned_function(it)).collect(),
            round_trip_ms: self.network.round_trip_ms(),
            byte_ms: self.network.byte_ms(),
            pace: self.pace.is_known().then(|| self.pace.factor()),
            processors: (self.here.processors(), self.upstream.processors()),
            under_way: (self.here.ours(), self.upstream.ours()),
        }
    }

    fn learned_function(&self, (key, function): (&Key, &Function)) -> LearnedFunction {
        let mut classes: Vec<_> = function
            .classes
            .iter()
            .map(|(class, entry)| {
                let forecasts = function.forecasts(*class, self.pace, self.changes).unzip();
                LearnedClass {
                    class: *class,
                    here: LearnedSide::new(forecasts.0, entry.costs(Side::Here)),
                    upstream: LearnedSide::new(forecasts.1, entry.costs(Side::Upstream)),
                    counts: entry.counts,
                    last: entry.last,
                }
            })
            .collect();
        classes.sort_by_key(|learned| learned.class);
        let pace = function.pace.is_known().then(|| function.pace.factor());
        LearnedFunction { key: key.clone(), pace, classes }
    }
}
