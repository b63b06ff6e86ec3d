//! Accepts connections and sees them off: one task a connection, on one of the threads that are
//! there for connections, with bounded numbers and times.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::front::Front;
use crate::opening::Opening;
use crate::taking::Taking;
use crate::threads::Threads;
use crate::tls::Tls;

/// Connections at once; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 4096;
/// How long a connection may take to send a request's head, or idle before it. Longer than the 90
/// seconds for which common clients keep idle connections, so that they close theirs first.
const HEAD_TIME_MAX: Duration = Duration::from_secs(120);
/// How often a client that speaks HTTP/2 must show that it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long requests under way are given to end when the node stops.
const GRACE: Duration = Duration::from_secs(5);
/// How long accepting rests after it failed: out of file descriptors, say.
const REST_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What stands behind a listener, and how it is spoken to.
#[derive(Clone)]
pub struct Door {
    /// Answers requests.
    pub front: Front,
    /// What HTTP is spoken through; `None` means in the open.
    pub tls: Option<Tls>,
    /// Whoever takes nothing of its answer for so long is cut off.
    pub stalled_after: Duration,
}

/// Serves what is behind `door` on `listener` until `shutdown` resolves, and then until the requests
/// under way have ended or their time of grace is over. Sessions of workers go on, as long as
/// `threads` do.
pub async fn serve(
    listener: TcpListener,
    door: Door,
    threads: &Threads,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let cut_off = CancellationToken::new();
    tokio::select! {
        () = accept(&listener, &door, threads, (&graceful, &cut_off)) => {}
        () = shutdown => {}
    }
    drop(listener);
    if timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way {GRACE:?} after the node was told to stop");
        cut_off.cancel();
    }
}

async fn accept(
    listener: &TcpListener,
    door: &Door,
    threads: &Threads,
    (graceful, cut_off): (&GracefulShutdown, &CancellationToken),
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        // A node behind which many callers hang up at once takes that many runs back.
        .max_pending_accept_reset_streams(256)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed, so this ends only when it is dropped.
    while let Ok(place) = room.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                sleep(REST_AFTER_FAILURE).await;
                continue;
            }
        };
        let (builder, door) = (builder.clone(), door.clone());
        let (watcher, cut_off) = (graceful.watcher(), cut_off.clone());
        // Owned by `graceful`, which tells it to end and waits for it, and then by `cut_off`.
        threads.spawn(async move {
            let _place = place;
            let stream = match here(stream) {
                Ok(stream) => stream,
                Err(error) => return tracing::warn!(%error, "failed to take over a connection"),
            };
            let conversing = async move {
                let Door { front, tls, stalled_after } = door;
                let stream = Taking::new(stream, stalled_after);
                match tls {
                    None => converse(&builder, stream, &front, watcher).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => converse(&builder, stream, &front, watcher).await,
                        Err(error) => tracing::debug!(%error, "no TLS was agreed on"),
                    },
                }
            };
            tokio::select! {
                () = conversing => {}
                () = cut_off.cancelled() => {}
            }
        });
    }
}

/// Answers the requests of a connection until it ends, or `watcher` tells it to.
async fn converse(
    builder: &Builder<TokioExecutor>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    front: &Front,
    watcher: Watcher,
) {
    let io = TokioIo::new(Opening::new(stream, HEAD_TIME_MAX));
    let connection = builder.serve_connection_with_upgrades(io, service(front));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error, "connection ended");
    }
}

/// Registers a socket with the runtime of this thread, and no longer with the one that accepted it.
fn here(stream: TcpStream) -> std::io::Result<TcpStream> {
    let stream = TcpStream::from_std(stream.into_std()?)?;
    // An answer is one small write; waiting for more to send with it would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    Ok(stream)
}

type Incoming = axum::http::Request<hyper::body::Incoming>;

fn service(
    front: &Front,
) -> TowerToHyperService<
    impl tower::Service<
        Incoming,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + use<>,
> {
    TowerToHyperService::new(front.clone().map_request(|request: Incoming| request.map(Body::new)))
}
