//! `runabout serve`: a node. Gathers its settings, opens its port and hands over to the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use runabout_protocol::Limits;
use runabout_server::{Settings, TlsSetup, UpstreamSetup};
use tokio::net::TcpListener;

use crate::config::{File, LogFormat, Wishes};
use crate::exit::{Exit, Failure};
use crate::node::token;
use crate::signals::Signals;
use crate::{output, telemetry};

const DEFAULT_LISTEN: &str = "127.0.0.1:7878";
/// Where a node keeps its data unless told otherwise.
pub const DEFAULT_DATA: &str = "runabout-data";

/// Starts a node
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout serve
  runabout serve --listen 127.0.0.1:8080 --data /var/lib/runabout
  runabout serve --listen 0.0.0.0:7878 --token-file token.txt
  runabout serve --listen 0.0.0.0:443 --token-file token.txt --tls-cert cert.pem --tls-key key.pem
  runabout serve --slots 0 --memory-max 256MiB
  runabout serve --keep 7d
  runabout serve --upstream http://far.example:7878
  RUNABOUT_LOG=debug runabout serve --log-format json")]
pub struct Serve {
    #[command(flatten)]
    wishes: Wishes,
    /// The file with the settings [default: runabout.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "RUNABOUT_CONFIG")]
    config: Option<PathBuf>,
}

impl Serve {
    /// Runs the node until it is told to stop.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let File { wishes, endpoints } = File::read(self.config.as_deref())?;
        let wishes = self.wishes.or(wishes);
        let format = wishes.log_format.unwrap_or_default();
        let telemetry = telemetry::start(format, wishes.otlp_endpoint.as_deref())?;
        let address = resolve(wishes.listen.as_deref().unwrap_or(DEFAULT_LISTEN)).await?;
        let settings = Settings { endpoints, ..settings(wishes)? };
        let exposed = !address.ip().is_loopback();
        if exposed && settings.token.is_none() {
            let message = format!(
                "refusing to listen on {address}, beyond this machine, without a token: \
                 give one with --token-file"
            );
            return Err(Failure::ours(message).into());
        }
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("failed to listen on {address}"))?;
        let address = listener.local_addr()?;
        let greeting = greeting(address, &settings);
        let mut signals = Signals::listen().context("failed to listen for signals")?;
        let shutdown = async move {
            // The server first asks for its end once it listens: until then it can still fail.
            announce(format, &greeting);
            signals.next().await;
            announce(format, "stopping; a second signal ends the node at once");
            tokio::spawn(signals.end_at_once());
        };
        let served = runabout_server::serve(settings, listener, shutdown).await;
        telemetry.finish().await;
        served?;
        announce(format, "stopped");
        Ok(Exit::Ok)
    }
}

async fn resolve(listen: &str) -> anyhow::Result<SocketAddr> {
    let wrong = || Failure::new(Exit::Usage, format!("{listen:?} is not ADDR:PORT"));
    let mut addresses = tokio::net::lookup_host(listen).await.map_err(|_| wrong())?;
    Ok(addresses.next().ok_or_else(wrong)?)
}

fn settings(wishes: Wishes) -> anyhow::Result<Settings> {
    let granted = runabout_sandbox::Config::for_this_machine().maximum;
    let timeout_ms = wishes.timeout_max.unwrap_or(granted.timeout_ms);
    let maximum = Limits {
        timeout_ms,
        // Nothing can use more processor time than wall-clock time: a run has one thread.
        cpu_ms: wishes.timeout_max.unwrap_or(granted.cpu_ms),
        memory_bytes: wishes.memory_max.unwrap_or(granted.memory_bytes),
    };
    let more_than_zero = [
        ("--timeout-max", maximum.timeout_ms),
        ("--memory-max", maximum.memory_bytes),
        ("--keep", wishes.keep.unwrap_or(u64::MAX)),
        ("--ping-every", wishes.ping_every.unwrap_or(u64::MAX)),
        ("--stalled-after", wishes.stalled_after.unwrap_or(u64::MAX)),
    ];
    if let Some((flag, _)) = more_than_zero.iter().find(|(_, value)| *value == 0) {
        return Err(Failure::new(Exit::Usage, format!("{flag} must be more than 0")).into());
    }
    let upstream_token = wishes.upstream_token_file.as_deref().map(token).transpose()?;
    if upstream_token.is_some() && wishes.upstream.is_none() {
        let message = "--upstream-token-file is of no use without --upstream";
        return Err(Failure::new(Exit::Usage, message).into());
    }
    let tls = match (wishes.tls_cert, wishes.tls_key) {
        (Some(cert), Some(key)) => Some(TlsSetup { cert, key }),
        (None, None) => None,
        _ => {
            let message = "--tls-cert and --tls-key are of use only together";
            return Err(Failure::new(Exit::Usage, message).into());
        }
    };
    Ok(Settings {
        data_dir: wishes.data.unwrap_or_else(|| DEFAULT_DATA.into()),
        name: wishes.name,
        slots: wishes.slots,
        token: wishes.token_file.as_deref().map(token).transpose()?,
        allow_origins: wishes.allow_origin,
        maximum: Some(maximum),
        memory_total_bytes: wishes.memory_total,
        fair_label: wishes.fair_label,
        keep: wishes.keep.map(Duration::from_millis),
        endpoints: Vec::new(),
        ping_every: wishes.ping_every.map(Duration::from_millis),
        stalled_after: wishes.stalled_after.map(Duration::from_millis),
        upstream: wishes.upstream.map(|url| UpstreamSetup { url, token: upstream_token }),
        tls,
    })
}

/// One line: where the node is, what it has, what to try.
fn greeting(address: SocketAddr, settings: &Settings) -> String {
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let slots = settings.slots.unwrap_or_else(cores);
    let data = settings.data_dir.display();
    let reachable = if address.ip().is_unspecified() {
        SocketAddr::new([127, 0, 0, 1].into(), address.port())
    } else {
        address
    };
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    format!(
        "listening on {scheme}://{address}, data in {data}, {slots} slots; \
         try: runabout status --node {scheme}://{reachable}, or open {scheme}://{reachable}/docs"
    )
}

/// A person reads a plain line; whoever asked for JSON gets nothing else on stderr.
fn announce(format: LogFormat, line: &str) {
    match format {
        LogFormat::Text => output::note(line),
        LogFormat::Json => tracing::info!("{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_FILE;

    #[tokio::test]
    async fn an_address_is_a_host_and_a_port() {
        assert_eq!(resolve(DEFAULT_LISTEN).await.map(|address| address.port()).ok(), Some(7878));
        assert!(resolve("7878").await.is_err());
    }

    #[test]
    fn the_default_file_is_the_one_in_the_help() {
        use clap::Args as _;
        let command = Serve::augment_args(clap::Command::new("serve"));
        let config = command.get_arguments().find(|argument| argument.get_id() == "config");
        let help = config.and_then(|config| config.get_help()).map(ToString::to_string);
        assert!(help.is_some_and(|help| help.contains(DEFAULT_FILE)));
    }

    #[test]
    fn the_greeting_is_one_line_with_an_address_to_open() {
        let settings = Settings { slots: Some(2), ..Settings::new("d") };
        let greeting = greeting(([0, 0, 0, 0], 80).into(), &settings);
        assert!(greeting.contains("http://0.0.0.0:80, data in d, 2 slots"), "{greeting}");
        assert!(greeting.contains("open http://127.0.0.1:80/docs"), "{greeting}");
        assert!(!greeting.contains('\n'));
    }
}
