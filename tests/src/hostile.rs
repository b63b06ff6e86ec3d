//! The hostile guests: the table of them in `tests/hostile/table.toml`, how each is sent to a node,
//! and what is seen of it by those who only want their own work done.

mod made;
mod neighbours;
mod slots;
mod table;
mod walk;

pub use neighbours::{Neighbours, Wait, deploy_neighbours};
pub use slots::HeldSlots;
pub use table::{Row, table};
pub use walk::{AT_ONCE, Visit, memory_given_back, memory_returned, walk};
