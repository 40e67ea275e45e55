//! Statements of the command line: texts and files, in the order in which they were given.
//!
//! ```text
//! tidegate -c 'CREATE ...;' -f load.sql -c 'SELECT ...;'     three sources, carried out in this order in one session
//! ```
//!
//! clap keeps a list for each option; the order across both follows from their places among the arguments.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use std::path::PathBuf;

const EXECUTE: &str = "execute";
const FILE: &str = "file";

/// Where statements come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `-c`, `-e`, or an argument.
    Text(String),
    /// `-f`; `-` is standard input.
    File(PathBuf),
}

/// The sources that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(pub Vec<Source>);

impl FromArgMatches for Sources {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Sources, clap::Error> {
        let places = |name: &str| matches.indices_of(name).into_iter().flatten();
        let texts = matches.get_many::<String>(EXECUTE).into_iter().flatten().cloned().map(Source::Text);
        let files = matches.get_many::<PathBuf>(FILE).into_iter().flatten().cloned().map(Source::File);
        let mut all: Vec<(usize, Source)> = places(EXECUTE).zip(texts).chain(places(FILE).zip(files)).collect();
        all.sort_by_key(|(place, _)| *place);
        Ok(Sources(all.into_iter().map(|(_, source)| source).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Sources::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Sources {
    fn augment_args(command: Command) -> Command {
        let execute = Arg::new(EXECUTE).long(EXECUTE).short('e').visible_short_alias('c').value_name("SQL");
        let file = Arg::new(FILE).long(FILE).short('f').value_name("FILE").value_parser(value_parser!(PathBuf));
        command
            .arg(execute.action(ArgAction::Append).help("Statements to run (repeatable)"))
            .arg(file.action(ArgAction::Append).help("File with statements, - for standard input (repeatable)"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Sources::augment_args(command)
    }
}
