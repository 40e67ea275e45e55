//! `tidegate config show`: the options in force, and where each comes from.
//!
//! ```text
//! Option         Value                       Origin
//! output         json                        TIDEGATE_OUTPUT
//! server         https://tidegate.example    ~/.config/tidegate/config.toml [profiles.prod]
//! server.listen  127.0.0.1:9088              ~/.config/tidegate/config.toml [server]
//! ```
//!
//! Options of every command are listed with their defaults, those of one command (`server.listen`) where something sets them.
//! Passwords and tokens are none of them: they have no place in a file.

use super::Arguments;
use super::layers::{File, Layer, OF_THE_FILE, arguments, from_environment, from_ksqldb, global, source};
use crate::error::{Error, Result};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory};
use std::ffi::OsString;

const COMMAND_LINE: &str = "command line";
const DEFAULT: &str = "default";

/// A value that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The option without its dashes, behind the command that it is of.
    pub(crate) name: String,
    /// Its value; empty if it has none.
    pub(crate) value: String,
    /// The command line, a variable of the environment, a file, or the default.
    pub(crate) origin: String,
}

/// What is in force for a command line.
pub(crate) fn settings(given: &[OsString]) -> Result<Vec<Setting>> {
    let mut command = Arguments::command();
    command.build();
    let matches = command.clone().try_get_matches_from(given);
    let matches = matches.map_err(|cause| Error::bug("the arguments were read before").because(cause))?;
    let file = File::read(&matches)?;
    let (profile, root) = file.layers(&command)?;
    let layers = [from_environment(&command, ""), profile, root];
    let added = global(&command, &matches, &layers, &[]);
    let mut all = Vec::new();
    for (long, arg) in arguments(&command).filter(|(_, arg)| arg.is_global_set()) {
        let ours = added.iter().filter(|(added, _)| added.get_id() == arg.get_id()).map(|(_, found)| found);
        let others = ours.map(|found| setting(long, &found.value, &found.origin));
        let mut found: Vec<Setting> = of_clap(&matches, long, arg).into_iter().chain(others).collect();
        if found.is_empty() && OF_THE_FILE.contains(&long) {
            // They say which file is read, so that they are not among what it sets.
            let variable = layers[0].get(long).into_iter().flatten();
            found.extend(variable.map(|found| setting(long, &found.value, &found.origin)));
        }
        if found.is_empty() {
            found.push(usual(long, arg, &file));
        }
        all.append(&mut found);
    }
    let (of_all, of_server) = from_ksqldb();
    for found in [&of_all, &of_server] {
        all.extend(named("server", found));
    }
    of_commands(&command, &mut Vec::new(), &file, &mut all)?;
    Ok(all)
}

/// The profiles of the configuration file, and the place of each.
pub(crate) fn profiles(given: &[OsString]) -> Result<Vec<(String, String)>> {
    let mut command = Arguments::command();
    command.build();
    let matches = command.try_get_matches_from(given);
    let matches = matches.map_err(|cause| Error::bug("the arguments were read before").because(cause))?;
    Ok(File::read(&matches)?.places())
}

/// The value of an option that nothing sets.
fn usual(long: &str, arg: &Arg, file: &File) -> Setting {
    let path = file.path.display().to_string();
    match (long, &file.profile) {
        ("config", _) => setting(long, &path, DEFAULT),
        ("profile", Some(profile)) => setting(long, profile, &path),
        _ => {
            let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
            setting(long, &default.unwrap_or_default(), DEFAULT)
        }
    }
}

/// What clap has found itself: arguments, and the few variables that it reads.
fn of_clap(matches: &ArgMatches, long: &str, arg: &Arg) -> Vec<Setting> {
    let origin = match (source(matches, arg), arg.get_env()) {
        (Some(ValueSource::CommandLine), _) => COMMAND_LINE.to_owned(),
        (Some(ValueSource::EnvVariable), Some(name)) => name.to_string_lossy().into_owned(),
        _ => return Vec::new(),
    };
    let values = matches.get_raw(arg.get_id().as_str()).into_iter().flatten().map(|value| value.to_string_lossy());
    values.map(|value| setting(long, &value, &origin)).collect()
}

/// Options of the commands that something sets.
fn of_commands(command: &Command, names: &mut Vec<String>, file: &File, into: &mut Vec<Setting>) -> Result<()> {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        names.push(sub.get_name().to_owned());
        let path: Vec<&str> = names.iter().map(String::as_str).collect();
        let environment = from_environment(sub, &format!("{}_", path.join("_")));
        let mut of_file = file.of_command(&path, sub)?;
        of_file.retain(|long, _| !environment.contains_key(long));
        for layer in [&environment, &of_file] {
            into.extend(named(&path.join("."), layer));
        }
        of_commands(sub, names, file, into)?;
        names.pop();
    }
    Ok(())
}

fn named(command: &str, layer: &Layer) -> Vec<Setting> {
    let one = |long: &String, value: &str, origin: &str| setting(&format!("{command}.{long}"), value, origin);
    layer.iter().flat_map(|(long, all)| all.iter().map(move |found| one(long, &found.value, &found.origin))).collect()
}

fn setting(name: &str, value: &str, origin: &str) -> Setting {
    Setting { name: name.to_owned(), value: value.to_owned(), origin: origin.to_owned() }
}
