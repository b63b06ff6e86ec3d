//! Lets a function's arguments begin with a dash. In `runabout call add -5 -x --export sum` only
//! `--export sum` is ours: flags we know are moved to the front, the rest goes behind `--`. An
//! unknown `--flag` stays where the parser sees and refuses it, as it is more often a slip than an
//! argument; what follows a `--` of the user's own is left alone.

use std::ffi::{OsStr, OsString};

use clap::{ArgAction, Command};

/// The id of the positional that holds a function's arguments, in every command that has one.
pub const GUEST_ARGUMENTS: &str = "args";

/// Puts `argv` in an order in which the parser cannot mistake arguments for flags.
pub fn arrange(root: &Command, argv: Vec<OsString>) -> Vec<OsString> {
    let Some((command, depth)) = command_with_arguments(root, &argv) else {
        return argv;
    };
    let mut arranged = argv[..depth].to_vec();
    let mut words = Vec::new();
    let mut rest = argv[depth..].iter();
    while let Some(token) = rest.next() {
        match read(command, token) {
            Token::Escape => words.extend(rest.by_ref().cloned()),
            Token::Word => words.push(token.clone()),
            Token::Flag { takes_next } => {
                arranged.push(token.clone());
                if takes_next {
                    arranged.extend(rest.next().cloned());
                }
            }
        }
    }
    if !words.is_empty() {
        arranged.push("--".into());
        arranged.extend(words);
    }
    arranged
}

/// The command that `argv` names, if it takes a function's arguments, and where its own begin.
fn command_with_arguments<'a>(
    root: &'a Command,
    argv: &[OsString],
) -> Option<(&'a Command, usize)> {
    let mut command = root;
    for (index, token) in argv.iter().enumerate().skip(1) {
        command = command.find_subcommand(token)?;
        if command.get_positionals().any(|positional| positional.get_id() == GUEST_ARGUMENTS) {
            return Some((command, index + 1));
        }
    }
    None
}

enum Token {
    /// `--`.
    Escape,
    /// Something that is no flag of ours.
    Word,
    /// A flag, ours or unknown.
    Flag { takes_next: bool },
}

fn read(command: &Command, token: &OsStr) -> Token {
    let text = token.to_string_lossy();
    if text == "--" {
        return Token::Escape;
    }
    if text == "-h" {
        return Token::Flag { takes_next: false };
    }
    let Some(long) = text.strip_prefix("--") else {
        return Token::Word;
    };
    let takes_value = command.get_arguments().any(|argument| {
        argument.get_long() == Some(long)
            && matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
    });
    // `--export=sum` matches no long name and so takes nothing from behind it.
    Token::Flag { takes_next: takes_value }
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn check(line: &str, expected: &str) {
        let call = Command::new("call")
            .arg(Arg::new("name").required(true))
            .arg(Arg::new(GUEST_ARGUMENTS).num_args(0..))
            .arg(Arg::new("export").long("export"))
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue));
        let root = Command::new("runabout").subcommand(call).subcommand(Command::new("status"));
        let argv = line.split(' ').map(OsString::from).collect();
        let arranged = arrange(&root, argv);
        let arranged = arranged.iter().map(|token| token.to_string_lossy()).collect::<Vec<_>>();
        assert_eq!(arranged.join(" "), expected);
    }

    #[test]
    fn dashes_in_arguments_are_arguments() {
        check("runabout call add -5 -x", "runabout call -- add -5 -x");
        check("runabout call add -Infinity - 2", "runabout call -- add -Infinity - 2");
    }

    #[test]
    fn our_flags_are_found_on_either_side_of_the_arguments() {
        check("runabout call add -5 --export sum 3", "runabout call --export sum -- add -5 3");
        check("runabout call --json add 1", "runabout call --json -- add 1");
        check("runabout call add --export=sum 3", "runabout call --export=sum -- add 3");
    }

    #[test]
    fn everything_behind_a_double_dash_is_an_argument() {
        check("runabout call add -- --json -h", "runabout call -- add --json -h");
    }

    #[test]
    fn an_unknown_long_flag_is_left_for_the_parser_to_refuse() {
        check("runabout call add --exprot 1", "runabout call --exprot -- add 1");
    }

    #[test]
    fn other_commands_are_left_alone() {
        check("runabout status -x", "runabout status -x");
        check("runabout", "runabout");
    }
}
