//! Documents: plain files with revisions. Reads come from memory and wait for nobody; changes go
//! through one writer a document and are answered when they are durable; edits made from an older
//! revision are merged three ways. Knows nothing of HTTP.

mod backup;
mod current;
mod difference;
mod disk;
mod document;
mod error;
mod log;
mod media;
mod merge;
mod name;
mod record;
mod recovery;
mod revision;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod turn;
mod watch;
mod writer;

pub use backup::{Copied, backup};
pub use current::{Current, Form};
pub use difference::difference;
pub use error::Error;
pub use media::MediaType;
pub use merge::{Collision, Lines, Merged, merge};
pub use name::{InvalidName, Name};
pub use revision::{Accepted, Attribution, Change, Condition, Conflict, Key, Kind, Revision, Side};
pub use shared::{Counted, Listener};
pub use store::{By, Documents, Limits};
