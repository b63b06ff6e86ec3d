//! A task in words: one fact a line.

use runabout_protocol::{Outcome, Task};

use crate::output;

/// What there is to say of a task; what is not known yet is left out.
pub fn facts(task: &Task) -> Vec<(&'static str, String)> {
    let mut facts = vec![("id", task.id.to_string()), ("state", task.state.as_str().to_owned())];
    facts.extend(task.name.as_deref().map(|name| ("name", output::one_line(name))));
    facts.push(("runs", runs(task)));
    facts.push(("arguments", task.args.text().to_owned()));
    facts.push(("attempt", attempt(task)));
    let labels: Vec<String> = task
        .labels
        .iter()
        .map(|(key, value)| output::one_line(&format!("{key}={value}")))
        .collect();
    facts.extend((!labels.is_empty()).then(|| ("labels", labels.join(" "))));
    facts.push(("created", task.created_at.clone()));
    facts.extend(task.run_at.clone().map(|at| ("not before", at)));
    facts.extend(task.started_at.clone().map(|at| ("started", at)));
    facts.extend(task.finished_at.clone().map(|at| ("finished", at)));
    facts.extend(progress(task).map(|progress| ("progress", progress)));
    facts.extend(task.outcome.as_ref().map(|outcome| ("outcome", in_words(outcome))));
    facts.extend(task.usage.as_ref().map(|usage| ("usage", output::usage(usage))));
    let ran_on = task.usage.as_ref().and_then(|usage| usage.ran_on.as_deref());
    facts.extend(ran_on.map(|name| ("ran on", output::one_line(name))));
    facts
}

fn runs(task: &Task) -> String {
    let what = task.function.clone().unwrap_or_else(|| task.digest.to_string());
    let export = task.export.as_ref().map(|export| format!(", export {export}"));
    format!("{what} ({}{})", task.language.as_str(), export.unwrap_or_default())
}

fn attempt(task: &Task) -> String {
    let lost = if task.lost > 0 { format!(", {} lost", task.lost) } else { String::new() };
    format!("{} of {}{lost}", task.attempt, task.max_attempts)
}

fn progress(task: &Task) -> Option<String> {
    let progress = task.progress.as_ref()?;
    let message = output::one_line(progress.message.as_deref().unwrap_or_default());
    Some(format!("{:.0} % {message}", progress.fraction * 100.0).trim_end().to_owned())
}

fn in_words(outcome: &Outcome) -> String {
    output::one_line(&format!("{}: {}", outcome.kind(), output::describe(outcome)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_task_is_told_with_its_outcome_and_usage() {
        let task = r#"{"id":"0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f","name":"task1",
            "state":"succeeded","function":"fib@1","digest":"sha256:DIGEST","language":"wasm",
            "args":[34],"attempt":1,"max_attempts":1,"lost":0,"priority":0,
            "created_at":"2026-01-02T03:04:05Z","started_at":"2026-01-02T03:04:06Z",
            "finished_at":"2026-01-02T03:04:07Z","worker":"w","trust":"node",
            "progress":{"fraction":0.4,"message":"hashing"},
            "outcome":{"kind":"returned","value":5702887},
            "usage":{"cpu_ms":22.9,"wall_ms":23.4,"memory_peak_bytes":1114112,
                "ran_on":"here"}}"#;
        let task = serde_json::from_str(&task.replace("DIGEST", &"ab".repeat(32))).expect("reads");
        let expected = "\
id         0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f
state      succeeded
name       task1
runs       fib@1 (wasm)
arguments  [34]
attempt    1 of 1
created    2026-01-02T03:04:05Z
started    2026-01-02T03:04:06Z
finished   2026-01-02T03:04:07Z
progress   40 % hashing
outcome    returned: 5702887
usage      23.4 ms wall, 22.9 ms cpu, 1.1 MiB memory
ran on     here";
        assert_eq!(output::facts(&facts(&task)), expected);
    }
}
