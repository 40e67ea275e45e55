//! A test in a process of its own: a test that crashes, hangs or takes memory does so alone, and is reported.
//!
//! The test binary starts itself with the name of the one test and a mark in the environment; the child does the work.

use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::Duration;
use tidegate::config::environment;
use tidegate::types::clock::SystemClock;

/// Names the test that is meant to do its work here.
const MARK: &str = "TIDEGATE_TEST_ALONE";
/// End of the child's output that is shown when it fails.
const SHOWN_BYTES: usize = 6_000;
/// How much more memory the work may take at its peak than it had at its beginning.
pub(crate) const GROWTH_MAX_BYTES: u64 = 64 << 20;

/// Does `work` in a process of its own, which has to end well within `limit`. `module` is the caller's `module_path!()`,
/// `test` the name of its function.
pub(crate) fn alone(module: &str, test: &str, limit: Duration, work: impl FnOnce()) {
    let name = format!("{}::{test}", module.split_once("::").map_or("", |(_, path)| path));
    if environment(MARK).is_some_and(|marked| marked == name) {
        return work();
    }
    let mut output = tempfile::tempfile().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture"])
        .env(MARK, &name)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output.try_clone().unwrap())
        .spawn()
        .unwrap();
    let clock = SystemClock::shared();
    let end = clock.monotonic() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if clock.monotonic() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        clock.sleep(Duration::from_millis(50));
    };
    let mut told = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut told).unwrap();
    let shown = &told[told.ceil_char_boundary(told.len().saturating_sub(SHOWN_BYTES))..];
    let status = status.unwrap_or_else(|| panic!("{name} hangs: it was stopped after {limit:?}\n{shown}"));
    assert!(status.success(), "{name} alone ended with {status}\n{shown}");
    assert!(told.contains("1 passed"), "there is no test {name}\n{shown}");
    eprint!("{}", told.lines().filter(|l| l.starts_with("# ")).map(|l| format!("{l}\n")).collect::<String>());
}

/// What this process takes; not where the system does not tell.
#[derive(Debug)]
pub(crate) struct Memory {
    begin: Option<u64>,
}

impl Memory {
    /// From here on.
    pub(crate) fn begin() -> Memory {
        Memory { begin: bytes("VmHWM:") }
    }

    /// The peak may not have grown beyond the limit.
    pub(crate) fn check(&self) {
        if let (Some(begin), Some(now)) = (self.begin, bytes("VmHWM:")) {
            let grown = now.saturating_sub(begin);
            eprintln!("# grown by {} KiB from {} KiB", grown >> 10, begin >> 10);
            assert!(grown <= GROWTH_MAX_BYTES, "memory grew by {grown} bytes from {begin}");
        }
    }
}

fn bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with(field))?;
    Some(line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

/// Bytes that this process has read by system calls; `None` where the system does not tell.
pub(crate) fn bytes_read() -> Option<u64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|l| l.strip_prefix("rchar: "))?.parse().ok()
}
