//! `runabout join`: works for another node, with the sandbox that nodes have.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::Url;
use runabout_sandbox::Sandbox;
use runabout_worker::join;
use tokio_util::sync::CancellationToken;

use crate::config::LogFormat;
use crate::exit::{Exit, Failure};
use crate::node::read_token;
use crate::signals::Signals;
use crate::{output, telemetry, units};

/// How long what runs is given to end when the worker is told to stop.
const GRACE: Duration = Duration::from_secs(30);

/// Works for another node: runs its tasks until told to stop
///
/// The connection is made again whenever it is lost. At the first signal the worker says goodbye,
/// finishes what it runs and hands back what takes longer than --grace; a second one ends it at
/// once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout join http://127.0.0.1:7878
  runabout join http://10.0.0.7:7878 --slots 8 --token-file token.txt
  runabout join http://10.0.0.7:7878 --name build-box --grace 5m")]
pub struct Join {
    /// The node to work for
    #[arg(value_name = "URL")]
    url: Url,
    /// Tasks to run at once [default: one a core]
    #[arg(long, value_name = "N", env = "RUNABOUT_SLOTS")]
    slots: Option<u32>,
    /// What to be called by the node [default: the host's name]
    #[arg(long, value_name = "NAME", env = "RUNABOUT_NAME")]
    name: Option<String>,
    /// A file that holds the node's token; the variable RUNABOUT_TOKEN may hold the token itself
    #[arg(long, value_name = "FILE", env = "RUNABOUT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// How long running tasks may take to end after a signal [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = units::milliseconds)]
    grace: Option<u64>,
    /// How the log on stderr is written [default: text]
    #[arg(long, value_name = "FORMAT", env = "RUNABOUT_LOG_FORMAT")]
    log_format: Option<LogFormat>,
}

impl Join {
    /// Works until it is told to stop.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let telemetry = telemetry::start(self.log_format.unwrap_or_default(), None)?;
        if self.slots == Some(0) {
            return Err(Failure::new(Exit::Usage, "--slots must be more than 0").into());
        }
        let settings = join::Settings {
            url: self.url.to_string(),
            slots: self.slots.unwrap_or_else(cores),
            name: self.name.or_else(host_name),
            token: read_token(self.token_file.as_deref())?,
            grace: self.grace.map_or(GRACE, Duration::from_millis),
        };
        let sandbox = Sandbox::new(runabout_sandbox::Config::for_this_machine())
            .map_err(|error| Failure::ours(format!("failed to start the sandbox: {error}")))?;
        let mut signals = Signals::listen().context("failed to listen for signals")?;
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let listening = tokio::spawn(async move {
            signals.next().await;
            output::note("leaving; a second signal ends this at once");
            stopping.cancel();
            signals.end_at_once().await;
        });
        let worked = join::run(settings, sandbox, stop).await;
        listening.abort();
        telemetry.finish().await;
        match worked {
            Ok(()) => Ok(Exit::Ok),
            Err(error @ join::Error::Url(_)) => {
                Err(Failure::new(Exit::Usage, error.to_string()).into())
            }
            Err(error @ join::Error::Refused { .. }) => {
                Err(Failure::new(Exit::Refused, error.to_string()).into())
            }
            Err(error) => Err(Failure::ours(error.to_string()).into()),
        }
    }
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}

/// Linux tells it in a file; elsewhere the node finds a name.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
