//! Options that are not on the command line: from the environment, and from the configuration file.
//!
//! ```text
//! command line  >  environment  >  profile  >  configuration file  >  built-in default
//!
//! --output json     TIDEGATE_OUTPUT=json     [profiles.prod]           output = "json"
//! server --listen   TIDEGATE_SERVER_LISTEN   server = "https://..."    [server]  listen = "127.0.0.1:8088"
//! --set NAME=VALUE  TIDEGATE_SET_NAME        user = "alice"            [set]  "ksql.streams.state.dir" = "/var/tmp"
//!                   KSQL_KSQL_STREAMS_...    (of `server`, below the file: the environment of ksqlDB's images)
//! ```
//!
//! One rule for all: an option `--some-thing` is `TIDEGATE_SOME_THING` and `some-thing`, one of a command has the command's name
//! before it. What is found is put into the arguments before clap reads them, so that every option is checked in one place.
//! The place to work on (`--data`, `--temp`, `--bootstrap-servers`, `--kafka-config`, `--server`, a URL) is one choice: the highest layer that makes it
//! makes all of it.

use super::Arguments;
use crate::config::{environment, environment_below, property_names, service_setting, user_dir};
use crate::error::{Error, Result};
use crate::types::nearest;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use toml_edit::{DocumentMut, Item, Value};

/// Options that say where to work.
const PLACE: [&str; 5] = ["data", "temp", "bootstrap-servers", "kafka-config", "server"];
/// Commands that have no place, or one of their own.
const WITHOUT_PLACE: [&str; 5] = ["demo", "completions", "man", "user", "help"];
/// Commands that work on a log in this process.
const LOCAL: [&str; 4] = ["server", "repair", "topic", "run"];
/// Options that say which file and profile are read.
pub(super) const OF_THE_FILE: [&str; 2] = ["config", "profile"];

/// A value of an option that is not on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) value: String,
    /// The variable of the environment, or the file and its section.
    pub(super) origin: String,
}

/// Values by the name of an option; several of one that can be repeated.
pub(super) type Layer = BTreeMap<String, Vec<Given>>;

/// The arguments with what the environment and the configuration file add to them.
pub fn layered(given: Vec<OsString>) -> Result<Vec<OsString>> {
    let mut command = Arguments::command();
    command.build();
    // Arguments that are wrong are reported as they were given.
    let Ok(matches) = command.clone().try_get_matches_from(&given) else { return Ok(given) };
    let file = File::read(&matches)?;
    let chain = chain(&matches);
    let names: Vec<&str> = chain.iter().map(|(name, _)| name.as_str()).collect();

    let (profile, root) = file.layers(&command)?;
    let mut layers = vec![from_environment(&command, ""), profile, root];
    let is_server = names == ["server"];
    let of_ksqldb = if is_server { from_ksqldb() } else { (Layer::new(), Layer::new()) };
    layers.push(of_ksqldb.0);
    let mut all = vec![given[0].clone()];
    let added = global(&command, &matches, &layers, &names);
    all.extend(added.iter().filter_map(|(arg, found)| option(arg, &found.value)).map(OsString::from));
    let end = given.iter().position(|word| word == "--").unwrap_or(given.len());
    all.extend(given[1..end].iter().cloned());
    if let Some((_, leaf)) = chain.last() {
        let mut definition = &command;
        for name in &names {
            let Some(below) = definition.find_subcommand(name) else { return Ok(given) };
            definition = below;
        }
        let mut layers = vec![from_environment(definition, &format!("{}_", names.join("_")))];
        layers.push(file.of_command(&names, definition)?);
        layers.push(of_ksqldb.1);
        all.extend(own(definition, leaf, &layers).into_iter().map(OsString::from));
    }
    all.extend(given[end..].iter().cloned());
    Ok(all)
}

/// The commands that were given, outermost first.
fn chain(matches: &ArgMatches) -> Vec<(String, &ArgMatches)> {
    let mut all = Vec::new();
    let mut at = matches;
    while let Some((name, below)) = at.subcommand() {
        all.push((name.to_owned(), below));
        at = below;
    }
    all
}

/// Where clap found an option.
pub(super) fn source(matches: &ArgMatches, arg: &Arg) -> Option<ValueSource> {
    let id = arg.get_id().as_str();
    matches.try_get_raw(id).ok().flatten().and(matches.value_source(id))
}

/// Options of every command that the layers add, highest first.
pub(super) fn global<'c>(
    command: &'c Command,
    matches: &ArgMatches,
    layers: &[Layer],
    names: &[&str],
) -> Vec<(&'c Arg, Given)> {
    let is_given =
        |arg: &Arg| matches!(source(matches, arg), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
    let has_place = |long: &str| PLACE.contains(&long);
    let first = names.first().copied().unwrap_or_default();
    let mut place_given = WITHOUT_PLACE.contains(&first) || matches.value_source("url").is_some();
    place_given |= arguments(command).any(|(long, arg)| has_place(long) && is_given(arg));
    let mut taken: Vec<&str> = OF_THE_FILE.to_vec();
    let mut added = Vec::new();
    for layer in layers {
        let makes_place = layer.keys().any(|long| has_place(long));
        // A profile of a server is of no use to a command that works on a log.
        let is_elsewhere = LOCAL.contains(&first) && layer.contains_key("server");
        for (long, arg) in arguments(command) {
            let Some(values) = layer.get(long) else { continue };
            // What a prompt runs is of no use to a command either.
            let is_of_prompt = !names.is_empty() && !arg.is_global_set();
            let is_placed = has_place(long) && (place_given || is_elsewhere);
            if is_given(arg) || taken.contains(&long) || is_placed || is_of_prompt {
                continue;
            }
            if !is_many(arg) {
                taken.push(long);
            }
            added.extend(values.iter().map(|found| (arg, found.clone())));
        }
        place_given |= makes_place && !is_elsewhere;
    }
    added
}

/// Options of the command itself.
fn own(command: &Command, matches: &ArgMatches, layers: &[Layer]) -> Vec<String> {
    let mut added = Vec::new();
    for (long, arg) in arguments(command).filter(|(_, arg)| !arg.is_global_set()) {
        if matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine) {
            continue;
        }
        let values = layers.iter().find_map(|layer| layer.get(long));
        added.extend(values.into_iter().flatten().filter_map(|found| option(arg, &found.value)));
    }
    added
}

/// Options with a long name that clap does not read from the environment itself.
pub(super) fn arguments(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let named = command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)));
    named.filter(|(long, arg)| !arg.is_hide_set() && !matches!(*long, "help" | "version"))
}

fn is_flag(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn is_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// `--name=value`; of a flag `--name` where it is true.
fn option(arg: &Arg, value: &str) -> Option<String> {
    let long = arg.get_long()?;
    if !is_flag(arg) {
        return Some(format!("--{long}={value}"));
    }
    let is_on = ["true", "1", "on", "yes"].iter().any(|word| value.eq_ignore_ascii_case(word));
    is_on.then(|| format!("--{long}"))
}

/// The environment's values for the options of a command, whose name is in `prefix`.
pub(super) fn from_environment(command: &Command, prefix: &str) -> Layer {
    let mut layer = Layer::new();
    for (long, arg) in arguments(command).filter(|(_, arg)| prefix.is_empty() || !arg.is_global_set()) {
        if arg.get_env().is_some() {
            continue;
        }
        let name = format!("TIDEGATE_{prefix}{long}").to_uppercase().replace('-', "_");
        let Some(value) = environment(&name) else { continue };
        let values: Vec<&str> = match is_many(arg) {
            true => value.split(['\n', ';']).filter(|v| !v.trim().is_empty()).collect(),
            false => vec![&value],
        };
        layer.insert(long.to_owned(), values.into_iter().map(|value| given(value, &name)).collect());
    }
    if prefix.is_empty() {
        let settings = environment_below("TIDEGATE_SET_").into_iter();
        let settings =
            settings.map(|(name, value)| given(format!("{}={value}", property(&name)), format!("TIDEGATE_SET_{name}")));
        layer.entry("set".to_owned()).or_default().extend(settings);
    }
    layer.retain(|_, values| !values.is_empty());
    layer
}

/// What the environment of ksqlDB's container images says to a server: options of every command, and those of `server`. Variables
/// of other settings are left alone.
pub(super) fn from_ksqldb() -> (Layer, Layer) {
    let (mut all, mut own) = (Layer::new(), Layer::new());
    for (name, value) in environment_below("KSQL_") {
        let origin = format!("KSQL_{name}");
        match (name.as_str(), property_names().find(|known| is_variable(known, &name))) {
            ("BOOTSTRAP_SERVERS", _) => drop(all.insert("bootstrap-servers".to_owned(), vec![given(value, origin)])),
            ("KSQL_SERVICE_ID", _) => drop(all.insert("service-id".to_owned(), vec![given(value, origin)])),
            ("LISTENERS", _) => {
                let first = value.split(',').next().unwrap_or_default().trim();
                let address = first.split_once("://").map_or(first, |(_, address)| address);
                own.insert("listen".to_owned(), vec![given(address.trim_end_matches('/'), origin)]);
            }
            (_, Some(known)) => {
                all.entry("set".to_owned()).or_default().push(given(format!("{known}={value}"), origin));
            }
            (_, None) => {
                if let Some(known) = service_setting(&name) {
                    all.entry("set".to_owned()).or_default().push(given(format!("{known}={value}"), origin));
                }
            }
        }
    }
    (all, own)
}

/// The property that `KSQL_STREAMS_STATE_DIR` means: a known one, else with dots.
fn property(name: &str) -> String {
    property_names()
        .find(|known| is_variable(known, name))
        .map_or_else(|| name.to_lowercase().replace('_', "."), str::to_owned)
}

fn is_variable(property: &str, variable: &str) -> bool {
    property.replace(['.', '-'], "_").eq_ignore_ascii_case(variable)
}

/// The configuration file, and the profile that is wanted of it.
pub(super) struct File {
    pub(super) path: PathBuf,
    document: DocumentMut,
    pub(super) profile: Option<String>,
}

impl File {
    pub(super) fn read(matches: &ArgMatches) -> Result<File> {
        let named =
            matches.get_one::<PathBuf>("config").cloned().or_else(|| environment("TIDEGATE_CONFIG").map(PathBuf::from));
        let usual = user_dir("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("config.toml"));
        let is_named = named.is_some();
        let path = named.or(usual).unwrap_or_default();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if is_named => {
                return Err(Error::io(format!("cannot read {}", path.display())).with_detail(e.to_string()));
            }
            // Most users have none.
            Err(_) => String::new(),
        };
        let document = text.parse::<DocumentMut>().map_err(|e| {
            Error::statement(format!("{} is not TOML", path.display())).with_detail(e.to_string().trim().to_owned())
        })?;
        let profile = matches.get_one::<String>("profile").cloned().or_else(|| environment("TIDEGATE_PROFILE"));
        let usual = document.get("profile").and_then(Item::as_str).map(str::to_owned);
        Ok(File { path, document, profile: profile.or(usual) })
    }

    /// The options of the wanted profile, and those outside of profiles.
    pub(super) fn layers(&self, command: &Command) -> Result<(Layer, Layer)> {
        let table = self.document.as_table();
        let root = self.layer("", table.iter().filter(|(name, _)| !self.is_section(name, command)), command)?;
        let profile = match &self.profile {
            None => Layer::new(),
            Some(name) => {
                let found = self.profiles().find(|(known, _)| known == name).and_then(|(_, item)| item.as_table_like());
                let Some(found) = found else { return Err(self.no_profile(name)) };
                self.layer(&format!("profiles.{name}"), found.iter(), command)?
            }
        };
        Ok((profile, root))
    }

    fn profiles(&self) -> impl Iterator<Item = (&str, &Item)> {
        let profiles = self.document.get("profiles").or_else(|| self.document.get("profile"));
        profiles.and_then(Item::as_table_like).into_iter().flat_map(|all| all.iter())
    }

    /// The profiles that say where to work, and what they say.
    pub(super) fn places(&self) -> Vec<(String, String)> {
        let text = |item: &Item| values(item).map(|values| values.join(","));
        let place = |item: &Item| {
            let options = item.as_table_like()?;
            PLACE.iter().find_map(|long| match (*long, text(options.get(long)?)?) {
                ("temp", is_on) => Some("a log in memory".to_owned()).filter(|_| is_on == "true"),
                (_, place) => Some(place),
            })
        };
        self.profiles().filter_map(|(name, item)| Some((name.to_owned(), place(item)?))).collect()
    }

    fn no_profile(&self, name: &str) -> Error {
        let all: Vec<&str> = self.profiles().map(|(name, _)| name).collect();
        let error = Error::not_found(format!("{} has no profile {name}", self.path.display()));
        match all.is_empty() {
            true => error.with_hint(format!("add it: [profiles.{name}]")),
            false => error.with_hint(format!("its profiles are {}", all.join(", "))),
        }
    }

    /// Parts of the file that are no options of every command.
    fn is_section(&self, name: &str, command: &Command) -> bool {
        let is_table = self.document.get(name).is_some_and(Item::is_table_like);
        matches!(name, "profile" | "profiles")
            || is_table && !["set", "define"].contains(&name) && command.find_subcommand(name).is_some()
    }

    /// The options of a command: `[server]`, `[topic.print]`.
    pub(super) fn of_command(&self, names: &[&str], command: &Command) -> Result<Layer> {
        let mut item = self.document.as_item();
        for name in names {
            match item.get(name).filter(|item| item.is_table_like()) {
                Some(below) => item = below,
                None => return Ok(Layer::new()),
            }
        }
        let entries = item.as_table_like().into_iter().flat_map(|table| table.iter());
        self.layer(&names.join("."), entries.filter(|(_, item)| !item.is_table_like()), command)
    }

    fn layer<'t>(
        &self,
        section: &str,
        entries: impl Iterator<Item = (&'t str, &'t Item)>,
        command: &Command,
    ) -> Result<Layer> {
        let origin = match section {
            "" => self.path.display().to_string(),
            section => format!("{} [{section}]", self.path.display()),
        };
        let mut layer = Layer::new();
        for (name, item) in entries {
            let known = arguments(command).any(|(long, _)| long == name);
            if !known || OF_THE_FILE.contains(&name) {
                return Err(self.unknown(name, command));
            }
            let values = values(item).ok_or_else(|| self.unreadable(name))?;
            layer.insert(name.to_owned(), values.into_iter().map(|value| given(value, &*origin)).collect());
        }
        Ok(layer)
    }

    fn unknown(&self, name: &str, command: &Command) -> Error {
        let error = Error::statement(format!("unknown setting {name} in {}", self.path.display()));
        match nearest(name, arguments(command).map(|(long, _)| long)) {
            Some(near) => error.with_hint(format!("did you mean {near}?")),
            None => error.with_hint("settings are the names of options, as output = \"json\" for --output json"),
        }
    }

    fn unreadable(&self, name: &str) -> Error {
        Error::statement(format!("invalid value of {name} in {}", self.path.display()))
            .with_hint("expected a text, a number, true or false, a list of them, or for set and define a table")
    }
}

fn given(value: impl Into<String>, origin: impl Into<String>) -> Given {
    Given { value: value.into(), origin: origin.into() }
}

/// The values of an entry: one, those of an array, or NAME=VALUE of each line of a table.
fn values(item: &Item) -> Option<Vec<String>> {
    if let Some(table) = item.as_table_like() {
        return table.iter().map(|(name, item)| Some(format!("{name}={}", scalar(item.as_value()?)?))).collect();
    }
    match item.as_value()? {
        Value::Array(array) => array.iter().map(scalar).collect(),
        value => scalar(value).map(|value| vec![value]),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Float(number) => Some(number.value().to_string()),
        Value::Boolean(is_on) => Some(is_on.value().to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}
