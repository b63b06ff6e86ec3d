//! Joins a node and works for it until told to stop, coming back whenever the connection is lost.

use std::time::Duration;

use runabout_sandbox::Sandbox;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::fetch::Fetcher;
use crate::session::{self, End};

/// The wait before the second attempt to connect; it doubles with each further one.
const WAIT_FIRST: Duration = Duration::from_millis(200);
/// The longest wait before one.
const WAIT_LONGEST: Duration = Duration::from_secs(15);

/// Which node to work for, and how much.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node, `http://host:port` or `https://host:port`.
    pub url: String,
    /// Attempts at once.
    pub slots: u32,
    /// What to be called there.
    pub name: Option<String>,
    /// The node's token, if it has one.
    pub token: Option<String>,
    /// How long what runs is given to end after the worker was told to stop; then it is handed
    /// back.
    pub grace: Duration,
}

/// Why a worker gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("{0:?} is no address of a node: write it as http://127.0.0.1:7878")]
    Url(String),
    /// The node does not want us, and will not change its mind.
    #[error("{url} refused: {reason}")]
    Refused {
        /// The node.
        url: String,
        /// Why.
        reason: String,
    },
    /// There can be no HTTP client.
    #[error("failed to make an HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Works for a node until `stop` is cancelled, and a little longer to finish what runs.
///
/// # Errors
/// The address is none, or the node refuses.
pub async fn run(
    settings: Settings,
    sandbox: Sandbox,
    stop: CancellationToken,
) -> Result<(), Error> {
    let url = settings.url.trim_end_matches('/').to_owned();
    let Some(address) = socket_address(&url) else { return Err(Error::Url(settings.url)) };
    let fetcher = std::sync::Arc::new(Fetcher::new(url.clone(), settings.token.clone())?);
    let mut wait = WAIT_FIRST;
    while !stop.is_cancelled() {
        let worked = session::work(&settings, &address, (&sandbox, &fetcher), &stop).await;
        match worked {
            End::Stopped => return Ok(()),
            End::Refused(reason) => return Err(Error::Refused { url, reason }),
            End::Lost { reason, was_welcome } => {
                if was_welcome {
                    wait = WAIT_FIRST;
                }
                tracing::warn!(url, reason, again_in = ?wait, "no connection to the node");
            }
        }
        tokio::select! {
            () = sleep(shortened(wait)) => {}
            () = stop.cancelled() => {}
        }
        wait = (wait * 2).min(WAIT_LONGEST);
    }
    Ok(())
}

/// Where the node takes workers in.
fn socket_address(url: &str) -> Option<String> {
    let (scheme, host) = url.split_once("://").filter(|(_, host)| !host.is_empty())?;
    let scheme = match scheme {
        "http" => "ws",
        "https" => "wss",
        _ => return None,
    };
    Some(format!("{scheme}://{host}/v1/work"))
}

/// By up to half, so that workers that were cut off together do not come back together.
fn shortened(wait: Duration) -> Duration {
    wait.mul_f64(1.0 - fastrand::f64() / 2.0)
}
