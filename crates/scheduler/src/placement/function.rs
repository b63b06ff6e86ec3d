//! What is known of one function: the costs of its runs by class of arguments, and how a class that
//! was never seen is likened to its neighbours.

use std::collections::HashMap;

use super::Side;
use super::class::Class;
use super::costs::{Basis, Costs, Forecast};
use super::decide::Plan;
use super::estimate::Estimate;
use super::pace::Pace;

/// Classes that are remembered of a function; a new one replaces the one not seen for longest.
const CLASSES_MAX: usize = 64;
/// How many steps from the nearest known class a trend is followed.
const TREND_STEPS_MAX: f64 = 8.0;
/// The steepest trend, per step, of the logarithm: a doubling.
const TREND_MAX: f64 = std::f64::consts::LN_2;
/// Less than this counts as this, where logarithms are taken.
const BUSY_MS_MIN: f64 = 0.01;

/// A function's runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Function {
    pub(super) classes: HashMap<Class, Entry>,
    pub(super) pace: Pace,
    /// Decisions since a run upstream was last seen, of whatever class.
    pub(super) unseen_upstream: u32,
    /// How often the upstream had changed when it was last tried with this function.
    pub(super) changes_tried: u32,
    /// The turn in which it was last asked for.
    pub(super) used: u64,
}

/// The runs of one class.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) here: Costs,
    pub(super) upstream: Costs,
    pub(super) reply_bytes: Estimate,
    /// Decisions since a run upstream was last seen.
    pub(super) unseen_upstream: u32,
    /// The same here.
    pub(super) unseen_here: u32,
    /// How often the upstream had changed its pace when it was last seen from here.
    pub(super) changes_seen: u32,
    /// Whether it was ever tried upstream.
    pub(super) is_tried: bool,
    pub(super) counts: Counts,
    /// What was decided last.
    pub(super) last: Option<Plan>,
    used: u64,
}

/// How often what was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// To run here alone.
    pub here: u64,
    /// To run upstream alone.
    pub upstream: u64,
    /// To run on one side, and on the other one too if that takes too long.
    pub both: u64,
}

impl Entry {
    pub(super) fn costs(&self, side: Side) -> &Costs {
        match side {
            Side::Here => &self.here,
            Side::Upstream => &self.upstream,
        }
    }

    pub(super) fn costs_mut(&mut self, side: Side) -> &mut Costs {
        match side {
            Side::Here => &mut self.here,
            Side::Upstream => &mut self.upstream,
        }
    }
}

impl Function {
    /// The entry of a class; made, in the place of the oldest one, if there is none.
    pub(super) fn entry(&mut self, class: Class, turn: u64) -> &mut Entry {
        if !self.classes.contains_key(&class) && self.classes.len() >= CLASSES_MAX {
            let oldest = self.classes.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(class, _)| *class) {
                self.classes.remove(&oldest);
            }
        }
        let entry = self.classes.entry(class).or_default();
        entry.used = turn;
        entry
    }

    /// What a run of that class is expected to take on each side, if anything at all is known.
    /// `changes` tells how often the upstream has changed: what was measured before the last time
    /// counts for less than what the pace says that was seen since.
    pub(super) fn forecasts(
        &self,
        class: Class,
        node_pace: Pace,
        changes: u32,
    ) -> Option<(Forecast, Forecast)> {
        let pace = self.pace.or(node_pace);
        let entry = self.classes.get(&class);
        let here = entry.and_then(|entry| entry.here.forecast());
        let upstream = entry.and_then(|entry| entry.upstream.forecast());
        let is_fresh = entry.is_some_and(|entry| entry.changes_seen == changes);
        let likened_here = || here.or_else(|| self.likened(class, Side::Here));
        let likened_upstream = || upstream.or_else(|| self.likened(class, Side::Upstream));
        let to_upstream = |forecast: Forecast| forecast.paced(pace.factor());
        let to_here = |forecast: Forecast| forecast.paced(1.0 / pace.factor());
        let by_pace = |forecast: Option<Forecast>| forecast.filter(|_| pace.is_known());
        let forecast_here = here
            .or_else(|| by_pace(upstream).map(to_here))
            .or_else(likened_here)
            .or_else(|| likened_upstream().map(to_here))?;
        let forecast_upstream = upstream
            .filter(|_| is_fresh)
            .or_else(|| by_pace(likened_here()).map(to_upstream))
            .or_else(likened_upstream)
            .or_else(|| likened_here().map(to_upstream))?;
        Some((forecast_here, forecast_upstream))
    }

    /// What is to be expected after the classes nearest to this one.
    fn likened(&self, class: Class, side: Side) -> Option<Forecast> {
        let mut nearest = Nearest::default();
        for (other, entry) in &self.classes {
            if let Some(distance) = class.distance_to(other)
                && let Some(forecast) = entry.costs(side).forecast()
            {
                nearest.meet(Point { distance, forecast });
            }
        }
        nearest.forecast()
    }
}

#[derive(Clone, Copy, Debug)]
struct Point {
    distance: f64,
    forecast: Forecast,
}

/// The two nearest known classes below, and above.
#[derive(Debug, Default)]
struct Nearest {
    below: [Option<Point>; 2],
    above: [Option<Point>; 2],
}

impl Nearest {
    fn meet(&mut self, point: Point) {
        let side = if point.distance < 0.0 { &mut self.below } else { &mut self.above };
        let is_nearer = |than: &Option<Point>| {
            than.is_none_or(|than| point.distance.abs() < than.distance.abs())
        };
        if is_nearer(&side[0]) {
            side[1] = side[0].replace(point);
        } else if is_nearer(&side[1]) {
            side[1] = Some(point);
        }
    }

    fn forecast(&self) -> Option<Forecast> {
        let (nearest, other) = match (self.below, self.above) {
            ([Some(below), _], [Some(above), _]) if below.distance.abs() <= above.distance => {
                (below, Some(above))
            }
            ([Some(below), _], [Some(above), _]) => (above, Some(below)),
            ([Some(nearest), other], [None, _]) | ([None, _], [Some(nearest), other]) => {
                (nearest, other)
            }
            ([None, _], [None, _]) => return None,
        };
        let log = |point: Point| point.forecast.busy_ms.max(BUSY_MS_MIN).ln();
        let trend = other
            .map_or(0.0, |other| (log(other) - log(nearest)) / (other.distance - nearest.distance));
        let steps = nearest.distance.clamp(-TREND_STEPS_MAX, TREND_STEPS_MAX);
        let busy_ms = (log(nearest) - trend.clamp(-TREND_MAX, TREND_MAX) * steps).exp();
        Some(Forecast {
            busy_ms,
            idle_ms: nearest.forecast.idle_ms,
            spread_ms: nearest.forecast.spread_ms + busy_ms / 4.0,
            basis: Basis::Likened,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::costs::Run;
    use super::*;

    fn class(n: i32) -> Class {
        Class::of(&format!("[{n}]"))
    }

    fn function(seen: &[(i32, f64)]) -> Function {
        let mut function = Function::default();
        for (n, ms) in seen {
            let run = Run { wall_ms: *ms, cpu_ms: None };
            function.entry(class(*n), 1).here.see(run, true);
        }
        function
    }

    fn expects(seen: &[(i32, f64)], n: i32, ms: f64) {
        let function = function(seen);
        let (here, _) =
            function.forecasts(class(n), Pace::default(), 0).expect("something is known");
        assert!((here.busy_ms / ms - 1.0).abs() < 0.01, "{} is not {ms}", here.busy_ms);
    }

    #[test]
    fn a_class_that_was_never_seen_follows_the_trend_of_its_neighbours() {
        expects(&[(30, 10.0)], 34, 10.0);
        expects(&[(30, 10.0), (31, 16.0)], 32, 25.6);
        expects(&[(30, 10.0), (34, 160.0)], 32, 40.0);
        expects(&[(30, 10.0), (31, 16.0), (40, 16.0)], 29, 6.25);
        // Never steeper than a doubling a step, however it looked.
        expects(&[(30, 1.0), (31, 100.0)], 32, 200.0);
    }

    #[test]
    fn nothing_is_known_of_what_is_no_neighbour() {
        let function = function(&[(30, 10.0)]);
        assert!(function.forecasts(Class::of("[\"a\"]"), Pace::default(), 0).is_none());
    }

    #[test]
    fn only_so_many_classes_are_remembered() {
        let mut function = Function::default();
        for n in 0..200 {
            function.entry(Class::of(&format!("[{}, {}]", n % 60, n / 60)), n);
        }
        assert_eq!(function.classes.len(), CLASSES_MAX);
        assert!(function.classes.values().all(|entry| entry.used >= 200 - CLASSES_MAX as u64));
    }
}
