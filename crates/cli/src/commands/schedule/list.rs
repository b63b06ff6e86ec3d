//! `runabout schedule list`.

use clap::Args;
use reqwest::Method;
use runabout_protocol::Schedule;
use serde::Deserialize;

use super::show;
use crate::exit::Exit;
use crate::node::{Target, read};
use crate::output;

/// Lists schedules by name
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runabout schedule list
  runabout schedule list --limit 10 --json")]
pub struct List {
    /// How many at most
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Go on where the page before ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Schedule>,
    next_cursor: Option<String>,
}

impl List {
    /// Asks the node for a page.
    pub async fn execute(self) -> anyhow::Result<Exit> {
        let node = self.target.connect()?;
        let query = [("limit", self.limit.map(|limit| limit.to_string())), ("cursor", self.cursor)];
        let request = node.request_with(Method::GET, &["v1", "schedules"], &query);
        let body = node.ask_body(request).await?;
        if self.target.json {
            return output::result_text(&String::from_utf8_lossy(&body));
        }
        let page: Page = read(&body)?;
        if page.items.is_empty() {
            output::note(
                "no schedules; make one with `runabout schedule put NAME --cron CRON FILE`",
            );
            return Ok(Exit::Ok);
        }
        output::result_text(&table(&page.items))?;
        if let Some(cursor) = page.next_cursor {
            output::note(&format!("there are more: --cursor {cursor}"));
        }
        Ok(Exit::Ok)
    }
}

fn table(schedules: &[Schedule]) -> String {
    let head = ["NAME", "STATE", "CRON", "TIME ZONE", "RUNS", "NEXT"].map(ToOwned::to_owned);
    let row = |schedule: &Schedule| {
        [
            schedule.name.to_string(),
            state(schedule),
            output::one_line(&schedule.cron),
            schedule.time_zone.clone(),
            show::runs(schedule),
            schedule.next_at.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(schedules.iter().map(row)).collect();
    output::table(&rows)
}

/// The state, with whether something is wrong.
fn state(schedule: &Schedule) -> String {
    let state = show::state(schedule);
    match schedule.last_error {
        Some(_) => format!("{state}, refused"),
        None => state.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_a_schedule_under_one_head() {
        let schedule = r#"{"name":"a","cron":"0 3 * * *","time_zone":"UTC","task":{"source":"1"},
            "missed":"skip","paused":true,"next_at":null,"upcoming":[],"last_due_at":null,
            "last_task":null,"last_error":"no","created_at":"2026-01-01T03:00:00.000Z",
            "updated_at":"2026-01-01T03:00:00.000Z"}"#;
        let schedule = serde_json::from_str(schedule).expect("reads");
        let expected = "\
NAME  STATE            CRON       TIME ZONE  RUNS    NEXT
a     paused, refused  0 3 * * *  UTC        source  -";
        assert_eq!(table(&[schedule]), expected);
    }
}
