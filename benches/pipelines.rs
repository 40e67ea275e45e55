//! What a query costs on a real Kafka broker, beside the floor: the least that any program on librdkafka would pay.
//!
//! ```text
//! cargo bench --bench pipelines -- [--json FILE] [--sizes 1000000,3000000] [--rounds 3] [--broker DIR] [--core 0]
//!                                  [--query read|q0|q1|q2|tumble] [--sink blackhole|topic] [--time column|record]
//! ```
//!
//! Every measurement is a process of its own that is pinned to one core and works through a whole topic. A size is
//! measured once a round, and the least CPU time of the rounds counts; the cost of an event is the slope between the two
//! sizes, which leaves start-up out. `e` is floor / engine. Results are checked in every run: rows, or the sum of counts
//! (of the counts that are dropped, in one run before the others).
//!
//! `--query read`, which is not measured unless it is asked for, only reads: what an event costs before any query looks at
//! it, to be put beside a program on librdkafka's C interface.
//!
//! `--broker DIR` uses the broker that `tests/kafka/broker.sh start DIR` started, and keeps the topics there for the next
//! run. `--time record` takes event time from the record instead of from the column `dateTime`.
#![allow(clippy::disallowed_methods, clippy::print_stdout, missing_docs)]

#[path = "bids.rs"]
mod bids;
#[path = "pipelines/engine.rs"]
mod engine;
#[path = "pipelines/floor.rs"]
mod floor;
#[path = "pipelines/host.rs"]
mod host;
#[path = "pipelines/topics.rs"]
mod topics;

use host::{Broker, Usage};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::Command;

pub(crate) type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// Events of the two sizes.
const SIZES: &str = "1000000,3000000";
/// Other work on the machine makes single measurements too high.
const ROUNDS: &str = "3";
/// Partitions of the topic that is read and of the one that is written.
pub(crate) const PARTITIONS: u32 = 4;

/// `--name value` pairs.
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    fn parse() -> Fallible<Options> {
        let mut pairs = BTreeMap::new();
        // Cargo adds a bare `--bench`.
        let mut words = std::env::args().skip(1).filter(|w| w != "--bench");
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("what is {word}?"))?;
            pairs.insert(name.to_owned(), words.next().ok_or_else(|| format!("--{name} needs a value"))?);
        }
        Ok(Options(pairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.get(name).unwrap_or(default)
    }

    pub(crate) fn number(&self, name: &str) -> Fallible<u64> {
        Ok(self.get(name).ok_or_else(|| format!("--{name} is missing"))?.parse()?)
    }
}

fn main() -> Fallible<()> {
    let options = Options::parse()?;
    match options.get("child") {
        Some("floor") => floor::run(&options),
        Some("engine") => engine::run(&options),
        Some(other) => Err(format!("no child is called {other}").into()),
        None => measure(&options),
    }
}

/// What is measured: a query and where its rows go; the floor has no sink.
type Case = (&'static str, &'static str);

fn measure(options: &Options) -> Fallible<()> {
    let sizes = options.or("sizes", SIZES).split(',').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let [small, large] = sizes[..] else { return Err("--sizes takes two numbers".into()) };
    let wanted = |name: &str, value: &str| options.get(name).is_none_or(|v| v == value);
    let Some(broker) = Broker::open(options.get("broker"))? else {
        println!("skipped: no Kafka broker (Java or Maven is missing)");
        return Ok(());
    };
    let truths = [topics::prepare(&broker, small)?, topics::prepare(&broker, large)?];
    if wanted("query", "tumble") && wanted("sink", "blackhole") {
        child(options, &broker, ("tumble", "blackhole"), (small, &truths[0]), &["--check", "counts"])?;
    }
    let mut least: BTreeMap<(Case, u64), Usage> = BTreeMap::new();
    for _ in 0..options.or("rounds", ROUNDS).parse::<u32>()? {
        let asked = |query: &str| wanted("query", query) && (query != "read" || options.get("query").is_some());
        for query in ["read", "q0", "q1", "q2", "tumble"].into_iter().filter(|q| asked(q)) {
            for sink in ["floor", "blackhole", "topic"] {
                if query == "read" && sink != "floor" {
                    continue;
                }
                // The floor of q0 and q1 writes, so the engine has to.
                let copies = query == "q0" || query == "q1";
                if sink != "floor" && !wanted("sink", sink) || copies && sink == "blackhole" {
                    continue;
                }
                for (events, truth) in sizes.iter().copied().zip(&truths) {
                    let usage = child(options, &broker, (query, sink), (events, truth), &[])?;
                    let entry = least.entry(((query, sink), events)).or_insert(usage);
                    *entry = entry.least(&usage);
                }
            }
        }
    }
    let mut out = options.get("json").map(std::fs::File::create).transpose()?;
    for (query, sink) in least.keys().map(|k| k.0).collect::<std::collections::BTreeSet<_>>() {
        if sink == "floor" && query != "read" {
            continue;
        }
        let slope = |sink: &'static str, of: fn(&Usage) -> f64| {
            let (from, to) = (&least[&((query, sink), small)], &least[&((query, sink), large)]);
            (of(to) - of(from)) / (large - small) as f64 * 1e6
        };
        let (engine, floor) = (slope(sink, |u| u.cpu), slope("floor", |u| u.cpu));
        let line = json!({
            "query": query, "sink": sink, "engine_us": round(engine), "floor_us": round(floor),
            "e": round(floor / engine), "broker_us": round(slope(sink, |u| u.broker)),
            "rss_mb": round(least[&((query, sink), large)].rss),
            "floor_rss_mb": round(least[&((query, "floor"), large)].rss),
            "fixed_s": round(least[&((query, sink), small)].cpu - engine * small as f64 / 1e6),
            "sizes": sizes, "time": options.or("time", "column"), "host": host::facts(),
        });
        println!("{line}");
        if let Some(out) = &mut out {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

fn round(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

/// One measurement in a process of its own.
fn child(
    options: &Options,
    broker: &Broker,
    case: Case,
    (events, truth): (u64, &topics::Truth),
    extra: &[&str],
) -> Fallible<Usage> {
    let (query, sink) = case;
    let output = Command::new("taskset")
        .args(["-c", options.or("core", "0")])
        .arg(std::env::current_exe()?)
        .args(["--child", if sink == "floor" { "floor" } else { "engine" }])
        .args(["--query", query, "--sink", sink, "--time", options.or("time", "column")])
        .args(["--bootstrap", &broker.bootstrap, "--pid", &broker.pid])
        .args(["--topic", &topics::name(events), "--events", &events.to_string()])
        .args(extra)
        .output()
        .map_err(|e| format!("taskset (util-linux) does not start: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next_back().unwrap_or_default();
    if !output.status.success() {
        return Err(format!("{case:?} failed: {} {line}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let facts: Value = serde_json::from_str(line)?;
    let usage = Usage::read(&facts)?;
    let expected = if query == "q2" { truth.matches } else { events };
    let found = facts["result"].as_u64();
    if found.is_some_and(|found| found != expected) {
        return Err(format!("{case:?} on {events} events: {found:?} instead of {expected}").into());
    }
    eprintln!("{query:<8}{sink:<11}{events:>9} events  cpu {:6.2} s  broker {:5.2} s", usage.cpu, usage.broker);
    Ok(usage)
}
