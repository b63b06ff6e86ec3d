//! A connection whose other end must take what it is sent. hyper waits without an end for room in the
//! socket; here a write that makes no progress has a deadline, and so does whatever holds on to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long a client may take nothing of what it is sent, unless the node is told otherwise. One that
/// takes a little now and then goes on for as long as it likes, and a stream with nothing to say
/// waits for nobody.
pub const STALLED_AFTER: Duration = Duration::from_secs(60);

/// A stream whose writes have a deadline.
pub struct Taking {
    stream: TcpStream,
    stalled_after: Duration,
    /// `None` while there is room, so that it costs nothing then.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Taking {
    /// Must be written to within a tokio runtime.
    pub fn new(stream: TcpStream, stalled_after: Duration) -> Self {
        Self { stream, stalled_after, deadline: None }
    }

    /// What became of a write, or the end of waiting for it.
    fn progress(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let stalled_after = self.stalled_after;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(stalled_after)));
        ready!(deadline.as_mut().poll(context));
        // What it has not taken is thrown away, or the system would keep it for minutes more.
        if let Err(error) = self.stream.set_zero_linger() {
            tracing::debug!(%error, "failed to throw away what a client does not take");
        }
        let message = "the other end takes nothing of what it is sent";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }
}

impl AsyncRead for Taking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Taking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.progress(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.progress(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// More than both ends of a socket hold by themselves.
    const MUCH_BYTES: usize = 64 << 20;
    const STALLED_AFTER: Duration = Duration::from_millis(200);

    async fn pair() -> (Taking, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("has one");
        let client = TcpStream::connect(address).await.expect("connects");
        let (server, _) = listener.accept().await.expect("accepts");
        (Taking::new(server, STALLED_AFTER), client)
    }

    #[tokio::test]
    async fn one_who_takes_nothing_is_cut_off() {
        let (mut server, client) = pair().await;
        let much = vec![0; MUCH_BYTES];
        let written = timeout(Duration::from_secs(20), server.write_all(&much)).await;
        let error = written.expect("in time").expect_err("it cannot all be written");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(server);
        let reset = client.ready(tokio::io::Interest::ERROR);
        timeout(Duration::from_secs(20), reset).await.expect("in time").expect("is told");
    }

    #[tokio::test]
    async fn one_who_takes_little_at_a_time_gets_all_of_it() {
        let (mut server, mut client) = pair().await;
        let writing = tokio::spawn(async move { server.write_all(&vec![0; MUCH_BYTES]).await });
        let mut piece = vec![0; MUCH_BYTES / 20];
        for _ in 0..20 {
            // All in all several times as long as one may take nothing.
            sleep(STALLED_AFTER / 4).await;
            client.read_exact(&mut piece).await.expect("goes on");
        }
        writing.await.expect("ends").expect("all is written");
    }
}
