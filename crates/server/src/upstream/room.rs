//! Room for what the upstream answers, from its first byte until it has been passed on: a named
//! limit for all answers together. What finds none waits unread, and the upstream waits to send.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Answers up to this size are not counted against the room.
pub const SMALL_BYTES_MAX: usize = 64 << 10;
/// What all larger answers may take together, in KiB; several of the largest size.
const ANSWERS_KIB_MAX: usize = 256 << 10;

/// The room that is left; cheap to clone.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

/// A part of it, given back when this is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ANSWERS_KIB_MAX)))
    }
}

impl Room {
    /// Waits for room for an answer of that size. Whoever holds a place asks for no other one, so
    /// that nobody waits for somebody who waits.
    pub async fn place(&self, bytes: usize) -> Option<Place> {
        let kib = (bytes >> 10).saturating_add(1).min(ANSWERS_KIB_MAX);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        // It is never closed.
        Arc::clone(&self.0).acquire_many_owned(kib).await.ok().map(Place)
    }
}

/// Bytes that keep their place for as long as anybody has a part of them.
pub fn keeping(bytes: Bytes, place: Option<Place>) -> Bytes {
    match place {
        Some(place) => Bytes::from_owner(Kept { bytes, _place: place }),
        None => bytes,
    }
}

struct Kept {
    bytes: Bytes,
    _place: Place,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_finds_no_room_waits_until_an_answer_is_gone() {
        const LARGE: usize = 32 << 20;
        let room = Room::default();
        let mut kept = Vec::new();
        while let Some(place) = room.place(LARGE).now_or_never() {
            kept.push(keeping(Bytes::from_static(b"answer"), place));
        }
        assert_eq!(kept.len(), 7);
        let part = kept.pop().map(|answer| answer.slice(1..2));
        assert!(room.place(LARGE).now_or_never().is_none(), "a part of it is still there");
        drop(part);
        assert!(room.place(LARGE).now_or_never().is_some());
    }
}
