//! An attempt's frames on their way between nodes: a line each, as they are said.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use runabout_protocol::wire::{FRAME_BYTES_MAX, Frame, Heard};
use runabout_protocol::{Outcome, Run, WorkerToServer};

use super::attempt::printable;
use super::client::{Upstreamer, cause};
use super::room::{Place, SMALL_BYTES_MAX};
use crate::workers::claims::{Claim, Claims};

/// The media type of an attempt that is handed over: a worker's `run` frame.
pub const RUN_TYPE: &str = "application/vnd.runabout.run+json";
/// The media type of its answer: a worker's frames.
pub const FRAMES_TYPE: &str = "application/x-ndjson";

/// Writes frames.
pub fn lines(frames: &[WorkerToServer]) -> Bytes {
    let mut text = String::new();
    for frame in frames {
        text.push_str(&frame.text());
        text.push('\n');
    }
    text.into()
}

/// What an upstream says of one attempt, held to the bounds of a worker.
pub struct Frames<'a> {
    client: &'a Upstreamer,
    response: Response,
    run: &'a Run,
    claims: Claims,
    /// What has arrived and is no whole line yet; at most [`FRAME_BYTES_MAX`].
    rest: BytesMut,
    /// How much of it is known to hold no line's end.
    searched: usize,
    /// Held while that is large.
    place: Option<Place>,
}

/// What was said together.
#[derive(Default)]
pub struct Said {
    /// All but the last word.
    pub frames: Vec<WorkerToServer>,
    /// The last word, if that has come.
    pub finished: Option<WorkerToServer>,
    /// How long it all was.
    pub bytes: usize,
}

impl<'a> Frames<'a> {
    /// Reads from that answer.
    pub fn of(client: &'a Upstreamer, response: Response, run: &'a Run) -> Self {
        let mut claims = Claims::default();
        claims.sent(run, Instant::now());
        let rest = BytesMut::new();
        Self { client, response, run, claims, rest, searched: 0, place: None }
    }

    /// What is said next.
    ///
    /// # Errors
    /// Nothing more, although the last word has not been said; or what makes no sense.
    pub async fn next(&mut self) -> Result<Said, String> {
        let mut said = Said::default();
        while said.frames.is_empty() && said.finished.is_none() {
            let piece = self.response.chunk().await.map_err(|error| cause(&error))?;
            let piece = piece.ok_or("its answer ended before the run did")?;
            if self.rest.len() + piece.len() > FRAME_BYTES_MAX {
                return Err("it said more at once than a frame has".to_owned());
            }
            self.make_room(self.rest.len() + piece.len()).await;
            self.rest.extend_from_slice(&piece);
            while let Some(line) = self.line() {
                said.bytes += line.len();
                self.hear(&line, &mut said)?;
            }
        }
        Ok(said)
    }

    async fn make_room(&mut self, bytes: usize) {
        if bytes <= SMALL_BYTES_MAX {
            self.place = None;
        } else if self.place.is_none() {
            // It may become as large as any.
            self.place = self.client.place(FRAME_BYTES_MAX).await;
        }
    }

    fn line(&mut self) -> Option<BytesMut> {
        let Some(end) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.rest.len();
            return None;
        };
        let line = self.rest.split_to(self.searched + end + 1);
        self.searched = 0;
        Some(line)
    }

    fn hear(&mut self, line: &[u8], said: &mut Said) -> Result<(), String> {
        let text = std::str::from_utf8(line).map_err(|_| "a frame is no text".to_owned())?;
        let Heard { frame, .. } =
            WorkerToServer::read(text).map_err(|malformed| malformed.to_string())?;
        // What is not known, or about no attempt, is passed over.
        let Some(frame) = frame.filter(|frame| frame.attempt().is_some()) else { return Ok(()) };
        let own_word = OwnWord::of(&frame);
        match self.claims.said(frame, Instant::now()) {
            Claim::Heard(mut frame @ WorkerToServer::Finished(_)) => {
                own_word.keep(&mut frame, self.run);
                said.finished = Some(frame);
            }
            Claim::Heard(frame) => said.frames.push(frame),
            Claim::Dropped | Claim::Foreign | Claim::Unfit => {}
        }
        Ok(())
    }
}

/// What an upstream says at the end and a worker may not: the node that it was, and that node's own
/// limit of time, which may be lower than ours.
#[derive(Default)]
struct OwnWord {
    ran_on: Option<String>,
    limit_ms: Option<u64>,
}

impl OwnWord {
    fn of(frame: &WorkerToServer) -> Self {
        let WorkerToServer::Finished(finished) = frame else { return Self::default() };
        let limit_ms = match finished.outcome {
            Outcome::TimedOut { limit_ms, .. } => Some(limit_ms),
            _ => None,
        };
        Self { ran_on: finished.usage.ran_on.clone().and_then(printable), limit_ms }
    }

    fn keep(self, frame: &mut WorkerToServer, run: &Run) {
        let WorkerToServer::Finished(finished) = frame else { return };
        finished.usage.ran_on = self.ran_on;
        if let (Outcome::TimedOut { limit_ms, .. }, Some(said)) =
            (&mut finished.outcome, self.limit_ms)
        {
            *limit_ms = said.min(run.limits.timeout_ms.max(run.limits.cpu_ms));
        }
    }
}
