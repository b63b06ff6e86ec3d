//! The reference of the command line as Markdown, from the parser's own tree, so that it cannot
//! say anything else than `--help`.

use clap::{Arg, Command};

use crate::exit;

/// The page `docs/cli.md`.
pub fn markdown(root: &Command) -> String {
    let mut root = root.clone();
    root.build();
    let mut page = String::from(
        "<!-- Generated from crates/cli by `cargo xtask generate`; do not edit. -->\n\
         # Command line\n\n",
    );
    page.push_str(&about(&root));
    page.push_str(
        "\n\nResults go to stdout, everything else to stderr. Arguments of a function are JSON \
         where they\nparse as JSON, else strings; what stands behind `--` is never read as a \
         flag.\n\n## Exit codes\n\n| code | meaning |\n| --- | --- |\n",
    );
    for (exit, meaning) in exit::TABLE {
        page.push_str(&format!("| {} | {meaning} |\n", exit.code()));
    }
    root.get_subcommands_mut().for_each(|command| describe(command, "runabout", &mut page));
    page
}

fn describe(command: &mut Command, parent: &str, page: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    page.push_str(&format!("\n## {name}\n\n{}\n\n```\n{usage}\n```\n", about(command)));
    arguments(command, page);
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let lines = examples.trim_start_matches("Examples:\n").lines();
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
        page.push_str(&format!("\nExamples:\n\n```sh\n{}\n```\n", lines.join("\n").trim_end()));
    }
    command.get_subcommands_mut().for_each(|child| describe(child, &name, page));
}

fn arguments(command: &Command, page: &mut String) {
    let shown = |argument: &&Arg| {
        !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
    };
    let rows: Vec<String> = command.get_arguments().filter(shown).map(row).collect();
    if !rows.is_empty() {
        page.push_str(&format!("\n| argument | meaning |\n| --- | --- |\n{}", rows.concat()));
    }
}

fn row(argument: &Arg) -> String {
    let takes_value = argument.get_action().takes_values();
    let values = argument.get_value_names().unwrap_or_default();
    let value = values.first().map(ToString::to_string).unwrap_or_default();
    let name = match argument.get_long() {
        Some(long) if takes_value => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    };
    let mut meaning = argument.get_help().map(ToString::to_string).unwrap_or_default();
    if let Some(default) = argument.get_default_values().first().filter(|_| takes_value) {
        meaning.push_str(&format!(" [default: {}]", default.to_string_lossy()));
    }
    if let Some(variable) = argument.get_env() {
        meaning.push_str(&format!("; also `{}`", variable.to_string_lossy()));
    }
    format!("| `{}` | {} |\n", name.replace('|', "\\|"), meaning.replace('|', "\\|"))
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or_else(|| command.get_about());
    about.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    #[test]
    fn every_visible_command_and_flag_is_described() {
        let call = Command::new("call")
            .about("Calls")
            .arg(Arg::new("name").required(true).value_name("NAME").help("The function"))
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON"))
            .after_help("Examples:\n  runabout call fib 34\n");
        let hidden = Command::new("openapi").hide(true);
        let page = markdown(&Command::new("runabout").subcommand(call).subcommand(hidden));
        assert!(page.contains("\n## runabout call\n\nCalls\n"), "{page}");
        assert!(page.contains("| `NAME` | The function |\n| `--json` | Print JSON |\n"), "{page}");
        assert!(page.contains("```sh\nrunabout call fib 34\n```\n"), "{page}");
        assert!(!page.contains("openapi"), "{page}");
    }

    #[test]
    fn the_table_of_exit_codes_is_part_of_it() {
        let page = markdown(&Command::new("runabout"));
        assert!(page.contains("| 3 | the function threw |\n"));
    }
}
