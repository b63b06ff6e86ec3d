//! The binary `runabout`. Reads the command line, hands over to one command, and turns how that
//! ended into an exit code. The commands live in [`commands`], one file each.

mod arguments;
mod argv;
mod commands;
mod config;
mod exit;
mod node;
mod output;
mod problem;
mod program;
mod reference;
mod signals;
mod telemetry;
mod units;
mod wasm_types;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::exit::{Exit, Failure};

/// Of the time of the threads that answer requests the C library's allocator takes a seventh, and
/// this one a twentieth. It is that of code in C too, so that what is free is given back by one call.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a function anywhere: here, on a node, now or durably later.
#[derive(Debug, Parser)]
#[command(name = "runabout", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = exit::help_text(), after_long_help = exit::help_text())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(commands::serve::Serve),
    Run(commands::run::Run),
    Deploy(commands::deploy::Deploy),
    Call(commands::call::Call),
    Task(commands::task::Task),
    Schedule(commands::schedule::Schedule),
    Join(commands::join::Join),
    Types(commands::types::Types),
    Document(commands::document::Document),
    Endpoint(commands::endpoint::Endpoint),
    Status(commands::status::Status),
    Backup(commands::backup::Backup),
    /// Prints the OpenAPI document of the node's HTTP interface
    #[command(hide = true)]
    Openapi,
    /// Prints the table of error codes as Markdown
    #[command(hide = true)]
    Errors,
    /// Prints the table of metrics as Markdown
    #[command(hide = true)]
    Metrics,
    /// Prints the reference of this command line as Markdown
    #[command(hide = true)]
    HelpMarkdown,
}

fn main() -> ExitCode {
    runabout_sandbox::give_back_soon();
    let exit = match parse() {
        Ok(cli) => dispatch(cli.command).unwrap_or_else(|error| Failure::report(&error)),
        Err(error) => {
            // Cannot fail in a way that anybody could still be told of.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    };
    ExitCode::from(exit.code())
}

fn parse() -> Result<Cli, clap::Error> {
    let command = Cli::command();
    let argv = argv::arrange(&command, std::env::args_os().collect());
    Cli::from_arg_matches(&command.try_get_matches_from(argv)?)
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Openapi => output::result_text(&runabout_server::openapi_json()),
        Command::Errors => output::result_text(&runabout_server::errors_markdown()),
        Command::Metrics => output::result_text(&runabout_server::metrics_markdown()),
        Command::HelpMarkdown => output::result_text(&reference::markdown(&Cli::command())),
        command => on_runtime(command),
    }
}

fn on_runtime(command: Command) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        match command {
            Command::Serve(serve) => serve.execute().await,
            Command::Run(run) => run.execute().await,
            Command::Deploy(deploy) => deploy.execute().await,
            Command::Call(call) => call.execute().await,
            Command::Task(task) => task.execute().await,
            Command::Schedule(schedule) => schedule.execute().await,
            Command::Join(join) => join.execute().await,
            Command::Types(types) => types.execute().await,
            Command::Document(document) => document.execute().await,
            Command::Endpoint(endpoint) => endpoint.execute().await,
            Command::Status(status) => status.execute().await,
            Command::Backup(backup) => backup.execute().await,
            Command::Openapi | Command::Errors | Command::Metrics | Command::HelpMarkdown => {
                Ok(Exit::Ok)
            }
        }
    });
    // A read of a terminal's stdin cannot be interrupted; nobody waits for it at the end.
    runtime.shutdown_background();
    exit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains("Examples:"), "{} has none", command.get_name());
        }
    }
}
