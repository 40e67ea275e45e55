//! Log lines: to standard error, filtered by `TIDEGATE_LOG` (as `warn`, `info,processing=off`, `kafka=debug`).
//!
//! Targets beside the module paths: `processing` (records that were skipped, with topic, partition, offset and reason),
//! `kafka` (what librdkafka says) and `panic` (with a backtrace).

use crate::{config, threads};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// Starts logging; `default` is the filter where the environment names none. Called once, by the program.
pub fn start(default: &str, color: bool) {
    let filter = config::environment("TIDEGATE_LOG").unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .with_timer(SystemTime)
        // It would be reported on standard error, where it just failed, and that panics: a log that nobody reads, or a full
        // disk behind it, must not end the thread that writes a line.
        .log_internal_errors(false)
        .finish();
    // A second start is a second caller in one process, such as tests: the first one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    threads::log_panics();
}
