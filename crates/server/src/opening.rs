//! A connection that must begin to speak. hyper waits without an end for the bytes that tell which
//! version of HTTP they are; until they have, reading has a deadline here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a connection that speaks HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream whose opening has a deadline.
pub struct Opening<S> {
    stream: S,
    /// `None` once it is clear what is spoken.
    deadline: Option<Pin<Box<Sleep>>>,
    /// How much of the preface has come.
    seen: usize,
}

impl<S> Opening<S> {
    /// Must be called within a tokio runtime.
    pub fn new(stream: S, time_max: Duration) -> Self {
        Self { stream, deadline: Some(Box::pin(sleep(time_max))), seen: 0 }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let expected = &PREFACE[self.seen..];
        let heard = bytes.len().min(expected.len());
        self.seen += heard;
        if bytes[..heard] != expected[..heard] || self.seen == PREFACE.len() {
            self.deadline = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if this.deadline.is_some() {
                this.hear(&buffer.filled()[before..]);
            }
            return Poll::Ready(read);
        }
        let Some(deadline) = &mut this.deadline else { return Poll::Pending };
        ready!(deadline.as_mut().poll(context));
        let message = "the connection did not begin with a request";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
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

    use super::*;

    /// Whether reading on ends in a time-out after these bytes have come.
    async fn times_out_after(bytes: &[u8]) -> bool {
        let (mut client, server) = tokio::io::duplex(64);
        let mut opening = Opening::new(server, Duration::from_millis(20));
        client.write_all(bytes).await.expect("there is room");
        let mut read = vec![0; bytes.len()];
        opening.read_exact(&mut read).await.expect("they have come");
        // The client stays silent, so only the deadline can end this.
        let wait = Duration::from_millis(200);
        let next = tokio::time::timeout(wait, opening.read_u8()).await;
        next.is_ok_and(|read| read.is_err())
    }

    #[tokio::test]
    async fn only_a_connection_that_has_not_begun_times_out() {
        assert!(times_out_after(b"").await);
        assert!(times_out_after(b"PRI").await);
        assert!(!times_out_after(b"G").await);
        assert!(!times_out_after(b"PUT").await);
        assert!(!times_out_after(PREFACE).await);
    }
}
