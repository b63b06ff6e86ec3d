//! All policy: of tasks, who waits, who runs where, what is tried again and when it is given up;
//! of calls, whether they run here or upstream.
//! Pure: it reads no clock, draws no random numbers, does no I/O and waits for nothing. Whoever
//! drives it passes in the time and the ids, makes the writes durable, and only then performs the
//! effects.

mod backoff;
mod event;
mod fleet;
mod moment;
mod needs;
pub mod placement;
mod queue;
mod rules;
mod scheduler;
mod timers;

pub use event::{Decline, Effect, Event, Lease, Restored, Share, Step, Submission, Write};
pub use moment::Moment;
pub use needs::{Capabilities, Needs, Offer, Sides};
pub use rules::Rules;
pub use scheduler::Scheduler;
