//! What every run may say to the world, whatever it is written in: output, progress, checkpoints.
//! Holds it to its bounds before anybody hears of it.

use std::sync::Arc;

use runabout_protocol::{Checkpoint, Stream};

use crate::invocation::{Observer, TaskContext};

/// How much output of a run is kept.
pub const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// How large a checkpoint may be.
pub const CHECKPOINT_BYTES_MAX: usize = 1 << 20;

/// How large a result may be.
pub const RESULT_BYTES_MAX: usize = 6 << 20;

/// How long a progress message may be; what is longer is cut.
pub const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// One run's way out.
pub struct Host {
    observer: Arc<dyn Observer>,
    pub task: Option<TaskContext>,
    output_bytes: usize,
    pub output_truncated: bool,
    /// Lines that WASI or a Wasm guest has begun and not ended.
    partial: [Vec<u8>; 2],
}

impl Host {
    pub fn new(observer: Arc<dyn Observer>, task: Option<TaskContext>) -> Self {
        Self {
            observer,
            task,
            output_bytes: 0,
            output_truncated: false,
            partial: [Vec::new(), Vec::new()],
        }
    }

    /// How many more bytes of output are kept.
    pub fn output_left(&self) -> usize {
        OUTPUT_BYTES_MAX - self.output_bytes
    }

    /// One line, without its end.
    pub fn log_line(&mut self, stream: Stream, line: &[u8]) {
        let keep = line.len().min(self.output_left());
        if keep < line.len() || self.output_left() == 0 {
            self.output_truncated = true;
        }
        if self.output_left() == 0 {
            return;
        }
        self.output_bytes += (keep + 1).min(self.output_left());
        self.observer.log(stream, &String::from_utf8_lossy(&line[..keep]));
    }

    /// Bytes as they come; whole lines are told at once, the rest when it is complete.
    pub fn write(&mut self, stream: Stream, mut bytes: &[u8]) {
        if self.output_left() == 0 {
            self.output_truncated |= !bytes.is_empty();
            return;
        }
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(self.partial_mut(stream));
            line.extend_from_slice(&bytes[..end]);
            self.log_line(stream, &line);
            bytes = &bytes[end + 1..];
        }
        let left = self.output_left();
        let partial = self.partial_mut(stream);
        let keep = bytes.len().min((left + 1).saturating_sub(partial.len()));
        partial.extend_from_slice(&bytes[..keep]);
    }

    /// Tells what was begun and will not be ended.
    pub fn flush(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = std::mem::take(self.partial_mut(stream));
            if !line.is_empty() {
                self.log_line(stream, &line);
            }
        }
    }

    pub fn progress(&self, fraction: f64, message: &[u8]) {
        let message = &message[..message.len().min(MESSAGE_BYTES_MAX)];
        let message = String::from_utf8_lossy(message);
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        self.observer.progress(fraction, (!message.is_empty()).then_some(message.as_ref()));
    }

    pub fn checkpoint(&self, checkpoint: Checkpoint) {
        self.observer.checkpoint(checkpoint);
    }

    fn partial_mut(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.partial[0],
            Stream::Stderr => &mut self.partial[1],
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Observer for Lines {
        fn log(&self, _stream: Stream, text: &str) {
            self.0.lock().push(text.to_owned());
        }
        fn progress(&self, _fraction: f64, _message: Option<&str>) {}
        fn checkpoint(&self, _checkpoint: Checkpoint) {}
    }

    #[test]
    fn bytes_become_lines() {
        let lines = Arc::new(Lines::default());
        let mut host = Host::new(lines.clone(), None);
        host.write(Stream::Stdout, b"one\ntw");
        host.write(Stream::Stdout, b"o\n\nthree");
        host.flush();
        assert_eq!(*lines.0.lock(), ["one", "two", "", "three"]);
    }

    #[test]
    fn output_stops_at_its_bound_and_says_so() {
        let lines = Arc::new(Lines::default());
        let mut host = Host::new(lines.clone(), None);
        for _ in 0..20 {
            host.write(Stream::Stderr, &[b'x'; 100_000]);
            host.write(Stream::Stderr, b"\n");
        }
        let kept: usize = lines.0.lock().iter().map(String::len).sum();
        assert!(kept <= OUTPUT_BYTES_MAX, "{kept}");
        assert!(host.output_truncated);
    }

    #[test]
    fn a_line_without_end_does_not_grow_without_end() {
        let mut host = Host::new(Arc::new(Lines::default()), None);
        for _ in 0..20 {
            host.write(Stream::Stdout, &[b'x'; 1 << 20]);
        }
        assert!(host.partial[0].len() <= OUTPUT_BYTES_MAX + 1);
    }
}
