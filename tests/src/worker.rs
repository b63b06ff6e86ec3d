//! A worker that says exactly what a test wants: a WebSocket, frames as JSON, nothing else.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::{Node, PATIENCE};

/// A session, or what wants to become one.
pub struct Worker {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Its id, once it is welcome.
    pub id: String,
}

/// How a session was ended: the code, and the reason.
pub type Closed = (u16, String);

impl Worker {
    /// Opens the connection, with these headers, and says nothing.
    ///
    /// # Errors
    /// The status with which the node refused.
    pub async fn connect(node: &Node, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let url = format!("{}/v1/work", node.url.replace("http://", "ws://"));
        let mut request = url.into_client_request().expect("a request");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self { socket, id: String::new() }),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A session that can run everything.
    pub async fn join(node: &Node, slots: u32) -> Self {
        let hello = json!({
            "type": "hello", "protocol": 1, "kind": "node", "slots": slots,
            "capabilities": ["js", "wasm", "wasi"], "name": "made up",
        });
        Self::join_as(node, &[], hello).await
    }

    /// A session that says it is a tab, and could be one.
    pub async fn join_tab(node: &Node, slots: u32) -> Self {
        let hello = json!({
            "type": "hello", "protocol": 1, "kind": "tab", "slots": slots,
            "capabilities": ["js", "wasm", "wasi"],
        });
        Self::join_as(node, &[("Origin", &node.url)], hello).await
    }

    /// A session that begins with this.
    pub async fn join_as(node: &Node, headers: &[(&'static str, &str)], hello: Value) -> Self {
        let mut worker = Self::connect(node, headers).await.expect("the node lets it in");
        worker.say(hello).await;
        let welcome = worker.next("welcome").await;
        worker.id = welcome["worker"].as_str().expect("an id").to_owned();
        worker
    }

    /// Says a frame.
    pub async fn say(&mut self, frame: Value) {
        self.say_text(&frame.to_string()).await;
    }

    /// Says something that may be no frame.
    pub async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("it can be said");
    }

    /// Says bytes.
    pub async fn say_bytes(&mut self, bytes: &[u8]) {
        self.socket.send(Message::binary(bytes.to_vec())).await.expect("it can be said");
    }

    /// The next frame of that type; pings before it are answered, and nothing else may come.
    pub async fn next(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.any().await;
            if frame["type"] == kind {
                return frame;
            }
            assert_eq!(frame["type"], "ping", "waiting for {kind}: {frame}");
            self.say(json!({"type": "pong", "n": frame["n"]})).await;
        }
    }

    /// The next frame, whatever it is.
    pub async fn any(&mut self) -> Value {
        let frame = self.message().await.unwrap_or_else(|closed| panic!("closed: {closed:?}"));
        serde_json::from_str(&frame).expect("frames are JSON")
    }

    /// How the node ends the session; what it says before is not looked at.
    pub async fn closed(mut self) -> Closed {
        loop {
            if let Err(closed) = self.message().await {
                return closed;
            }
        }
    }

    async fn message(&mut self) -> Result<String, Closed> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match next.expect("the node says something") {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Err((frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err((1006, String::new())),
            }
        }
    }

    /// The attempt it is sent next, and says that it has begun.
    pub async fn begin(&mut self) -> Value {
        let run = self.next("run").await;
        self.say(about(&run, json!({"type": "started"}))).await;
        run
    }

    /// Says that an attempt returned this.
    pub async fn finish(&mut self, run: &Value, value: Value) {
        let outcome = json!({"kind": "returned", "value": value});
        self.finish_with(run, outcome).await;
    }

    /// Says that an attempt ended so.
    pub async fn finish_with(&mut self, run: &Value, outcome: Value) {
        let usage = json!({"cpu_ms": 1, "wall_ms": 1, "memory_peak_bytes": null});
        let frame = json!({"type": "finished", "outcome": outcome, "usage": usage});
        self.say(about(run, frame)).await;
    }

    /// Ends the connection without a word, as a process that is killed does.
    pub async fn vanish(self) {
        drop(self.socket);
    }
}

/// A frame about the attempt of `run`.
pub fn about(run: &Value, mut frame: Value) -> Value {
    frame["task"] = run["task"].clone();
    frame["attempt"] = run["attempt"].clone();
    frame
}
