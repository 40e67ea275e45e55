//! `tidegate doctor`: looks for what would keep tidegate from working here, changes nothing, and says what to do.
//!
//! A line for each thing that was looked at: `ok`, `note` (it works, but), or `problem`. The exit code is 1 if there is a problem.

use crate::cli::args::Place;
use crate::cli::{Environment, size_of_terminal};
use crate::config::{default_data_dir, environment, user_dir};
use crate::error::Error;
use crate::present::Outcome;
use crate::types::temporal::timestamp_text;
use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, getrlimit};
use std::io::IsTerminal;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

/// Free bytes below which a disk is soon full.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// Open files below which a server with some topics and connections fails: a segment is a file, a connection a socket.
const FILES_MIN: u64 = 4_096;
/// 2024-01-01: a clock before it is not set.
const EARLIEST_MS: i64 = 1_704_067_200_000;

/// How a thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    Note,
    Problem,
}

struct Finding {
    what: &'static str,
    state: State,
    detail: String,
}

fn finding(what: &'static str, state: State, detail: impl Into<String>) -> Finding {
    Finding { what, state, detail: detail.into() }
}

/// Looks at everything; returns the table, and whether there is a problem.
pub(super) fn examine(place: &Place, environment: &mut dyn Environment, port: u16) -> (Outcome, bool) {
    let mut all = vec![finding("version", State::Ok, crate::cli::args::version_line())];
    match (&place.server, &place.bootstrap_servers, &place.kafka_config) {
        (Some(url), ..) => all.push(server(url, place, environment)),
        (None, None, None) => all.extend(directory(place)),
        (None, ..) => all.push(broker(place, environment)),
    }
    let now = environment.now_ms();
    all.push(match now < EARLIEST_MS {
        true => finding("clock", State::Problem, format!("it says {}Z: set it", timestamp_text(now))),
        false => finding("clock", State::Ok, format!("{}Z", timestamp_text(now))),
    });
    all.push(files());
    all.push(scratch());
    all.push(listener(port));
    all.extend(settings());
    all.push(terminal());
    let is_ill = all.iter().any(|finding| finding.state == State::Problem);
    let word = |state| match state {
        State::Ok => "ok",
        State::Note => "note",
        State::Problem => "problem",
    };
    let rows = all.into_iter().map(|f| vec![f.what.to_owned(), word(f.state).to_owned(), f.detail]).collect();
    let columns = ["Checked", "State", "Detail"].map(str::to_owned).to_vec();
    (Outcome::Table { title: None, columns, rows }, is_ill)
}

fn failed(what: &'static str, error: &Error) -> Finding {
    let more = [error.detail(), error.hint()].into_iter().flatten().map(|text| format!("; {text}"));
    finding(what, State::Problem, format!("{}{}", error.message(), more.collect::<String>()))
}

fn server(url: &str, place: &Place, environment: &mut dyn Environment) -> Finding {
    match environment.session(place) {
        Ok(session) => finding("server", State::Ok, session.greeting),
        Err(error) => failed("server", &error.and_detail(url)),
    }
}

fn broker(place: &Place, environment: &mut dyn Environment) -> Finding {
    match environment.topics(place).and_then(|topics| topics.all()) {
        Ok(topics) => finding("broker", State::Ok, format!("it responds, and has {} topics", topics.len())),
        Err(error) => failed("broker", &error),
    }
}

/// The data directory, and the disk that it is on.
fn directory(place: &Place) -> Vec<Finding> {
    if place.temp {
        return vec![finding("data directory", State::Ok, "none: the log is in memory")];
    }
    let named = place.data.clone().map_or_else(default_data_dir, Ok);
    let path = match named {
        Ok(path) => path,
        Err(error) => return vec![failed("data directory", &error)],
    };
    let shown = path.display();
    // The nearest folder that exists is the one that has to be writable.
    let mut existing = path.as_path();
    while !existing.exists()
        && let Some(parent) = existing.parent()
    {
        existing = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    }
    let mut all = Vec::new();
    all.push(match (access(existing, Access::WRITE_OK), path.exists()) {
        (Err(e), _) => finding("data directory", State::Problem, format!("{shown} is not writable: {e}")),
        (Ok(()), false) => finding("data directory", State::Ok, format!("{shown} will be created")),
        (Ok(()), true) if !path.is_dir() => finding("data directory", State::Problem, format!("{shown} is a file")),
        (Ok(()), true) => match path.join("owner").exists() {
            true => {
                finding("data directory", State::Ok, format!("{shown}, which a running tidegate owns or owned last"))
            }
            false => finding("data directory", State::Ok, shown.to_string()),
        },
    });
    all.push(disk("disk", existing));
    all
}

fn disk(what: &'static str, path: &Path) -> Finding {
    match statvfs(path) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let text = format!("{:.1} GiB free at {}", free as f64 / (1_u64 << 30) as f64, path.display());
            finding(what, if free < FREE_BYTES_MIN { State::Note } else { State::Ok }, text)
        }
        Err(e) => finding(what, State::Note, format!("{}: {e}", path.display())),
    }
}

fn files() -> Finding {
    match getrlimit(Resource::Nofile).current {
        Some(files) if files < FILES_MIN => {
            finding("open files", State::Note, format!("at most {files}; ulimit -n {FILES_MIN} allows more"))
        }
        Some(files) => finding("open files", State::Ok, format!("at most {files}")),
        None => finding("open files", State::Ok, "unlimited"),
    }
}

/// Where rows of joins and sorts go that do not fit into memory.
fn scratch() -> Finding {
    match tempfile::tempdir() {
        Ok(folder) => disk("scratch", folder.path().parent().unwrap_or(folder.path())),
        Err(e) => finding("scratch", State::Problem, format!("no temporary files can be made: {e}; set TMPDIR")),
    }
}

fn listener(port: u16) -> Finding {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => finding("port", State::Ok, format!("{port} is free for tidegate server")),
        Err(_) => finding("port", State::Note, format!("{port} is in use; tidegate server --listen takes another")),
    }
}

fn settings() -> Vec<Finding> {
    let Some(folder) = user_dir("XDG_CONFIG_HOME", ".config") else { return Vec::new() };
    let there = |name: &'static str, what| {
        let path = folder.join(name);
        let state = if path.exists() { "is read" } else { "does not exist" };
        finding(what, State::Ok, format!("{} {state}", path.display()))
    };
    vec![there("config.toml", "configuration"), there("init.sql", "prompt's start")]
}

fn terminal() -> Finding {
    if !std::io::stdout().is_terminal() {
        return finding("terminal", State::Ok, "none: the output is a file or a pipe");
    }
    let (columns, lines) = size_of_terminal();
    let pager = environment("PAGER").unwrap_or_else(|| "less".to_owned());
    let term = environment("TERM").unwrap_or_else(|| "unset".to_owned());
    let state = if term == "unset" || term == "dumb" || columns < 80 { State::Note } else { State::Ok };
    finding("terminal", state, format!("{columns} x {lines}, TERM {term}, pager {pager}"))
}
