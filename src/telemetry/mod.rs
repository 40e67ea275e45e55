//! Logging: events and spans of `tracing`, written to standard error as text or as JSON (`json`).
//!
//! `TIDEGATE_LOG` filters them (`warn`, `info,processing=off`, `kafka=debug`). Targets beside the module paths: `processing`
//! (records that were skipped, with topic, partition, offset and reason), `kafka` (librdkafka's own lines) and `panic` (with a
//! backtrace). Spans give a line its context:
//!
//! ```text
//! statement{kind="CREATE STREAM", user=ada}     info    one statement, from the check of its rights to its result
//! query{id=CSAS_D_1}                            info    the thread of a query, for as long as it lives
//! commit{group=.., sequence=7}                  debug   one commit of a query, with an event that says what it held
//! turn{group=..}                                trace   one turn of a query: poll, process, perhaps commit
//! ```
//!
//! Nothing is logged, and no span is entered, once per row. A span that the filter disables costs one load of a flag.

pub mod histogram;

mod json;

use crate::{config, threads};
use clap::ValueEnum;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Starts logging; `default` is the filter if the environment names none. Called once, by the program.
pub fn start(default: &str, color: bool, format: LogFormat) {
    let filter = config::environment("TIDEGATE_LOG").unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_timer(SystemTime)
        // It would be reported on standard error, where it just failed, and that panics: a log that is not read, or a full
        // disk behind it, must not end the thread that writes a line.
        .log_internal_errors(false);
    let subscriber: Box<dyn Subscriber + Send + Sync> = match format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => {
            Box::new(builder.with_ansi(false).fmt_fields(json::JsonFields).event_format(json::JsonLines).finish())
        }
    };
    // A second start is a second caller in one process, such as tests: the first one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    threads::log_panics();
}
