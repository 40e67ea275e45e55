//! What the operating system says about this process. Unknown where there is no `/proc`.

use crate::config::Config;
use parking_lot::Mutex;
use std::path::Path;
use std::time::Duration;

/// Clock ticks per second in `/proc`: fixed for programs, whatever the kernel uses itself (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
/// Number of the first field behind the name of the process, as proc(5) counts them.
const STAT_FIELDS_BEFORE: usize = 3;

/// Facts of this process; `None` = unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFacts {
    /// Memory that it uses.
    pub resident_bytes: Option<u64>,
    /// Memory that is mapped.
    pub virtual_bytes: Option<u64>,
    /// Open files.
    pub open_files: Option<u64>,
    /// How many it may open.
    pub open_files_max: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Processor time that it has used.
    pub cpu_seconds: Option<f64>,
    /// When it was started, in seconds since 1970.
    pub started_seconds: Option<f64>,
}

impl ProcessFacts {
    /// The present values.
    pub fn read() -> ProcessFacts {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let files = std::fs::read_dir("/proc/self/fd").ok();
        let facts = ProcessFacts {
            // One of them is the folder that is being read.
            open_files: files.map(|files| files.count().saturating_sub(1) as u64),
            ..ProcessFacts::default()
        };
        facts
            .with_status(&text("/proc/self/status"))
            .with_stat(&text("/proc/self/stat"), &text("/proc/stat"))
            .with_limits(&text("/proc/self/limits"))
    }

    fn with_status(self, status: &str) -> ProcessFacts {
        let number = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
        };
        ProcessFacts { resident_bytes: number("VmRSS").map(|kb| kb * 1024), threads: number("Threads"), ..self }
    }

    /// `stat` is that of the process: fields behind the name in parentheses, which may contain anything.
    fn with_stat(self, stat: &str, system: &str) -> ProcessFacts {
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        // proc(5) counts from 1: the state behind the name is field 3.
        let field = |number: usize| fields.get(number - STAT_FIELDS_BEFORE).and_then(|text| text.parse::<u64>().ok());
        let booted = system.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
        ProcessFacts {
            cpu_seconds: field(14).zip(field(15)).map(|(user, kernel)| (user + kernel) as f64 / TICKS_PER_SECOND),
            started_seconds: booted.zip(field(22)).map(|(boot, ticks)| boot + ticks as f64 / TICKS_PER_SECOND),
            virtual_bytes: field(23),
            ..self
        }
    }

    fn with_limits(self, limits: &str) -> ProcessFacts {
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        ProcessFacts { open_files_max: line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()), ..self }
    }
}

/// Bytes that are free for this process on the disk of a folder.
pub fn disk_free(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The same on the disk that holds the log, or what queries spill where the log is a cluster's.
pub fn disk_free_of(config: &Config) -> Option<u64> {
    match &config.log {
        crate::config::LogConfig::Embedded(dir) => disk_free(dir),
        _ => disk_free(&config.scratch_dir().unwrap_or_else(std::env::temp_dir)),
    }
}

/// How old the size of the data directory may be: a walk takes a system call per file, and scrapes come every few seconds.
pub const LOG_BYTES_AGE: Duration = Duration::from_secs(30);

/// The size of the data directory, measured once for many scrapes.
#[derive(Debug, Default)]
pub struct LogSize {
    /// When it was measured, and what it was.
    measured: Mutex<Option<(Duration, Option<u64>)>>,
}

impl LogSize {
    /// The size of at most [`LOG_BYTES_AGE`] ago; `now` is by the monotonic clock.
    pub fn get(&self, config: &Config, now: Duration) -> Option<u64> {
        let known = *self.measured.lock();
        if let Some((_, bytes)) = known.filter(|(at, _)| now.saturating_sub(*at) < LOG_BYTES_AGE) {
            return bytes;
        }
        // Two scrapes may both measure; neither waits for the other.
        let bytes = log_bytes(config);
        *self.measured.lock() = Some((now, bytes));
        bytes
    }
}

/// Files and folders that are added up at most: a scrape must not read a disk for long.
const FILES_MAX: usize = 100_000;

/// Bytes of the files of the data directory; `None` = the log is in memory or a cluster's.
fn log_bytes(config: &Config) -> Option<u64> {
    let crate::config::LogConfig::Embedded(dir) = &config.log else { return None };
    let (mut folders, mut bytes, mut seen) = (vec![dir.clone()], 0, 0);
    while let Some(folder) = folders.pop() {
        // A folder may be deleted meanwhile.
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            match entry.metadata() {
                Ok(meta) if meta.is_dir() && seen < FILES_MAX => folders.push(entry.path()),
                Ok(meta) if meta.is_file() => bytes += meta.len(),
                _ => {}
            }
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_read() {
        let mut stat = "7 (a (b) c) S".to_owned();
        (4..=23).for_each(|number| stat.push_str(&format!(" {}", number * 100)));
        let facts = ProcessFacts::default()
            .with_status("Name:\ttidegate\nVmRSS:\t  2048 kB\nThreads:\t9\n")
            .with_stat(&stat, "cpu 1 2\nbtime 1000\n")
            .with_limits("Limit Soft Hard Units\nMax open files            1024      4096      files\n");
        assert_eq!((facts.resident_bytes, facts.threads), (Some(2 * 1024 * 1024), Some(9)));
        assert_eq!(facts.cpu_seconds, Some(29.0), "user and kernel time");
        assert_eq!(facts.started_seconds, Some(1022.0));
        assert_eq!((facts.virtual_bytes, facts.open_files_max), (Some(2300), Some(1024)));
        let none = ProcessFacts::default().with_status("").with_stat("", "").with_limits("");
        assert_eq!(none, ProcessFacts::default());
    }
}
