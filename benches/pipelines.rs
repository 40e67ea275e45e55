//! What a query costs per event, beside the floor: `cargo bench --bench pipelines -- --json OUT`.
//!
//! Deterministic bids in a real Kafka topic; q2 (a filter) and a tumbling count, into a blackhole and into a topic. Each run
//! is a process of its own, pinned to one core, that reports its user and system time when everything is processed and
//! committed; the cost per event is the slope between two sizes, so that starting up does not count. One JSON line each:
//!
//! ```text
//! {"query":"q2","sink":"blackhole","engine_us":..,"floor_us":..,"e":..,"broker_us":..,"rss_mb":..}
//! ```
//! `e` is floor / engine, both measured in the same minutes. `--events 1000000,5000000` sets the sizes, `--runs 3` how
//! often each is measured; the median counts.

#[path = "bids.rs"]
mod bids;
#[path = "../tests/support/broker.rs"]
mod broker;
#[path = "pipelines/engine.rs"]
mod engine;
#[path = "pipelines/floor.rs"]
mod floor;
#[path = "pipelines/load.rs"]
mod load;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use tidegate::config::{Config, LogConfig};
use tidegate::error::{Error, Result};
use tidegate::log::Log;
use tidegate::log::kafka::{KafkaLog, KafkaSettings};
use tidegate::types::clock::{SharedClock, SystemClock};

/// Clock ticks a second in /proc/PID/stat: 100 on every Linux that we run on.
const TICKS: f64 = 100.0;

struct Options {
    json: Option<String>,
    sizes: Vec<u64>,
    runs: usize,
}

#[expect(clippy::print_stdout, reason = "a bench tells on its output what it measured")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.iter().position(|w| w == "--worker") {
        Some(at) => worker(&words[at + 1..]).map(|line| println!("{line}")),
        None => all(&options(&words)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("pipelines: {e:?}");
            ExitCode::FAILURE
        }
    }
}

fn options(words: &[String]) -> Options {
    let after = |name: &str| words.iter().position(|w| w == name).and_then(|at| words.get(at + 1));
    let sizes = after("--events").map(String::as_str).unwrap_or("1000000,5000000");
    Options {
        json: after("--json").cloned(),
        sizes: sizes.split(',').filter_map(|n| n.parse().ok()).collect(),
        runs: after("--runs").and_then(|n| n.parse().ok()).unwrap_or(3),
    }
}

fn connect(bootstrap: &str, clock: &SharedClock) -> Result<Arc<dyn Log>> {
    let settings = KafkaSettings { bootstrap: bootstrap.to_owned(), properties: BTreeMap::new() };
    Ok(KafkaLog::connect(settings, clock.clone())?)
}

/// One run: `floor|engine QUERY SINK BOOTSTRAP TOPIC EVENTS SERVICE`.
fn worker(words: &[String]) -> Result<Value> {
    let [what, query, sink, bootstrap, topic, events, service] = words else {
        return Err(Error::bug("a worker has seven words"));
    };
    let clock = SystemClock::shared();
    let log = connect(bootstrap, &clock)?;
    let events = events.parse().map_err(|_| Error::bug("the number of events is no number"))?;
    let rows = match what.as_str() {
        "floor" => floor::run(&*log, topic, query, events)?,
        _ => {
            let mut config =
                Config::new(LogConfig::Kafka { bootstrap: bootstrap.clone(), properties: BTreeMap::new() });
            config.service_id.clone_from(service);
            engine::run(log, clock, config, &engine::Job { topic, query, sink, events })?
        }
    };
    Ok(json!({ "rows": rows, "cpu_s": cpu_s("self")?, "rss_mb": rss_mb()? }))
}

/// User and system time of a process.
fn cpu_s(pid: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / TICKS)
}

/// The most memory that this process held.
fn rss_mb() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0");
    Ok(line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024)
}

#[expect(clippy::print_stdout, reason = "a bench tells on its output what it measured")]
fn all(options: &Options) -> Result<()> {
    let bootstrap = match broker::bootstrap() {
        broker::Broker::At(bootstrap) => bootstrap,
        broker::Broker::Missing(why) => {
            println!("pipelines: skipped: {why}");
            return Ok(());
        }
        broker::Broker::Broken(why) => return Err(Error::io(why)),
    };
    let [small, large] = options.sizes[..] else { return Err(Error::statement("--events takes SMALL,LARGE")) };
    let clock = SystemClock::shared();
    let log = connect(&bootstrap, &clock)?;
    for size in [small, large] {
        load::produce(&*log, &format!("bids-{size}"), size)?;
    }
    let mut lines = String::new();
    let mut serial = 0;
    for query in ["q2", "tumble"] {
        for sink in ["blackhole", "topic"] {
            let mut found = Vec::new();
            for _ in 0..options.runs {
                serial += 1;
                let floor = slope("floor", query, sink, &bootstrap, [small, large], serial)?;
                let engine = slope("engine", query, sink, &bootstrap, [small, large], serial)?;
                found.push((engine.cpu_us, floor.cpu_us, engine.broker_us, engine.rss_mb));
            }
            found.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
            let (engine, floor, broker, rss) = found[found.len() / 2];
            let line = json!({
                "query": query, "sink": sink, "engine_us": round(engine), "floor_us": round(floor),
                "e": round(floor / engine), "broker_us": round(broker), "rss_mb": rss,
            });
            println!("{line}");
            lines += &format!("{line}\n");
        }
    }
    if let Some(path) = &options.json {
        std::fs::File::create(path)?.write_all(lines.as_bytes())?;
    }
    broker::stop();
    Ok(())
}

fn round(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

struct Slope {
    cpu_us: f64,
    broker_us: f64,
    rss_mb: u64,
}

fn slope(what: &str, query: &str, sink: &str, bootstrap: &str, sizes: [u64; 2], serial: u32) -> Result<Slope> {
    let mut measured = Vec::new();
    for size in sizes {
        let broker = broker::pid().unwrap_or_default();
        let before = cpu_s(&broker)?;
        let service = format!("bench_{query}_{sink}_{serial}_{size}_");
        let topic = format!("bids-{size}");
        let core = std::thread::available_parallelism().map_or(0, |n| n.get() - 1);
        let output = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .arg(std::env::current_exe()?)
            .args(["--worker", what, query, sink, bootstrap, &topic, &size.to_string(), &service])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line: Value =
            text.lines().last().and_then(|l| serde_json::from_str(l).ok()).ok_or_else(|| {
                Error::io(format!("a worker failed: {text}{}", String::from_utf8_lossy(&output.stderr)))
            })?;
        measured.push((
            line["cpu_s"].as_f64().unwrap_or(0.0),
            cpu_s(&broker)? - before,
            line["rss_mb"].as_u64().unwrap_or(0),
        ));
    }
    let events = (sizes[1] - sizes[0]) as f64 / 1e6;
    Ok(Slope {
        cpu_us: (measured[1].0 - measured[0].0) / events,
        broker_us: (measured[1].1 - measured[0].1) / events,
        rss_mb: measured[1].2,
    })
}
