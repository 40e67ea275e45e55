//! Identity of a process in the client id of its group members, from which a restarted process sees at once whether the holder
//! of its slot is dead (K1): `tidegate@HOST:PID:START:MACHINE`.
//!
//! START is the kernel's start time of the process, because process ids are reused; MACHINE is the boot and the namespace in
//! which the process id is valid. Systems other than Linux do not provide them: then both are `-`, and the liveness is unknown.

use crate::config;
use crate::error::{Error, Kind};
use std::fs;

/// Liveness of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Liveness {
    /// Runs, or is suspended and can be continued.
    Alive,
    /// Has ended.
    Dead,
    /// Runs on another machine, or is not a Tidegate process.
    Unknown,
}

/// Client id of the members of this process.
pub(super) fn own() -> String {
    let pid = std::process::id();
    let start = process(pid).map_or("-".to_owned(), |p| p.start);
    format!("tidegate@{}:{pid}:{start}:{}", host(), machine())
}

/// Liveness of the process with this client id.
pub(super) fn liveness(client: &str) -> Liveness {
    let Some(parts) = parse(client) else { return Liveness::Unknown };
    if parts.machine != machine() || parts.machine == "-" || parts.start == "-" || parts.host != host() {
        return Liveness::Unknown;
    }
    match process(parts.pid) {
        Some(p) if p.start == parts.start && !p.ended => Liveness::Alive,
        _ => Liveness::Dead,
    }
}

/// The process in words: `process 4711 on host box`.
pub(super) fn describe(client: &str) -> String {
    match parse(client) {
        Some(parts) => format!("process {} on host {}", parts.pid, parts.host),
        None => format!("client {client}"),
    }
}

/// The error for a slot that is taken.
pub(super) fn busy(group: &str, client: &str) -> Error {
    let who = describe(client);
    Error::new(Kind::Busy, format!("another Tidegate process with this service id is running: {who}"))
        .with_detail(format!("it writes group {group}"))
        .with_hint("stop that process, or start this one with another service id (ksql.service.id)")
}

/// Is it this very process?
pub(super) fn is_own(client: &str) -> bool {
    client == own()
}

struct Parts<'a> {
    host: &'a str,
    pid: u32,
    start: &'a str,
    machine: &'a str,
}

fn parse(client: &str) -> Option<Parts<'_>> {
    let mut parts = client.strip_prefix("tidegate@")?.rsplitn(4, ':');
    let (machine, start, pid, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(Parts { host, pid: pid.parse().ok()?, start, machine })
}

struct Process {
    start: String,
    /// It has ended, but its parent has not collected its exit code yet (a zombie).
    ended: bool,
}

/// State and start time from `/proc/PID/stat` (proc_pid_stat(5)). The name in brackets may contain anything, so fields are
/// counted from its end.
fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.to_owned();
    Some(Process { start, ended: matches!(state, "Z" | "X" | "x") })
}

fn host() -> String {
    config::host_name().unwrap_or_else(|| "-".to_owned())
}

/// First digits of the boot id, and the process id namespace.
fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let space = fs::read_link("/proc/self/ns/pid").ok();
    match (boot, space) {
        (Some(boot), Some(space)) => {
            let digits: String = space.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
            format!("{}.{digits}", boot.trim().get(..8).unwrap_or("-"))
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_an_ended_one_does_not() {
        assert!(is_own(&own()));
        assert_eq!(liveness(&own()), Liveness::Alive);
        let other = own().replace(&format!(":{}:", std::process::id()), ":4194304:");
        assert_eq!(liveness(&other), Liveness::Dead);
    }

    #[test]
    fn a_zombie_child_is_dead() {
        let mut child = std::process::Command::new("true").spawn().expect("`true` exists everywhere");
        let start = process(child.id()).map_or("0".to_owned(), |p| p.start);
        let client = format!("tidegate@{}:{}:{start}:{}", host(), child.id(), machine());
        while !process(child.id()).is_some_and(|p| p.ended) {
            std::thread::yield_now();
        }
        assert_eq!(liveness(&client), Liveness::Dead);
        child.wait().expect("it has ended");
    }

    #[test]
    fn strangers_are_unknown() {
        assert_eq!(liveness("rdkafka"), Liveness::Unknown);
        assert_eq!(liveness("tidegate@elsewhere:1:1:abc.1"), Liveness::Unknown);
        assert_eq!(describe("tidegate@a:b:17:1:abc.1"), "process 17 on host a:b");
    }
}
