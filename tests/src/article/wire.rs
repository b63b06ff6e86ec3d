//! A connection that asks the same thing again and again over HTTP/1.1, with as little work as
//! possible, as the machine's cores are the node's.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No head is longer.
const HEAD_BYTES_MAX: usize = 16 << 10;

pub struct Wire {
    stream: TcpStream,
    request: Vec<u8>,
    /// What was read and is not answered with yet.
    buffer: Vec<u8>,
}

/// An answer; its body is the wire's.
pub struct Answer<'w> {
    pub status: u16,
    pub revision: Option<u64>,
    pub body: &'w [u8],
}

impl Wire {
    pub async fn connect(node: &str, path: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(node).await?;
        stream.set_nodelay(true)?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {node}\r\n\r\n").into_bytes();
        Ok(Self { stream, request, buffer: Vec::with_capacity(32 << 10) })
    }

    /// Asks, and waits for the whole answer.
    pub async fn ask(&mut self) -> io::Result<Answer<'_>> {
        self.buffer.clear();
        self.stream.write_all(&self.request).await?;
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("the head has no end"));
            }
            self.more().await?;
        };
        let (status, length, revision) = read_head(&self.buffer[..head])?;
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        Ok(Answer { status, revision, body: &self.buffer[head..head + length] })
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn read_head(head: &[u8]) -> io::Result<(u16, usize, Option<u64>)> {
    let wrong = |what: &str| io::Error::other(format!("the answer has no {what}"));
    let text = std::str::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let (mut length, mut revision) = (None, None);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok();
        } else if name.eq_ignore_ascii_case("runabout-revision") {
            revision = value.parse().ok();
        }
    }
    Ok((status.ok_or_else(|| wrong("status"))?, length.ok_or_else(|| wrong("length"))?, revision))
}
