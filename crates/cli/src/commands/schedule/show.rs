//! A schedule in words: one fact a line.

use runabout_protocol::Schedule;

use crate::output;

/// What there is to say of a schedule; what is not known is left out.
pub fn facts(schedule: &Schedule) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("name", schedule.name.to_string()),
        ("state", state(schedule).to_owned()),
        ("cron", format!("{} ({})", output::one_line(&schedule.cron), schedule.time_zone)),
        ("missed", schedule.missed.as_str().to_owned()),
        ("runs", runs(schedule)),
    ];
    let arguments = schedule.task.args.as_ref().map(|args| ("arguments", args.text().to_owned()));
    facts.extend(arguments);
    facts.extend((!schedule.upcoming.is_empty()).then(|| ("next", schedule.upcoming.join("  "))));
    facts.extend(schedule.last_due_at.clone().map(|at| ("last", at)));
    facts.extend(schedule.last_task.map(|task| ("last task", task.to_string())));
    facts.extend(schedule.last_error.as_deref().map(|why| ("last error", output::one_line(why))));
    facts
}

/// Whether it rests.
pub fn state(schedule: &Schedule) -> &'static str {
    if schedule.paused { "paused" } else { "active" }
}

/// What it hands in: a function's name, or that it is source text.
pub fn runs(schedule: &Schedule) -> String {
    let task = &schedule.task;
    let what = task.function.clone().unwrap_or_else(|| "source".to_owned());
    let export = task.export.as_ref().map(|export| format!(", export {export}"));
    output::one_line(&format!("{what}{}", export.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_told_with_its_next_times() {
        let schedule = r#"{"name":"nightly","cron":"0 3 * * *","time_zone":"UTC",
            "task":{"function":"fib","args":[34]},"missed":"run_once","paused":false,
            "next_at":"2026-01-02T03:00:00.000Z",
            "upcoming":["2026-01-02T03:00:00.000Z","2026-01-03T03:00:00.000Z"],
            "last_due_at":null,"last_task":null,"last_error":"no function\n\"fib\"",
            "created_at":"2026-01-01T03:00:00.000Z","updated_at":"2026-01-01T03:00:00.000Z"}"#;
        let expected = "\
name        nightly
state       active
cron        0 3 * * * (UTC)
missed      run_once
runs        fib
arguments   [34]
next        2026-01-02T03:00:00.000Z  2026-01-03T03:00:00.000Z
last error  no function \"fib\"";
        let schedule = serde_json::from_str(schedule).expect("reads");
        assert_eq!(output::facts(&facts(&schedule)), expected);
    }
}
