//! One session, from its first frame to its last. Reading and writing go on at the same time, so
//! that neither side can be made to wait by leaving something unread; whichever ends first ends the
//! session.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt, SinkExt, StreamExt};
use parking_lot::Mutex;
use runabout_protocol::frame::{Finished, Ping, Welcome};
use runabout_protocol::wire::{FRAME_BYTES_MAX, Frame, Heard};
use runabout_protocol::{
    Outcome, PROTOCOL_VERSION, Run, ServerToWorker, Usage, WorkerId, WorkerToServer,
};
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use super::Workers;
use super::claims::{Claim, Claims};
pub use super::hello::Caller;
use super::hello::admit;
use super::pulse::{Beat, Pulse};
use crate::app::App;
use crate::engine::{Farewell, Inbox, Newcomer, Reports};

/// How long a session may take to say hello.
const HELLO_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the connection may take to take what is sent at once; a worker that does not read
/// what it asked for is given up.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a worker may take to answer that the session is over, so that it hears why.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// Frames that are sent, and frames that are heard, together.
const FRAMES_AT_ONCE_MAX: usize = 64;
/// With this much in it, what was heard is handed on before more is read.
const HEARD_BYTES_MAX: usize = 256 << 10;
/// The most bytes of a reason that the WebSocket protocol carries.
const REASON_BYTES_MAX: usize = 123;

/// Why a session is over.
struct End {
    /// What the worker is told; `None` if it was the one to end it, or is gone.
    code: Option<u16>,
    farewell: Farewell,
}

impl End {
    fn refused(reason: impl Into<String>) -> Self {
        Self { code: Some(close_code::POLICY), farewell: Farewell::Left(reason.into()) }
    }

    fn gone(reason: &str) -> Self {
        Self { code: None, farewell: Farewell::Left(reason.to_owned()) }
    }

    /// The loop has ended the session.
    fn told(farewell: Farewell) -> Self {
        let code = match farewell {
            Farewell::Stopping => close_code::AWAY,
            _ => close_code::POLICY,
        };
        Self { code: Some(code), farewell }
    }
}

/// Serves a worker until its session is over.
pub async fn serve(mut socket: WebSocket, app: App, caller: Caller) {
    let heard = async {
        let _place = app.workers.door.acquire().await;
        hello(&mut socket, &app.workers, caller).await
    };
    let hello = timeout(HELLO_TIME_MAX, heard).await;
    let end = match hello {
        Err(_) => End::refused("no hello came in time"),
        Ok(Err(end)) => end,
        Ok(Ok(newcomer)) => attend(&mut socket, &app, newcomer).await,
    };
    tracing::debug!(reason = %end.farewell, "a session is over");
    close(socket, end).await;
}

/// Waits for the first frame that is known, which must be hello.
async fn hello(socket: &mut WebSocket, workers: &Workers, caller: Caller) -> Result<Newcomer, End> {
    loop {
        let text = match socket.recv().await {
            Some(Ok(message)) => text_of(message)?,
            Some(Err(_)) | None => return Err(End::gone("it went before it said hello")),
        };
        let Some(text) = text else { continue };
        match read(&text, workers)? {
            Some(WorkerToServer::Hello(hello)) => {
                return admit(hello, caller, workers.token.as_ref()).map_err(End::refused);
            }
            Some(_) => return Err(End::refused("the first frame is hello")),
            None => {}
        }
    }
}

/// Gives work to a newcomer until its session is over.
async fn attend(socket: &mut WebSocket, app: &App, newcomer: Newcomer) -> End {
    let Ok(link) = app.engine.join(newcomer).await else { return End::told(Farewell::Stopping) };
    app.workers.begun.increment(1);
    let worker = link.worker();
    let (inbox, reports) = link.split();
    let (sink, stream) = socket.split();
    let state = State { workers: &app.workers, pulse: Mutex::default(), claims: Mutex::default() };
    let session = async {
        tokio::select! {
            end = state.write(sink, inbox, worker, &reports) => end,
            end = state.read(stream, &reports) => end,
        }
    };
    // Whatever happens, the loop must hear that the session is over.
    let end = AssertUnwindSafe(session).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(%worker, "a session panicked");
        End::refused("the node failed at its part")
    });
    reports.leave(end.farewell.clone()).await;
    end
}

/// What reading and writing know of each other. They take turns on one thread at a time; no lock is
/// held across a wait.
struct State<'a> {
    workers: &'a Workers,
    pulse: Mutex<Pulse>,
    claims: Mutex<Claims>,
}

type Sink<'a> = SplitSink<&'a mut WebSocket, Message>;

impl State<'_> {
    async fn write(
        &self,
        mut sink: Sink<'_>,
        mut inbox: Inbox,
        worker: WorkerId,
        reports: &Reports,
    ) -> End {
        let every = self.workers.ping_every;
        let ping_every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let welcome = Welcome { protocol: PROTOCOL_VERSION, worker, ping_every_ms };
        let mut frames = vec![ServerToWorker::Welcome(welcome)];
        let mut pings = interval_at(tokio::time::Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Err(end) = self.send(&mut sink, frames.drain(..), reports).await {
                return end;
            }
            tokio::select! {
                taken = inbox.take(&mut frames, FRAMES_AT_ONCE_MAX) => {
                    if let Err(farewell) = taken {
                        return End::told(farewell);
                    }
                }
                _ = pings.tick() => match self.pulse.lock().beat(Instant::now()) {
                    Beat::Ping(n) => frames.push(ServerToWorker::Ping(Ping { n })),
                    Beat::Wait => {}
                    Beat::Gone => return End::refused("three pings were not answered"),
                },
            }
        }
    }

    async fn send(
        &self,
        sink: &mut Sink<'_>,
        frames: impl Iterator<Item = ServerToWorker>,
        reports: &Reports,
    ) -> Result<(), End> {
        for frame in frames {
            let text = frame.text();
            if let ServerToWorker::Run(run) = &frame {
                if text.len() > FRAME_BYTES_MAX {
                    self.refuse(run, reports).await;
                    continue;
                }
                self.claims.lock().sent(run, Instant::now());
            }
            sent(sink.feed(Message::text(text))).await?;
        }
        sent(sink.flush()).await
    }

    /// Ends an attempt whose inputs no frame holds.
    async fn refuse(&self, run: &Run, reports: &Reports) {
        let message = "its inputs are too large to be sent to a worker: give it place `here`";
        let finished = Finished {
            task: run.task,
            attempt: run.attempt,
            outcome: Outcome::threw("RangeError", message),
            usage: Usage::default(),
            output_truncated: false,
        };
        if let Some(room) = self.workers.room(0).await {
            reports.say(vec![WorkerToServer::Finished(finished)], room).await;
        }
    }

    async fn read(&self, mut stream: SplitStream<&mut WebSocket>, reports: &Reports) -> End {
        let mut heard = Vec::new();
        loop {
            let Some(message) = stream.next().await else { return End::gone("it has gone") };
            let mut bytes = 0;
            let mut next = Some(message);
            // What has arrived together is heard together, and what was said before the end is
            // heard in any case.
            let mut end = None;
            while let Some(message) = next {
                match self.hear(message, &mut heard, reports) {
                    Ok(more) => bytes += more,
                    Err(it) => end = Some(it),
                }
                let is_full = heard.len() >= FRAMES_AT_ONCE_MAX || bytes >= HEARD_BYTES_MAX;
                if end.is_some() || is_full {
                    break;
                }
                next = stream.next().now_or_never().flatten();
            }
            if !heard.is_empty() && !self.hand_on(std::mem::take(&mut heard), bytes, reports).await
            {
                return End::told(Farewell::Stopping);
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    async fn hand_on(&self, heard: Vec<WorkerToServer>, bytes: usize, reports: &Reports) -> bool {
        self.pulse.lock().is_held_up = true;
        let Some(room) = self.workers.room(bytes).await else { return false };
        let is_heard = reports.say(heard, room).await;
        self.pulse.lock().is_held_up = false;
        is_heard
    }

    /// Takes one message in, and says how large it was.
    fn hear(
        &self,
        message: Result<Message, axum::Error>,
        heard: &mut Vec<WorkerToServer>,
        reports: &Reports,
    ) -> Result<usize, End> {
        let message = message.map_err(|error| lost(&error))?;
        let Some(text) = text_of(message)? else { return Ok(0) };
        let bytes = text.len();
        match read(&text, self.workers)? {
            None => {}
            Some(WorkerToServer::Hello(_)) => self.workers.ignored.foreign.increment(1),
            Some(WorkerToServer::Pong(pong)) => {
                match self.pulse.lock().pong(pong.n, Instant::now()) {
                    Ok(latency) => latency.into_iter().for_each(|latency| reports.latency(latency)),
                    Err(_) => self.workers.ignored.foreign.increment(1),
                }
            }
            Some(WorkerToServer::Slots(mut slots)) => {
                slots.slots = slots.slots.min(crate::engine::SLOTS_MAX);
                heard.push(WorkerToServer::Slots(slots));
            }
            Some(frame) => match self.claims.lock().said(frame, Instant::now()) {
                Claim::Heard(frame) => heard.push(frame),
                Claim::Dropped => {}
                Claim::Foreign => self.workers.ignored.foreign.increment(1),
                Claim::Unfit => self.workers.ignored.unfit.increment(1),
            },
        }
        Ok(bytes)
    }
}

async fn sent<E: std::fmt::Display>(
    sending: impl Future<Output = Result<(), E>>,
) -> Result<(), End> {
    match timeout(WRITE_TIME_MAX, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(End::gone(&format!("the connection was lost: {error}"))),
        Err(_) => Err(End::told(Farewell::TooSlow)),
    }
}

/// The text of a message; `None` for what the WebSocket protocol deals with by itself.
fn text_of(message: Message) -> Result<Option<axum::extract::ws::Utf8Bytes>, End> {
    match message {
        Message::Text(text) => Ok(Some(text)),
        Message::Binary(_) => Err(End {
            code: Some(close_code::UNSUPPORTED),
            farewell: Farewell::Left("frames are text".to_owned()),
        }),
        Message::Close(_) => Err(End::gone("it has gone")),
        Message::Ping(_) | Message::Pong(_) => Ok(None),
    }
}

/// Reads a frame; what is not known is counted.
fn read(text: &str, workers: &Workers) -> Result<Option<WorkerToServer>, End> {
    let Heard { frame, has_unknown_field } =
        WorkerToServer::read(text).map_err(|error| End::refused(error.to_string()))?;
    if frame.is_none() {
        workers.ignored.unknown_type.increment(1);
    }
    if has_unknown_field {
        workers.ignored.unknown_field.increment(1);
    }
    Ok(frame)
}

/// The connection is broken, or says what is no message.
fn lost(error: &axum::Error) -> End {
    let reason = error.to_string();
    // The one thing about which a connection that is sound complains: a message beyond all bounds.
    let code = reason.contains("Space limit exceeded").then_some(close_code::SIZE);
    End { code, farewell: Farewell::Left(format!("the connection was lost: {reason}")) }
}

/// Tells the worker why, or answers its own goodbye, and waits a little until it has heard: a
/// connection that is shut while something lies unread takes what was sent with it.
async fn close(mut socket: WebSocket, end: End) {
    let mut reason = end.farewell.to_string();
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    let frame = end.code.map(|code| CloseFrame { code, reason: reason.into() });
    let closing = async {
        if let Some(frame) = frame
            && socket.send(Message::Close(Some(frame))).await.is_err()
        {
            return;
        }
        while let Some(Ok(_)) = socket.recv().await {}
    };
    // Late or never: it is over in any case.
    drop(timeout(CLOSE_TIME_MAX, closing).await);
}
