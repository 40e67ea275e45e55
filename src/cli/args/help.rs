//! Help of a command lists the options that it uses.
//!
//! ```text
//! tidegate server --help      --data, --listen, ...      not --output, --server, --define: what only a prompt or a client uses
//! ```
//!
//! Options of every command are global to clap, which lists them below each of its commands. Here each command gets its own
//! copy of those that it has no use for, hidden. They still parse, because a script may give them to every call.

use super::Arguments;
use clap::{Arg, Command, CommandFactory};

/// What a client of a server uses.
const OF_CLIENTS: &[&str] = &["server", "ca", "cert", "key", "user"];
/// What a session with statements uses.
const OF_SESSIONS: &[&str] = &["define", "query_timeout", "query_row_limit"];
/// What a prompt begins with.
const OF_PROMPTS: &[&str] = &["no_init"];
/// What writes results.
const OF_RESULTS: &[&str] = &["output", "quiet"];
/// Where to work.
const OF_PLACES: &[&str] = &["data", "temp", "bootstrap_servers", "kafka_config", "set", "service_id"];

/// What a command has no use for.
fn unused(command: &str) -> &'static [&'static [&'static str]] {
    match command {
        "sql" | "run" | "query" => &[OF_PROMPTS],
        "check" => &[&["query_timeout", "query_row_limit"], OF_PROMPTS],
        "topic" => &[OF_SESSIONS, OF_PROMPTS],
        "datagen" => &[OF_SESSIONS, OF_PROMPTS, &["output"]],
        "doctor" => &[OF_SESSIONS, OF_PROMPTS, &["quiet"]],
        "repair" => &[OF_CLIENTS, OF_SESSIONS, OF_PROMPTS, &["quiet"]],
        "demo" => &[&["server"]],
        "server" | "console" => &[OF_CLIENTS, OF_SESSIONS, OF_PROMPTS, OF_RESULTS],
        "user" | "completions" | "man" => &[OF_PLACES, OF_CLIENTS, OF_SESSIONS, OF_PROMPTS, OF_RESULTS],
        // `config show` has the values of all of them.
        _ => &[],
    }
}

/// The definition of the command line.
pub(in crate::cli) fn command() -> Command {
    let command = Arguments::command();
    let global: Vec<Arg> = command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    command.mut_subcommands(|sub| {
        let unused = unused(sub.get_name());
        let is_unused = |arg: &&Arg| unused.iter().any(|ids| ids.contains(&arg.get_id().as_str()));
        let hidden: Vec<Arg> = global.iter().filter(is_unused).map(|arg| arg.clone().hide(true)).collect();
        sub.args(hidden)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hidden_option_and_every_command_is_one_that_there_is() {
        let mut command = command();
        command.build();
        let ids: Vec<&str> = command.get_arguments().map(|arg| arg.get_id().as_str()).collect();
        for id in [OF_CLIENTS, OF_SESSIONS, OF_PROMPTS, OF_RESULTS, OF_PLACES].concat() {
            assert!(ids.contains(&id), "{id}");
        }
        let with_all = ["config", "help"];
        for sub in command.get_subcommands().filter(|sub| !with_all.contains(&sub.get_name())) {
            assert!(!unused(sub.get_name()).is_empty(), "{}", sub.get_name());
        }
    }

    #[test]
    fn a_server_lists_what_it_uses_and_takes_the_others_too() {
        let mut command = command();
        command.build();
        let server = command.find_subcommand_mut("server").unwrap();
        let help = server.render_help().to_string();
        for absent in ["--output", "--server ", "--user ", "--define", "--query-timeout", "--no-init", "--quiet"] {
            assert!(!help.contains(absent), "{absent}\n{help}");
        }
        for present in ["--listen", "--users", "--data", "--bootstrap-servers", "--set", "--log-format"] {
            assert!(help.contains(present), "{present}\n{help}");
        }
        let found =
            super::command().try_get_matches_from(["tidegate", "topic", "list", "--query-row-limit", "3"]).unwrap();
        assert_eq!(found.get_one::<u64>("query_row_limit"), Some(&3), "a hidden option keeps its meaning");
    }
}
