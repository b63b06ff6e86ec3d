//! Decides where a call runs: here, upstream, or on one side first and on the other one too if that
//! takes too long. Learns from every run what it costs and where, and chooses the side that is
//! expected to finish first. Pure: the time is passed in, and what is decided is done by others.

mod breaker;
mod class;
mod costs;
mod decide;
mod estimate;
mod function;
mod load;
mod network;
mod pace;
mod report;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use runabout_protocol::Digest;

pub use breaker::Breaker;
pub use class::Class;
pub use costs::Run;
pub use decide::{Plan, Question, Reason};
pub use function::Counts;
pub use load::Ticket;
pub use report::{Learned, LearnedClass, LearnedFunction, LearnedSide};

use costs::Basis;
use estimate::Seen;
use function::Function;
use load::Load;
use network::Network;
use pace::Pace;

/// Functions that are remembered; a new one replaces the one not asked for for longest.
const FUNCTIONS_MAX: usize = 256;
/// The upstream counts as changed at most this often.
const CHANGES_PAUSE: Duration = Duration::from_secs(1);

/// Where a run may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// On this node.
    #[default]
    Here,
    /// On the node behind it.
    Upstream,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Here => Self::Upstream,
            Self::Upstream => Self::Here,
        }
    }
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The artifact.
    pub digest: Digest,
    /// Its export, where one is named.
    pub export: Option<Arc<str>>,
}

/// How a run, or the wait for one, ended.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// It ran here.
    Ran(Run),
    /// The upstream answered.
    Answered(Exchange),
    /// It was given up, as the other side was first.
    GivenUp,
    /// Nothing is to be learned from it: the caller hung up, or it could not be called.
    Nothing,
}

/// A call that the upstream answered.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// From the request to the answer, in milliseconds.
    pub took_ms: f64,
    /// What the upstream says that it took there, everything counted.
    pub there_ms: Option<f64>,
    /// The run itself, as the upstream says.
    pub run: Option<Run>,
    /// Bytes of the request.
    pub sent_bytes: u64,
    /// Bytes of the answer.
    pub reply_bytes: u64,
}

/// What is known, and what is under way.
#[derive(Clone, Debug)]
pub struct Placement {
    functions: HashMap<Key, Function>,
    here: Load,
    upstream: Load,
    network: Network,
    pace: Pace,
    /// Decisions so far.
    turns: u64,
    /// How often the upstream turned out to be much faster or slower than it had been.
    changes: u32,
    changed_at: Option<Duration>,
    breaker: Breaker,
}

impl Placement {
    /// Knows nothing yet, but how many processors there are here.
    #[must_use]
    pub fn new(processors: u32) -> Self {
        let processors = f64::from(processors.max(1));
        Self {
            functions: HashMap::new(),
            here: Load::new(processors),
            // Until it says better, it has as many as here.
            upstream: Load::new(processors),
            network: Network::default(),
            pace: Pace::default(),
            turns: 0,
            changes: 0,
            changed_at: None,
            breaker: Breaker::default(),
        }
    }

    /// A run begins on that side. Every beginning has its end, told with this ticket.
    pub fn begin(&mut self, now: Duration, side: Side, key: &Key, class: Class) -> Ticket {
        let forecasts =
            self.functions.get(key).and_then(|it| it.forecasts(class, self.pace, self.changes));
        let forecast = forecasts.map(|(here, upstream)| match side {
            Side::Here => here,
            Side::Upstream => upstream,
        });
        self.load_mut(side).begin(now, forecast)
    }

    /// It ended.
    pub fn end(
        &mut self,
        now: Duration,
        (side, ticket): (Side, Ticket),
        (key, class): (&Key, Class),
        end: End,
    ) {
        let (alone, took_ms) = self.load_mut(side).end(now, ticket);
        match end {
            End::Ran(run) => self.learn(now, side, (key, class), run, alone),
            End::Answered(exchange) => self.learn_exchange(now, (key, class), exchange, alone),
            End::GivenUp if alone => {
                if let Some(took_ms) = took_ms {
                    self.learn_at_least(now, side, (key, class), took_ms);
                }
            }
            End::GivenUp | End::Nothing => {}
        }
    }

    /// Whether a run that is under way on the other side should be started on this one too, now
    /// that the time for it has come.
    #[must_use]
    pub fn may_join(&self, now: Duration, side: Side) -> bool {
        match side {
            Side::Here => self.here.has_room(now),
            Side::Upstream => self.breaker.is_closed() && self.upstream.has_room(now),
        }
    }

    /// Whether the upstream is asked at all.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Whether it is time for a probe; then one counts as under way.
    pub fn probe(&mut self, now: Duration) -> bool {
        self.breaker.probe(now)
    }

    /// The upstream answered. Whether it is back with that.
    pub fn reachable(&mut self) -> bool {
        let is_back = self.breaker.answered();
        if is_back {
            // It may be another machine, for all that is known.
            self.changes = self.changes.wrapping_add(1);
        }
        is_back
    }

    /// The upstream could not be reached. Whether that is news.
    pub fn unreachable(&mut self, now: Duration) -> bool {
        self.breaker.unreachable(now)
    }

    /// The upstream says how many processors it has, and how many runs are under way there.
    pub fn hear(&mut self, now: Duration, processors: u32, running: u32) {
        let ours = u32::try_from(self.upstream.ours()).unwrap_or(u32::MAX);
        self.upstream.hear(now, processors, running.saturating_sub(ours));
    }

    /// An exchange that needed no work there: a probe.
    pub fn heard_after(&mut self, took: Duration) {
        self.network.see(0.0, milliseconds(took));
    }

    fn learn_exchange(
        &mut self,
        now: Duration,
        what: (&Key, Class),
        exchange: Exchange,
        alone: bool,
    ) {
        #[expect(clippy::cast_precision_loss, reason = "no exchange has 2^53 bytes")]
        let (sent, reply) = (exchange.sent_bytes as f64, exchange.reply_bytes as f64);
        if let Some(there_ms) = exchange.there_ms {
            self.network.see(sent + reply, exchange.took_ms - there_ms);
        }
        let run = exchange.run.unwrap_or_else(|| {
            let beside_ms = self.network.transfer_ms(sent + reply);
            Run { wall_ms: (exchange.took_ms - beside_ms).max(0.0), cpu_ms: None }
        });
        let turns = self.turns;
        if let Some(function) = self.functions.get_mut(what.0) {
            function.entry(what.1, turns).reply_bytes.see(reply);
        }
        self.learn(now, Side::Upstream, what, run, alone);
    }

    fn learn(
        &mut self,
        now: Duration,
        side: Side,
        (key, class): (&Key, Class),
        run: Run,
        alone: bool,
    ) {
        let turns = self.turns;
        // It may have been forgotten while it ran.
        let Some(function) = self.functions.get_mut(key) else { return };
        let entry = function.entry(class, turns);
        let seen = entry.costs_mut(side).see(run, alone);
        if side == Side::Here {
            entry.unseen_here = 0;
            return;
        }
        if seen == Seen::Surprise {
            self.change(now);
        }
        self.learn_pace((key, class), run);
    }

    /// Compares a run upstream with what such a run takes here.
    fn learn_pace(&mut self, (key, class): (&Key, Class), run: Run) {
        let (turns, changes) = (self.turns, self.changes);
        let Some(function) = self.functions.get_mut(key) else { return };
        function.unseen_upstream = 0;
        function.changes_tried = changes;
        let entry = function.entry(class, turns);
        entry.unseen_upstream = 0;
        entry.changes_seen = changes;
        entry.is_tried = true;
        // What was given up here is only known to take longer than it was given.
        let here = entry.here.forecast().filter(|here| here.basis == Basis::Measured);
        if let Some(here) = here {
            let upstream_ms = run.cpu_ms.unwrap_or(run.wall_ms);
            function.pace.see(here.busy_ms, upstream_ms, changes);
            self.pace.see(here.busy_ms, upstream_ms, changes);
        }
    }

    fn learn_at_least(
        &mut self,
        now: Duration,
        side: Side,
        (key, class): (&Key, Class),
        took_ms: f64,
    ) {
        let way_ms = if side == Side::Upstream { self.network.round_trip_ms() } else { 0.0 };
        let run_ms = (took_ms - way_ms).max(0.0);
        let turns = self.turns;
        let Some(function) = self.functions.get_mut(key) else { return };
        let entry = function.entry(class, turns);
        let seen = entry.costs_mut(side).see_at_least(run_ms);
        let here_ms = entry.here.forecast().map_or(0.0, |here| here.busy_ms);
        if side == Side::Here {
            return;
        }
        let pace = function.pace.or(self.pace).factor();
        if seen == Seen::Surprise {
            self.change(now);
        }
        if run_ms > here_ms * pace {
            // It is a bound from below, and says more than what was believed.
            self.learn_pace((key, class), Run { wall_ms: run_ms, cpu_ms: None });
        }
    }

    /// What was measured upstream before is in doubt from now on.
    fn change(&mut self, now: Duration) {
        if self.changed_at.is_none_or(|at| now.saturating_sub(at) >= CHANGES_PAUSE) {
            self.changes = self.changes.wrapping_add(1);
            self.changed_at = Some(now);
        }
    }

    /// The function; made, in the place of the one not asked for for longest, if it is not known.
    fn function(&mut self, key: &Key) -> &mut Function {
        if !self.functions.contains_key(key) && self.functions.len() >= FUNCTIONS_MAX {
            let oldest = self.functions.iter().min_by_key(|(_, function)| function.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.functions.remove(&oldest);
            }
        }
        let function = self.functions.entry(key.clone()).or_default();
        function.used = self.turns;
        function
    }

    fn load_mut(&mut self, side: Side) -> &mut Load {
        match side {
            Side::Here => &mut self.here,
            Side::Upstream => &mut self.upstream,
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
