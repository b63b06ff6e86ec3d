//! What the node says of itself as it runs: the log on stderr, and traces to a collector where one
//! is named. Spans are made at the level `debug`; with no collector and no such log they are off,
//! and cost a test of an atomic.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;
use crate::exit::Failure;

/// What the node logs unless RUNABOUT_LOG says otherwise.
const DEFAULT_LOG: &str = "info";
/// Where a collector takes traces, below its address.
const TRACES_PATH: &str = "v1/traces";
/// How long a collector may take to answer.
const EXPORT_TIME_MAX: Duration = Duration::from_secs(5);

/// Sends what is left when it is told to finish.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts the log, and the export of traces if there is somebody to take them. Must be called within
/// a tokio runtime.
///
/// # Errors
/// The endpoint is no address.
pub fn start(format: LogFormat, otlp_endpoint: Option<&str>) -> anyhow::Result<Telemetry> {
    let traces = otlp_endpoint.map(provider).transpose()?;
    let exporting = traces.as_ref().map(|traces| {
        let layer = tracing_opentelemetry::layer().with_tracer(traces.tracer("runabout"));
        // What the exporter itself does must not be traced in turn.
        let ours = FilterFn::new(|metadata| metadata.target().starts_with("runabout"));
        let ours = ours.with_max_level_hint(LevelFilter::DEBUG);
        layer.with_location(false).with_threads(false).with_filter(ours)
    });
    let filter =
        EnvFilter::try_from_env("RUNABOUT_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let registry = tracing_subscriber::registry().with(exporting);
    registry.with(log(format).with_filter(filter)).init();
    Ok(Telemetry { traces })
}

impl Telemetry {
    /// Sends what has not been sent, within bounded time.
    pub async fn finish(self) {
        let Some(traces) = self.traces else { return };
        let ended =
            tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(EXPORT_TIME_MAX));
        match ended.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last traces could not be sent"),
            Err(error) => tracing::warn!(%error, "sending the last traces ended early"),
        }
    }
}

fn log<S: Subscriber + for<'a> LookupSpan<'a>>(
    format: LogFormat,
) -> Box<dyn Layer<S> + Send + Sync> {
    use std::io::IsTerminal;
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.json().boxed(),
    }
}

fn provider(endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let address = traces_address(endpoint)?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address)
        .with_timeout(EXPORT_TIME_MAX)
        .with_http_client(Client::new()?)
        .build()
        .context("failed to set the export of traces up")?;
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before what is said here.
    let version = KeyValue::new("service.version", runabout_server::VERSION);
    let mut resource = Resource::builder().with_attribute(version);
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("runabout");
    }
    // Batches, and samples as OTEL_TRACES_SAMPLER says; what cannot be sent in time is dropped.
    Ok(SdkTracerProvider::builder()
        .with_resource(resource.build())
        .with_batch_exporter(exporter)
        .build())
}

/// The collector's address is the one that other programs are given as well.
fn traces_address(endpoint: &str) -> anyhow::Result<String> {
    let wrong = || Failure::ours(format!("{endpoint:?} is no address: http://localhost:4318, say"));
    let address = reqwest::Url::parse(endpoint).map_err(|_| wrong())?;
    if !matches!(address.scheme(), "http" | "https") || !address.has_host() {
        return Err(wrong().into());
    }
    Ok(format!("{}/{TRACES_PATH}", endpoint.trim_end_matches('/')))
}

/// Sends on the node's own runtime: the exporter asks from a thread that has none.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

impl Client {
    fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(EXPORT_TIME_MAX).build()?;
        Ok(Self { http, runtime: Handle::current() })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sending = self.runtime.spawn(async move {
            let mut answer = http.execute(request.try_into()?).await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                *headers = std::mem::take(answer.headers_mut());
            }
            Ok(response.body(answer.bytes().await?)?)
        });
        sending.await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_collectors_address() {
        let address = |endpoint| traces_address(endpoint).ok();
        let expected = Some("http://localhost:4318/v1/traces".to_owned());
        assert_eq!(address("http://localhost:4318"), expected);
        assert_eq!(address("http://localhost:4318/"), expected);
        assert_eq!(address("localhost:4318"), None);
        assert_eq!(address("traces"), None);
    }
}
