//! Reads what a client wants of a schedule, and decides whether it could run.

use jiff::Timestamp;
use runabout_protocol::{Missed, ScheduleRequest, TaskRequest};

use super::cron::{self, Cron};
use crate::app::App;
use crate::codes::Code;
use crate::problem::Problem;
use crate::{read, submission};

/// Labels that each task of a schedule gets from it.
pub const LABEL_SCHEDULE: &str = "schedule";
/// The time that the task stands for.
pub const LABEL_DUE: &str = "due";

/// Where the clock hangs if nobody says.
const ZONE_DEFAULT: &str = "UTC";

/// A request that was found good.
#[derive(Debug)]
pub struct Checked {
    /// When, as it was written.
    pub cron_text: String,
    /// The same, read.
    pub cron: Cron,
    /// The name of the zone.
    pub time_zone: String,
    /// What becomes of missed times.
    pub missed: Missed,
    /// Whether it rests.
    pub paused: bool,
    /// What is handed in each time.
    pub task: TaskRequest,
}

/// Reads a request. Whether its task could run is another question.
///
/// # Errors
/// Whatever is wrong with it.
pub fn read(body: &[u8], now: Timestamp) -> Result<Checked, Problem> {
    let request: ScheduleRequest = read::object(body)?;
    let time_zone = request.time_zone.unwrap_or_else(|| ZONE_DEFAULT.to_owned());
    let zone = cron::zone(&time_zone).ok_or_else(|| {
        let detail = format!("time_zone: {time_zone:?} is no IANA time zone like Europe/Berlin");
        Problem::new(Code::UnknownTimeZone, detail).with("field", "time_zone")
    })?;
    let invalid = |why: String| {
        let detail = format!("cron: {why}; five fields are like \"30 4 * * MON-FRI\"");
        Problem::new(Code::InvalidCron, detail).with("field", "cron")
    };
    let cron = Cron::parse(&request.cron, zone).map_err(invalid)?;
    if cron.next(now).is_none() {
        return Err(invalid("it names a time that never comes".to_owned()));
    }
    belongs_to_a_schedule(&request.task)?;
    Ok(Checked {
        cron_text: request.cron,
        cron,
        time_zone,
        missed: request.missed.unwrap_or_default(),
        paused: request.paused.unwrap_or(false),
        task: request.task,
    })
}

/// What the schedule decides is not for the task to say.
fn belongs_to_a_schedule(task: &TaskRequest) -> Result<(), Problem> {
    if task.run_at.is_some() {
        let detail = "task.run_at: the schedule says when it runs";
        return Err(Problem::invalid_field("task.run_at", detail));
    }
    let mut labels = task.labels.iter().flatten().map(|(key, _)| key.as_str());
    match labels.find(|label| [LABEL_SCHEDULE, LABEL_DUE].contains(label)) {
        None => Ok(()),
        Some(label) => {
            let detail = format!("task.labels: the schedule itself says what {label:?} is");
            Err(Problem::invalid_field("task.labels", detail))
        }
    }
}

impl Checked {
    /// Decides whether its task could be handed in now.
    ///
    /// # Errors
    /// Whatever would be wrong with the task.
    pub async fn try_task(&self, app: &App) -> Result<(), Problem> {
        let tried = submission::from_request(app, self.task.clone()).await;
        tried.map(drop).map_err(|problem| problem.inside("task"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, code: Code, members: &str) {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let problem = read(body.as_bytes(), now).expect_err(body);
        assert_eq!(problem.code(), code, "{body}: {problem:?}");
        let expected: serde_json::Value = serde_json::from_str(members).expect("valid");
        assert_eq!(problem.extras(), expected.as_object().expect("an object"), "{body}");
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let body = br#"{"cron":"@daily","task":{"function":"f","args":[1.0]}}"#;
        let checked = read(body, now).expect("reads");
        assert_eq!((checked.time_zone.as_str(), checked.paused), ("UTC", false));
        assert_eq!(checked.missed, Missed::RunOnce);
        let args = checked.task.args.as_ref().map(runabout_protocol::Json::text);
        assert_eq!(args, Some("[1.0]"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        use Code::*;
        for (body, code, members) in [
            ("{}", MissingField, r#"{"field":"cron"}"#),
            (
                r#"{"cron":"@daily","task":{"source":"1","place":"heer"}}"#,
                InvalidField,
                r#"{"field":"task.place","suggestion":"here"}"#,
            ),
            (r#"{"corn":"x"}"#, UnknownField, r#"{"field":"corn","suggestion":"cron"}"#),
            (
                r#"{"cron":"@daily","task":{"soruce":"1"}}"#,
                UnknownField,
                r#"{"field":"task.soruce","suggestion":"task.source"}"#,
            ),
            (
                r#"{"cron":"@daily","missed":"run_twice","task":{"source":"1"}}"#,
                InvalidField,
                r#"{"field":"missed","suggestion":"run_once"}"#,
            ),
            (r#"{"cron":"* * *","task":{"source":"1"}}"#, InvalidCron, r#"{"field":"cron"}"#),
            (r#"{"cron":"0 0 30 2 *","task":{"source":"1"}}"#, InvalidCron, r#"{"field":"cron"}"#),
            (
                r#"{"cron":"@daily","time_zone":"Europe/Berlim","task":{"source":"1"}}"#,
                UnknownTimeZone,
                r#"{"field":"time_zone"}"#,
            ),
            (
                r#"{"cron":"@daily","task":{"source":"1","run_at":"2030-01-31T12:00:00Z"}}"#,
                InvalidField,
                r#"{"field":"task.run_at"}"#,
            ),
            (
                r#"{"cron":"@daily","task":{"source":"1","labels":{"due":"x"}}}"#,
                InvalidField,
                r#"{"field":"task.labels"}"#,
            ),
        ] {
            check(body, code, members);
        }
    }
}
