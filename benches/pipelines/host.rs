//! What the system says about processes, and the broker's process.

use crate::Fallible;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Linux counts CPU time for user space in ticks of this many a second.
const TICKS: f64 = 100.0;
/// `broker.sh`: Java or Maven is missing.
const SKIP: i32 = 77;

/// What a measurement took: seconds of CPU time here and in the broker, peak memory in MB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu: f64,
    pub(crate) broker: f64,
    pub(crate) rss: f64,
}

impl Usage {
    /// Of two runs of the same work the less disturbed parts.
    pub(crate) fn least(&self, other: &Usage) -> Usage {
        Usage { cpu: self.cpu.min(other.cpu), broker: self.broker.min(other.broker), rss: self.rss.max(other.rss) }
    }

    pub(crate) fn read(facts: &Value) -> Fallible<Usage> {
        let number = |name: &str| facts[name].as_f64().ok_or_else(|| format!("the child did not tell {name}"));
        Ok(Usage { cpu: number("cpu")?, broker: number("broker")?, rss: number("rss")? })
    }
}

/// Prints this process's usage and its result: the last thing that a child does before it looks at what it wrote.
pub(crate) struct Meter {
    pid: String,
    broker_before: f64,
}

impl Meter {
    pub(crate) fn start(broker: &str) -> Fallible<Meter> {
        Ok(Meter { pid: broker.to_owned(), broker_before: cpu_of(broker)? })
    }

    pub(crate) fn stop(&self) -> Fallible<Usage> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        let kilobytes: f64 = peak.trim().trim_end_matches("kB").trim().parse()?;
        Ok(Usage { cpu: cpu_of("self")?, broker: cpu_of(&self.pid)? - self.broker_before, rss: kilobytes / 1024.0 })
    }
}

/// Says what a child measured. `result` is checked by the parent.
pub(crate) fn tell(usage: &Usage, result: Option<u64>) {
    println!("{}", json!({"cpu": usage.cpu, "broker": usage.broker, "rss": usage.rss, "result": result}));
}

/// User and system time of a process with all its threads.
fn cpu_of(pid: &str) -> Fallible<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ").ok_or("an odd /proc/PID/stat")?.1.split(' ').collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS)
}

/// What to know about the machine when numbers are compared.
pub(crate) fn facts() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
    json!({
        "cpu": model.trim_start_matches([' ', '\t', ':']),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": read("/proc/loadavg").split(' ').next(),
    })
}

/// The broker that is measured against.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    pub(crate) pid: String,
    folder: PathBuf,
    /// Started here, to be stopped and removed here.
    ours: bool,
}

impl Broker {
    /// The running broker of `folder`, or one that this process starts; `None` = it cannot be started on this machine.
    pub(crate) fn open(folder: Option<&str>) -> Fallible<Option<Broker>> {
        let ours = folder.is_none();
        let own = || std::env::temp_dir().join(format!("tidegate-bench-{}", std::process::id()));
        let folder = folder.map_or_else(own, PathBuf::from);
        if ours {
            let watched = std::process::id().to_string();
            let mut start = script("start", &folder);
            // A broker with the heap of a small production one.
            let status = start.arg(watched).env("KAFKA_HEAP", "1g").stdout(Stdio::null()).status()?;
            match status.code() {
                Some(0) => {}
                Some(SKIP) => return Ok(None),
                _ => return Err("the broker did not start".into()),
            }
        }
        let (bootstrap, pid) = (answer("port", &folder)?, answer("pid", &folder)?);
        Ok(Some(Broker { bootstrap, pid, folder, ours }))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.ours {
            // What cannot be stopped or removed here has no other owner to tell.
            let _ = script("stop", &self.folder).status();
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn script(action: &str, folder: &Path) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/broker.sh"));
    command.arg(action).arg(folder).stdin(Stdio::null());
    command
}

fn answer(action: &str, folder: &Path) -> Fallible<String> {
    let output = script(action, folder).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
