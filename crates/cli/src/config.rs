//! Settings of a node. Each is defined once, in [`Wishes`], and can be given as a flag, as a
//! `RUNABOUT_...` variable or as a key of `runabout.toml`, in that order of precedence.

mod endpoints;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use runabout_protocol::EndpointRequest;
use serde::{Deserialize, Deserializer};

use crate::exit::Failure;
use crate::units;

/// The file that is read if it is there and no other is named.
pub const DEFAULT_FILE: &str = "runabout.toml";

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What stands in the file: settings, and what is too large for a flag.
#[derive(Debug, Default, PartialEq)]
pub struct File {
    /// The settings.
    pub wishes: Wishes,
    /// Paths of the user's own, each an `[[endpoint]]`.
    pub endpoints: Vec<EndpointRequest>,
}

/// What was asked for, wherever; what was left open is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
pub struct Wishes {
    /// Where to listen [default: 127.0.0.1:7878]; beyond loopback only with a token
    #[arg(long, value_name = "ADDR:PORT", env = "RUNABOUT_LISTEN")]
    pub listen: Option<String>,
    /// Where tasks, functions and artifacts are kept [default: runabout-data]
    #[arg(long, value_name = "DIR", env = "RUNABOUT_DATA")]
    pub data: Option<PathBuf>,
    /// What the node calls itself [default: host:port]
    #[arg(long, value_name = "NAME", env = "RUNABOUT_NAME")]
    pub name: Option<String>,
    /// Tasks to run at once; 0 to run calls only [default: one a core]
    #[arg(long, value_name = "N", env = "RUNABOUT_SLOTS")]
    pub slots: Option<u32>,
    /// A file that holds the token every request must bring
    #[arg(long, value_name = "FILE", env = "RUNABOUT_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// A certificate in PEM, with those between it and its authority; the node then speaks HTTPS
    #[arg(long, value_name = "FILE", env = "RUNABOUT_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", env = "RUNABOUT_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// An origin whose pages may use this node; may be given several times
    #[arg(long, value_name = "ORIGIN", env = "RUNABOUT_ALLOW_ORIGIN", value_delimiter = ',')]
    #[serde(default)]
    pub allow_origin: Vec<String>,
    /// The longest timeout a run may ask for
    #[arg(long, value_name = "TIME", env = "RUNABOUT_TIMEOUT_MAX", value_parser = units::milliseconds)]
    #[serde(default, deserialize_with = "milliseconds")]
    pub timeout_max: Option<u64>,
    /// The most memory one run may ask for
    #[arg(long, value_name = "SIZE", env = "RUNABOUT_MEMORY_MAX", value_parser = units::bytes)]
    #[serde(default, deserialize_with = "bytes")]
    pub memory_max: Option<u64>,
    /// The memory of all runs together [default: half of the machine's]
    #[arg(long, value_name = "SIZE", env = "RUNABOUT_MEMORY_TOTAL", value_parser = units::bytes)]
    #[serde(default, deserialize_with = "bytes")]
    pub memory_total: Option<u64>,
    /// The label by whose values waiting tasks take turns, so that no submitter holds up another
    #[arg(long, value_name = "LABEL", env = "RUNABOUT_FAIR_LABEL")]
    pub fair_label: Option<String>,
    /// How the log on stderr is written [default: text]
    #[arg(long, value_name = "FORMAT", env = "RUNABOUT_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// How long finished tasks are kept: 12h, 7d [default: for ever]
    #[arg(long, value_name = "TIME", env = "RUNABOUT_KEEP", value_parser = units::age)]
    #[serde(default, deserialize_with = "age")]
    pub keep: Option<u64>,
    /// How often workers are asked whether they are there; one that leaves three pings unanswered is
    /// taken for gone [default: 5s]
    #[arg(long, value_name = "TIME", env = "RUNABOUT_PING_EVERY", value_parser = units::milliseconds)]
    #[serde(default, deserialize_with = "milliseconds")]
    pub ping_every: Option<u64>,
    /// How long a client may take nothing of its answer before it is cut off [default: 60s]
    #[arg(long, value_name = "TIME", env = "RUNABOUT_STALLED_AFTER", value_parser = units::milliseconds)]
    #[serde(default, deserialize_with = "milliseconds")]
    pub stalled_after: Option<u64>,
    /// A node that work may be handed to: http://far.example:7878
    #[arg(long, value_name = "URL", env = "RUNABOUT_UPSTREAM")]
    pub upstream: Option<String>,
    /// A file that holds the token which that node wants
    #[arg(long, value_name = "FILE", env = "RUNABOUT_UPSTREAM_TOKEN_FILE")]
    pub upstream_token_file: Option<PathBuf>,
    /// Where traces are sent, over OTLP/HTTP: http://localhost:4318
    #[arg(long, value_name = "URL", env = "RUNABOUT_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
}

impl Wishes {
    /// Fills what `self` leaves open from `fallback`.
    pub fn or(self, fallback: Self) -> Self {
        let allow_origin =
            if self.allow_origin.is_empty() { fallback.allow_origin } else { self.allow_origin };
        Self {
            listen: self.listen.or(fallback.listen),
            data: self.data.or(fallback.data),
            name: self.name.or(fallback.name),
            slots: self.slots.or(fallback.slots),
            token_file: self.token_file.or(fallback.token_file),
            tls_cert: self.tls_cert.or(fallback.tls_cert),
            tls_key: self.tls_key.or(fallback.tls_key),
            allow_origin,
            timeout_max: self.timeout_max.or(fallback.timeout_max),
            memory_max: self.memory_max.or(fallback.memory_max),
            memory_total: self.memory_total.or(fallback.memory_total),
            fair_label: self.fair_label.or(fallback.fair_label),
            log_format: self.log_format.or(fallback.log_format),
            keep: self.keep.or(fallback.keep),
            ping_every: self.ping_every.or(fallback.ping_every),
            stalled_after: self.stalled_after.or(fallback.stalled_after),
            upstream: self.upstream.or(fallback.upstream),
            upstream_token_file: self.upstream_token_file.or(fallback.upstream_token_file),
            otlp_endpoint: self.otlp_endpoint.or(fallback.otlp_endpoint),
        }
    }
}

impl File {
    /// Reads `named`, or `runabout.toml` if it is there.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, or has a key or a value that it cannot have.
    pub fn read(named: Option<&Path>) -> anyhow::Result<Self> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_toml(&text, path),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(error)
                .with_context(|| format!("failed to read the settings from {}", path.display())),
        }
    }

    fn from_toml(text: &str, path: &Path) -> anyhow::Result<Self> {
        let wrong = |(offset, message): Wrong| {
            let line = text[..offset].matches('\n').count() + 1;
            Failure::ours(format!("{}:{line}: {}", path.display(), message.replace('\n', " ")))
        };
        let mut table = toml::de::DeTable::parse(text).map_err(|error| wrong(not_toml(&error)))?;
        let endpoints = endpoints::take(table.get_mut()).map_err(wrong)?;
        for key in table.get_ref().keys() {
            if !keys().iter().any(|known| known == key.get_ref().as_ref()) {
                return Err(wrong((key.span().start, unknown_key(key.get_ref()))).into());
            }
        }
        let wishes = Wishes::deserialize(toml::Deserializer::from(table));
        Ok(Self { wishes: wishes.map_err(|error| wrong(not_toml(&error)))?, endpoints })
    }
}

/// What is wrong with a file, and at which of its bytes.
type Wrong = (usize, String);

fn not_toml(error: &toml::de::Error) -> Wrong {
    (error.span().map_or(0, |span| span.start), error.message().to_owned())
}

/// Every key of the file that is a setting: the flags' names with underscores.
pub fn keys() -> Vec<String> {
    let command = Wishes::augment_args(clap::Command::new("serve"));
    command.get_arguments().map(|argument| argument.get_id().to_string()).collect()
}

fn unknown_key(key: &str) -> String {
    let distance = |known: &String| strsim::damerau_levenshtein(known, &key.replace('-', "_"));
    let known = keys().into_iter().chain([endpoints::KEY.to_owned()]);
    let nearest = known.min_by_key(distance).unwrap_or_default();
    format!("there is no setting {key:?}; the nearest is {nearest:?}")
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Measure {
    Number(u64),
    Text(String),
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    measure(deserializer, units::milliseconds)
}

fn age<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    units::age(&text).map(Some).map_err(serde::de::Error::custom)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    measure(deserializer, units::bytes)
}

fn measure<'de, D: Deserializer<'de>>(
    deserializer: D,
    read: fn(&str) -> Result<u64, String>,
) -> Result<Option<u64>, D::Error> {
    match Measure::deserialize(deserializer)? {
        Measure::Number(number) => Ok(Some(number)),
        Measure::Text(text) => read(&text).map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Wishes, String> {
        let file = File::from_toml(text, Path::new("runabout.toml"));
        file.map(|file| file.wishes).map_err(|error| error.to_string())
    }

    #[test]
    fn every_setting_can_stand_in_the_file() {
        let wishes = read(
            "listen = '127.0.0.1:0'\ndata = 'd'\nname = 'n'\nslots = 0\ntoken_file = 't'\n\
             allow_origin = ['http://a']\ntimeout_max = '5m'\nmemory_max = 1048576\n\
             memory_total = '2GiB'\nfair_label = 'team'\nlog_format = 'json'\n\
             keep = '7d'\nping_every = '2s'\nstalled_after = '90s'\n\
             otlp_endpoint = 'http://localhost:4318'\n\
             upstream = 'http://far:7878'\nupstream_token_file = 'u'\n\
             tls_cert = 'c'\ntls_key = 'k'\n",
        )
        .expect("read");
        assert_eq!((wishes.slots, wishes.timeout_max), (Some(0), Some(300_000)));
        assert_eq!((wishes.memory_max, wishes.memory_total), (Some(1 << 20), Some(2 << 30)));
        assert_eq!(wishes.fair_label.as_deref(), Some("team"));
        assert_eq!(wishes.log_format, Some(LogFormat::Json));
        assert_eq!(wishes.keep, Some(7 * 24 * 60 * 60 * 1_000));
        assert_eq!(wishes.otlp_endpoint.as_deref(), Some("http://localhost:4318"));
        assert_eq!((wishes.ping_every, wishes.stalled_after), (Some(2_000), Some(90_000)));
        assert_eq!(wishes.upstream.as_deref(), Some("http://far:7878"));
        assert_eq!(wishes.upstream_token_file.as_deref(), Some(Path::new("u")));
        let tls = (wishes.tls_cert.as_deref(), wishes.tls_key.as_deref());
        assert_eq!(tls, (Some(Path::new("c")), Some(Path::new("k"))));
        assert_eq!(keys().len(), 19, "a new setting belongs into this test too");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
        let refused = read("# a node\nslots = 2\nlisten-on = 'x'\n");
        let expected =
            "runabout.toml:3: there is no setting \"listen-on\"; the nearest is \"listen\"";
        assert_eq!(refused, Err(expected.to_owned()));
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_line() {
        let refused = read("\nslots = 'many'\n").expect_err("refused");
        assert!(refused.starts_with("runabout.toml:2: "), "{refused}");
        let refused = read("timeout_max = 'soon'\n").expect_err("refused");
        assert!(refused.contains("is no duration"), "{refused}");
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line() {
        let refused = read("slots = 1\nslots = \n").expect_err("refused");
        assert!(refused.starts_with("runabout.toml:2: ") && !refused.contains('\n'), "{refused}");
    }

    #[test]
    fn a_flag_goes_before_the_file() {
        let flags = Wishes { slots: Some(1), ..Wishes::default() };
        let file = Wishes { slots: Some(2), name: Some("n".to_owned()), ..Wishes::default() };
        let both = flags.or(file);
        assert_eq!((both.slots, both.name.as_deref()), (Some(1), Some("n")));
    }

    #[test]
    fn a_named_file_must_be_there_and_the_default_one_need_not() {
        assert!(File::read(Some(Path::new("/nowhere/runabout.toml"))).is_err());
        assert_eq!(File::read(None).expect("no file here"), File::default());
    }
}
