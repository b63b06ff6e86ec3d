//! Runs WASI commands: arguments and stdin go in, stdout is the result. There are no files, no
//! environment and no network, and the clocks are coarse.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use parking_lot::Mutex;
use runabout_protocol::{Arguments, Encoding, Json, Outcome, Returned, Stream};
use serde_json::value::RawValue;
use wasmtime::format_err;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult, pipe::MemoryInputPipe};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, I32Exit, WasiCtxBuilder};

use crate::guest::{Guest, failure, result_too_large};
use crate::host::{Host, RESULT_BYTES_MAX};
use crate::pages::Instantiated;
use crate::program::Linked;
use crate::{Error, engine::TICK};

/// What a command is called as, its `argv[0]`.
const PROGRAM_NAME: &str = "function";

/// The most randomness in one call, which is not looked at while it is drawn; more traps.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// How much may be written until the run gives way: one call may write millions of lines.
const WRITTEN_AT_ONCE_BYTES: usize = 16 << 10;

/// How many arguments a command may be given.
const ARGUMENTS_MAX: usize = 10_000;

/// A command's input, read from a call's arguments.
pub struct Input {
    argv: Vec<String>,
    stdin: Bytes,
}

impl Input {
    /// Strings go in as they are, other values as JSON; bytes are stdin.
    ///
    /// # Errors
    /// The arguments are no array, or more than one of them is bytes.
    pub fn read(args: &Arguments, stdin: Option<&Bytes>) -> Result<Self, Error> {
        let wrong = |what: &str| Error::invalid_arguments(what.to_owned());
        let mut argv = vec![PROGRAM_NAME.to_owned()];
        if args.encoding == Some(Encoding::Base64) {
            let [bytes] = decode_bytes(args)?
                .try_into()
                .map_err(|_| wrong("a command takes one argument of bytes, its stdin"))?;
            return Ok(Self { argv, stdin: bytes });
        }
        let values: Vec<&RawValue> =
            args.values.read().map_err(|_| wrong("arguments are a JSON array"))?;
        if values.len() > ARGUMENTS_MAX {
            return Err(wrong("a command takes 10,000 arguments at most"));
        }
        for value in values {
            let text = serde_json::from_str::<String>(value.get());
            let text = text.unwrap_or_else(|_| value.get().to_owned());
            if text.contains('\0') {
                return Err(wrong("an argument of a command cannot contain a zero byte"));
            }
            argv.push(text);
        }
        Ok(Self { argv, stdin: stdin.cloned().unwrap_or_default() })
    }
}

/// Decodes arguments that are bytes.
///
/// # Errors
/// They are not an array of base64 strings.
pub fn decode_bytes(args: &Arguments) -> Result<Vec<Bytes>, Error> {
    let wrong =
        || Error::invalid_arguments("args_encoding base64 needs an array of base64 strings".into());
    let texts: Vec<String> = args.values.read().map_err(|_| wrong())?;
    texts
        .iter()
        .map(|text| BASE64_STANDARD.decode(text).map(Bytes::from).map_err(|_| wrong()))
        .collect()
}

/// Runs a command in a fresh instance.
pub async fn run(mut guest: Guest, module: &Linked, input: Input) -> Outcome {
    let meter = guest.meter.clone();
    let stdout = Arc::new(Mutex::new(Captured::default()));
    guest.wasi = Some(Box::new(command_context(input, &stdout, &guest.host)));
    let ran = async {
        let Instantiated { running, instance, .. } = &mut module.instantiate(guest).await?;
        let start = instance.get_typed_func::<(), ()>(&mut **running, "_start")?;
        start.call_async(&mut **running, ()).await
    };
    let ended = ran.await;
    let captured = std::mem::take(&mut *stdout.lock());
    if captured.too_large {
        return result_too_large();
    }
    match ended {
        Ok(()) => returned(captured.bytes),
        Err(error) if matches!(error.downcast_ref(), Some(I32Exit(0))) => returned(captured.bytes),
        Err(error) => failure(&error, &meter),
    }
}

fn returned(stdout: Vec<u8>) -> Outcome {
    let returned = match String::from_utf8(stdout) {
        Ok(text) => Returned { value: Json::string(&text), encoding: None },
        Err(error) => {
            let text = BASE64_STANDARD.encode(error.as_bytes());
            Returned { value: Json::string(&text), encoding: Some(Encoding::Base64) }
        }
    };
    Outcome::Returned(returned)
}

fn command_context(
    input: Input,
    stdout: &Arc<Mutex<Captured>>,
    host: &Arc<Mutex<Host>>,
) -> WasiP1Ctx {
    let out = Output::new(Stream::Stdout, host, Some(stdout.clone()));
    let err = Output::new(Stream::Stderr, host, None);
    WasiCtxBuilder::new()
        .args(&input.argv)
        .max_random_size(RANDOM_BYTES_MAX)
        .stdin(MemoryInputPipe::new(input.stdin))
        .stdout(out)
        .stderr(err)
        .wall_clock(CoarseClock::start())
        .monotonic_clock(CoarseClock::start())
        .allow_tcp(false)
        .allow_udp(false)
        .build_p1()
}

/// The surroundings of a module that imports WASI but is called by its exports.
pub fn library_context(host: &Arc<Mutex<Host>>) -> WasiP1Ctx {
    WasiCtxBuilder::new()
        .max_random_size(RANDOM_BYTES_MAX)
        .stdout(Output::new(Stream::Stdout, host, None))
        .stderr(Output::new(Stream::Stderr, host, None))
        .wall_clock(CoarseClock::start())
        .monotonic_clock(CoarseClock::start())
        .build_p1()
}

/// A command's stdout, which is its result.
#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    too_large: bool,
}

/// stdout or stderr: told line by line, and stdout kept whole as well.
#[derive(Clone)]
struct Output {
    stream: Stream,
    host: Arc<Mutex<Host>>,
    captured: Option<Arc<Mutex<Captured>>>,
    /// How much was written since the run gave way.
    written_bytes: usize,
}

impl Output {
    fn new(
        stream: Stream,
        host: &Arc<Mutex<Host>>,
        captured: Option<Arc<Mutex<Captured>>>,
    ) -> Self {
        Self { stream, host: host.clone(), captured, written_bytes: 0 }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only components of WASI 0.3 ask for this, and the sandbox runs none.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        if self.written_bytes >= WRITTEN_AT_ONCE_BYTES {
            self.written_bytes = 0;
            tokio::task::yield_now().await;
        }
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.written_bytes += bytes.len();
        self.host.lock().write(self.stream, &bytes);
        if let Some(captured) = &self.captured {
            let mut captured = captured.lock();
            if captured.bytes.len() + bytes.len() > RESULT_BYTES_MAX {
                captured.too_large = true;
                return Err(StreamError::Trap(format_err!("the result is too large")));
            }
            captured.bytes.extend_from_slice(&bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(1 << 20)
    }
}

/// A clock that shows milliseconds, too coarse to watch a neighbour's cache with.
pub struct CoarseClock {
    started: Instant,
}

impl CoarseClock {
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Since 1970.
    pub fn wall() -> Duration {
        // A clock set before 1970 shows 1970.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_millis(now.as_millis() as u64)
    }
}

impl HostWallClock for CoarseClock {
    fn resolution(&self) -> Duration {
        TICK
    }

    fn now(&self) -> Duration {
        Self::wall()
    }
}

impl HostMonotonicClock for CoarseClock {
    fn resolution(&self) -> u64 {
        TICK.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64 * TICK.as_nanos() as u64
    }
}
