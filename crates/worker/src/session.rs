//! One connection to a node: hello, attempts, pings, goodbye.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use runabout_protocol::frame::{Goodbye, Hello, Pong, Slots, Welcome};
use runabout_protocol::wire::{FRAME_BYTES_MAX, Frame};
use runabout_protocol::{
    Attempt, Capability, Digest, PROTOCOL_VERSION, ServerToWorker, TaskId, WorkerKind,
    WorkerToServer,
};
use runabout_sandbox::Sandbox;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tokio_util::sync::CancellationToken;

use crate::attempts::{self, Node};
use crate::fetch::Fetcher;
use crate::join::Settings;

/// How long connecting may take, and the welcome after it.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the node may take to read what was said; then the connection is taken for lost.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);
/// Pings that may fail to come before the node is taken for gone.
const SILENCE_PINGS_MAX: u32 = 4;
/// Frames that wait to be said; runs that have more to say wait.
const OUTBOX_FRAMES_MAX: usize = 256;
/// Frames that wait to be looked at.
const INBOX_FRAMES_MAX: usize = 4_096;

/// How a connection ended.
pub enum End {
    /// We were told to stop.
    Stopped,
    /// The node does not want us.
    Refused(String),
    /// It broke; another may go better.
    Lost { reason: String, was_welcome: bool },
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects, and works until the connection ends.
pub async fn work(
    settings: &Settings,
    address: &str,
    (sandbox, fetcher): (&Sandbox, &Arc<Fetcher>),
    stop: &CancellationToken,
) -> End {
    let lost = |reason: String| End::Lost { reason, was_welcome: false };
    let connected = timeout(CONNECT_TIME_MAX, connect(settings, address)).await;
    let (socket, welcome) = match connected {
        Err(_) => return lost("the node took too long to answer".to_owned()),
        Ok(Err(end)) => return end,
        Ok(Ok(connected)) => connected,
    };
    tracing::info!(worker = %welcome.worker, slots = settings.slots, "working for {address}");
    let (outbox, said) = mpsc::channel(OUTBOX_FRAMES_MAX);
    let (inbox, frames) = mpsc::channel(INBOX_FRAMES_MAX);
    let there = Arc::new(There {
        fetcher: Arc::clone(fetcher),
        outbox: outbox.clone(),
        held: Mutex::default(),
        idle: Notify::new(),
    });
    let mut runs = JoinSet::new();
    runs.spawn(attempts::serve(Arc::clone(&there), sandbox.clone(), frames));
    let silence = Duration::from_millis(welcome.ping_every_ms.max(1)) * SILENCE_PINGS_MAX;
    let (sink, stream) = socket.split();
    let mut writing = pin!(write(sink, said));
    let end = tokio::select! {
        end = read(stream, &there, &inbox, silence) => end,
        end = &mut writing => return end,
        () = leave(&there, stop, settings.grace) => End::Stopped,
    };
    // What runs on a connection ends with it; what was said before is still written.
    runs.shutdown().await;
    drop((there, outbox));
    drop(timeout(CONNECT_TIME_MAX, writing).await);
    end
}

async fn connect(settings: &Settings, address: &str) -> Result<(Socket, Welcome), End> {
    let lost = |error: SocketError| End::Lost { reason: error.to_string(), was_welcome: false };
    let config = WebSocketConfig::default()
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let connected = connect_async_with_config(address, Some(config), true).await;
    let (mut socket, _) = connected.map_err(|error| match error {
        SocketError::Http(response) if response.status().is_client_error() => {
            End::Refused(format!("it answered {}", response.status()))
        }
        error => lost(error),
    })?;
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        kind: WorkerKind::Node,
        slots: settings.slots,
        capabilities: vec![Capability::Js, Capability::Wasm, Capability::Wasi, Capability::Quickjs],
        name: settings.name.clone(),
        token: settings.token.clone(),
    };
    let hello = Message::text(WorkerToServer::Hello(hello).text());
    socket.send(hello).await.map_err(lost)?;
    while let Some(message) = socket.next().await {
        match message.map_err(lost)? {
            Message::Text(text) => {
                if let Ok(heard) = ServerToWorker::read(&text)
                    && let Some(ServerToWorker::Welcome(welcome)) = heard.frame
                {
                    return Ok((socket, welcome));
                }
            }
            Message::Close(Some(CloseFrame { code: CloseCode::Policy, reason })) => {
                return Err(End::Refused(reason.to_string()));
            }
            _ => {}
        }
    }
    let reason = "the node closed the connection".to_owned();
    Err(End::Lost { reason, was_welcome: false })
}

/// The node as a session over a socket sees it.
struct There {
    fetcher: Arc<Fetcher>,
    outbox: mpsc::Sender<Vec<WorkerToServer>>,
    /// What was sent and has not finished.
    held: Mutex<HashSet<(TaskId, Attempt)>>,
    /// Nothing runs any more.
    idle: Notify,
}

impl Node for There {
    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, String> {
        self.fetcher.artifact(digest).await
    }

    async fn tell(&self, frames: impl FnOnce() -> Vec<WorkerToServer> + Send) -> bool {
        let Ok(permit) = self.outbox.reserve().await else { return false };
        let frames = frames();
        let ends = frames.iter().filter_map(|frame| match frame {
            WorkerToServer::Finished(finished) => Some((finished.task, finished.attempt)),
            _ => None,
        });
        let ends: Vec<_> = ends.collect();
        if !frames.is_empty() {
            permit.send(frames);
        }
        let mut held = self.held.lock();
        for end in ends {
            held.remove(&end);
        }
        if held.is_empty() {
            self.idle.notify_one();
        }
        true
    }
}

async fn read(
    mut stream: SplitStream<Socket>,
    there: &There,
    inbox: &mpsc::Sender<ServerToWorker>,
    silence: Duration,
) -> End {
    let lost = |reason: String| End::Lost { reason, was_welcome: true };
    loop {
        let message = match timeout(silence, stream.next()).await {
            Err(_) => return lost("the node sends no pings any more".to_owned()),
            Ok(None) => return lost("the node closed the connection".to_owned()),
            Ok(Some(Err(error))) => return lost(error.to_string()),
            Ok(Some(Ok(message))) => message,
        };
        let text = match message {
            Message::Text(text) => text,
            Message::Close(frame) => {
                let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                return lost(format!("the node closed the connection: {reason}"));
            }
            _ => continue,
        };
        let frame = match ServerToWorker::read(&text) {
            // What is not known is for workers that are newer than we are.
            Ok(heard) => heard.frame,
            Err(error) => return lost(format!("the node said {error}")),
        };
        let answer = match frame {
            None | Some(ServerToWorker::Welcome(_)) => continue,
            Some(ServerToWorker::Ping(ping)) => WorkerToServer::Pong(Pong { n: ping.n }),
            Some(ServerToWorker::Resize(resize)) => {
                WorkerToServer::Slots(Slots { slots: resize.slots })
            }
            Some(frame) => {
                if let ServerToWorker::Run(run) = &frame {
                    there.held.lock().insert((run.task, run.attempt));
                }
                if inbox.send(frame).await.is_err() {
                    return lost("the worker failed at its part".to_owned());
                }
                continue;
            }
        };
        if there.outbox.send(vec![answer]).await.is_err() {
            return lost("nothing can be said any more".to_owned());
        }
    }
}

async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut said: mpsc::Receiver<Vec<WorkerToServer>>,
) -> End {
    let lost = |reason: String| End::Lost { reason, was_welcome: true };
    let mut batches = Vec::new();
    while said.recv_many(&mut batches, OUTBOX_FRAMES_MAX).await > 0 {
        let writing = async {
            for frame in batches.drain(..).flatten() {
                sink.feed(Message::text(frame.text())).await?;
            }
            sink.flush().await
        };
        match timeout(WRITE_TIME_MAX, writing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return lost(error.to_string()),
            Err(_) => return lost("the node does not read any more".to_owned()),
        }
    }
    // All has been said; an error means that it was not heard, and the node finds that out itself.
    drop(timeout(WRITE_TIME_MAX, sink.close()).await);
    lost("nothing is left to be said".to_owned())
}

/// Once told to stop: takes nothing more, and ends when what runs has ended or its time is over.
/// What runs then is handed back by the end of the connection.
async fn leave(there: &There, stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    let goodbye = WorkerToServer::Goodbye(Goodbye {});
    if there.outbox.send(vec![goodbye]).await.is_err() {
        return;
    }
    let finished = async {
        while !there.held.lock().is_empty() {
            there.idle.notified().await;
        }
    };
    if timeout(grace, finished).await.is_err() {
        tracing::warn!("what still runs is handed back");
    }
}
