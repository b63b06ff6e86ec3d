//! Reads request bodies within named limits: of size, of time, and of room for all of them
//! together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::codes::Code;
use crate::problem::Problem;

/// The most an artifact may have, wherever it is handed in.
pub const ARTIFACT_BYTES_MAX: usize = 32 << 20;
/// The most the arguments of one run may have.
pub const ARGS_BYTES_MAX: usize = 6 << 20;
/// The most a task request may have: its source may double when it is written as JSON.
pub const TASK_BODY_BYTES_MAX: usize = 2 * ARTIFACT_BYTES_MAX + 2 * ARGS_BYTES_MAX;

/// The most a document may have.
pub const DOCUMENT_BYTES_MAX: usize = 4 << 20;

/// The most a schedule may have; larger code is deployed, and named.
pub const SCHEDULE_BODY_BYTES_MAX: usize = 256 << 10;

/// The most that endpoints may have which are set at once.
pub const ENDPOINTS_BODY_BYTES_MAX: usize = 1 << 20;

/// Bodies up to this size are not counted against the room for large ones.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// The room for large bodies is given out in pieces of this size.
const ROOM_BYTES: usize = 64 << 10;
/// Room for all large bodies that are being read, wait or are worked on. When it is full, the next
/// one hears 503.
const LARGE_BODIES_BYTES_MAX: usize = 512 << 20;
/// The longest pause between two pieces of a body; then the request ends with 408.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read and thrown away, so that a client that only
/// listens after it has sent everything still hears why. Beyond it the connection is closed.
const THROWN_AWAY_BYTES_MAX: usize = 128 << 20;
/// How long that may take.
const THROWN_AWAY_TIME_MAX: Duration = Duration::from_secs(10);

/// Takes bodies in.
pub struct Intake {
    /// One permit for each [`ROOM_BYTES`].
    large: Arc<Semaphore>,
}

/// A body in memory, and the room it takes there until it is dropped.
pub struct Received {
    /// The bytes.
    pub bytes: Bytes,
    /// Kept for as long as the bytes, or what is made of them, are.
    pub room: Room,
}

/// Room that a large body takes, given back when this is dropped; none for a small one.
pub type Room = Option<OwnedSemaphorePermit>;

impl Default for Intake {
    fn default() -> Self {
        Self { large: Arc::new(Semaphore::new(LARGE_BODIES_BYTES_MAX / ROOM_BYTES)) }
    }
}

impl Intake {
    /// Reads a whole body of at most `bytes_max`.
    ///
    /// # Errors
    /// `body_too_large`, `request_timeout`, `incomplete_body`, or `overloaded` when there is no
    /// room for another large body.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
        bytes_max: usize,
    ) -> Result<Received, Problem> {
        let mut stream = body.into_data_stream();
        let declared = declared_length(headers);
        if declared.is_some_and(|length| length > bytes_max) {
            throw_away(headers, stream).await;
            return Err(too_large(bytes_max));
        }
        let mut room = self.room_for(declared.unwrap_or(0))?;
        let Some(first) = next(&mut stream).await? else {
            return Ok(Received { bytes: Bytes::new(), room });
        };
        let Some(second) = next(&mut stream).await? else {
            // The usual case, without a copy.
            return within(first, bytes_max).map(|bytes| Received { bytes, room });
        };
        let mut bytes = BytesMut::with_capacity(declared.unwrap_or(first.len() + second.len()));
        bytes.extend_from_slice(&first);
        let mut piece = Some(second);
        while let Some(more) = piece {
            if bytes.len() + more.len() > bytes_max {
                throw_away(headers, stream).await;
                return Err(too_large(bytes_max));
            }
            bytes.extend_from_slice(&more);
            if room.is_none() {
                // A body of undeclared length has become large: it may become as large as allowed.
                let expected = if bytes.len() > SMALL_BYTES_MAX { bytes_max } else { 0 };
                room = self.room_for(expected)?;
            }
            piece = next(&mut stream).await?;
        }
        Ok(Received { bytes: bytes.freeze(), room })
    }

    fn room_for(&self, length: usize) -> Result<Room, Problem> {
        if length <= SMALL_BYTES_MAX {
            return Ok(None);
        }
        let pieces = u32::try_from(length.div_ceil(ROOM_BYTES)).unwrap_or(u32::MAX);
        self.large
            .clone()
            .try_acquire_many_owned(pieces)
            .map(Some)
            .map_err(|_| Problem::overloaded("too many large bodies are being taken in"))
    }
}

/// The problem of a body, or a part of one, that is larger than `bytes_max`.
pub fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("the most is {bytes_max} bytes"))
        .with("limit_bytes", bytes_max)
}

fn within(bytes: Bytes, bytes_max: usize) -> Result<Bytes, Problem> {
    if bytes.len() > bytes_max { Err(too_large(bytes_max)) } else { Ok(bytes) }
}

fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn next(stream: &mut BodyDataStream) -> Result<Option<Bytes>, Problem> {
    let paused = |_| Problem::new(Code::RequestTimeout, "the body paused for 30 seconds");
    let broken = |_| Problem::new(Code::IncompleteBody, "the body broke off");
    timeout(PAUSE_MAX, stream.next()).await.map_err(paused)?.transpose().map_err(broken)
}

async fn throw_away(headers: &HeaderMap, mut stream: BodyDataStream) {
    if headers.contains_key(header::EXPECT) {
        // The client waits for our word before it sends the body.
        return;
    }
    let mut left = THROWN_AWAY_BYTES_MAX;
    let drain = async {
        while let Some(Ok(piece)) = stream.next().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                return;
            }
        }
    };
    // Whether it was all of it makes no difference to the answer.
    let _ = timeout(THROWN_AWAY_TIME_MAX, drain).await;
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    async fn read(pieces: &[&'static str], bytes_max: usize) -> Result<Bytes, Code> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, std::io::Error>(*piece)).collect();
        let body = Body::from_stream(stream::iter(pieces));
        let received = Intake::default().read(&HeaderMap::new(), body, bytes_max).await;
        received.map(|body| body.bytes).map_err(|problem| problem.code())
    }

    #[tokio::test]
    async fn bodies_are_read_whole_up_to_their_limit() {
        assert_eq!(read(&[], 4).await, Ok(Bytes::new()));
        assert_eq!(read(&["abcd"], 4).await, Ok(Bytes::from("abcd")));
        assert_eq!(read(&["ab", "c", "d"], 4).await, Ok(Bytes::from("abcd")));
        assert_eq!(read(&["abcde"], 4).await, Err(Code::BodyTooLarge));
        assert_eq!(read(&["ab", "cd", "e"], 4).await, Err(Code::BodyTooLarge));
    }

    #[tokio::test]
    async fn large_bodies_share_a_bounded_room() {
        let intake = Intake::default();
        let held = intake.room_for(LARGE_BODIES_BYTES_MAX).expect("there is room");
        assert!(intake.room_for(2 << 20).is_err());
        assert!(matches!(intake.room_for(SMALL_BYTES_MAX), Ok(None)));
        drop(held);
        assert!(intake.room_for(2 << 20).is_ok());
    }
}
