//! `runabout status`: who a node is, whether it is well and how busy.

use clap::Args;
use reqwest::Method;
use serde::Deserialize;

use crate::exit::Exit;
use crate::node::{Target, read};
use crate::output;
use crate::problem::Problem;

/// Shows who a node is, whether it takes work, and how busy it is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout status
  runabout status --node https://node.example.org --token-file token.txt
  runabout status --json")]
pub struct Status {
    #[command(flatten)]
    target: Target,
}

#[derive(Deserialize)]
struct Report {
    id: String,
    name: String,
    version: String,
    slots: u64,
    queued: u64,
    running: u64,
    upstream: Option<String>,
}

impl Status {
    /// Asks the node.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        let body = node.ask_body(node.request(Method::GET, &["v1", "node"])).await?;
        if self.target.json {
            return output::result_text(&String::from_utf8_lossy(&body));
        }
        let report: Report = read(&body)?;
        let probe = node.send(node.request(Method::GET, &["readyz"])).await?;
        let status = probe.status();
        let ready = if status.is_success() {
            "yes".to_owned()
        } else {
            let problem = Problem::read(status.as_u16(), &node.body(probe).await?);
            format!("no: {}", problem.failure())
        };
        output::result_text(&describe(report, ready))
    }
}

fn describe(report: Report, ready: String) -> String {
    let mut facts = vec![
        ("node", report.name),
        ("id", report.id),
        ("version", report.version),
        ("ready", ready),
        ("slots", report.slots.to_string()),
        ("running", report.running.to_string()),
        ("queued", report.queued.to_string()),
    ];
    facts.extend(report.upstream.map(|upstream| ("upstream", upstream)));
    output::facts(&facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fact_a_line() {
        let report = r#"{"id":"0198","name":"here","version":"0.1.0","protocol":1,"slots":2,
                         "queued":3,"running":1,"upstream":null}"#;
        let report = serde_json::from_str(report).expect("reads");
        assert_eq!(
            describe(report, "yes".to_owned()),
            "node     here\nid       0198\nversion  0.1.0\nready    yes\nslots    2\n\
             running  1\nqueued   3"
        );
    }
}
