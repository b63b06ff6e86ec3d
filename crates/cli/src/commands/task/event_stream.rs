//! Reads server-sent events from an answer, as far as a node sends them.

use std::collections::VecDeque;

use reqwest::Response;

/// An event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// What it is about; `message` where it does not say.
    pub name: String,
    /// Where to go on after it.
    pub id: Option<String>,
    /// What it tells.
    pub data: String,
}

/// Events as they arrive.
pub struct EventStream {
    answer: Response,
    reader: Reader,
}

impl EventStream {
    /// Reads the body of an answer.
    pub fn new(answer: Response) -> Self {
        Self { answer, reader: Reader::default() }
    }

    /// Waits for the next event; `None` when the stream has ended or was cut off.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.reader.events.pop_front() {
                return Some(event);
            }
            let bytes = self.answer.chunk().await.ok()??;
            self.reader.read(&bytes);
        }
    }
}

/// Takes bytes as they come, and gives whole events.
#[derive(Debug, Default)]
struct Reader {
    events: VecDeque<Event>,
    /// Of a line that has not ended.
    rest: Vec<u8>,
    event: Event,
}

impl Reader {
    fn read(&mut self, bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(line) = lines.next() {
            self.rest.extend_from_slice(line);
            if lines.peek().is_some() {
                let line = std::mem::take(&mut self.rest);
                let line = String::from_utf8_lossy(&line);
                self.line(line.strip_suffix('\r').unwrap_or(&line));
            }
        }
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            // One without data only says where to go on, and the next event says it too.
            if !event.data.is_empty() {
                self.events.push_back(event);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment, or when to come back: we know that ourselves.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Vec<Event> {
        let mut reader = Reader::default();
        pieces.iter().for_each(|piece| reader.read(piece.as_bytes()));
        reader.events.into()
    }

    fn event(name: &str, id: Option<&str>, data: &str) -> Event {
        let (name, data) = (name.to_owned(), data.to_owned());
        Event { name, id: id.map(ToOwned::to_owned), data }
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let text = "retry: 1000\n\n:\n\nevent: log\nid: a-1\ndata: {\"ä\":1}\n\nevent: x\r\ndata:y\r\ndata: z\r\n\r\n";
        let expected = [event("log", Some("a-1"), "{\"ä\":1}"), event("x", None, "y\nz")];
        assert_eq!(read(&[text]), expected);
        let mut reader = Reader::default();
        text.bytes().for_each(|byte| reader.read(&[byte]));
        assert_eq!(Vec::from(reader.events), expected);
    }

    #[test]
    fn an_event_that_is_cut_off_is_none() {
        assert_eq!(read(&["event: log\ndata: 1\n"]), []);
    }
}
