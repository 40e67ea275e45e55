//! The implementations that need nothing from outside.

use super::{Subject, run};
use std::sync::Arc;
use tempfile::TempDir;
use tidegate::log::Log;
use tidegate::log::embedded::{EmbeddedLog, EmbeddedOptions};
use tidegate::log::simulated::SimulatedLog;
use tidegate::types::clock::SystemClock;

struct Disk {
    directory: TempDir,
    options: EmbeddedOptions,
    log: Option<Arc<EmbeddedLog>>,
}

impl Disk {
    fn new(options: EmbeddedOptions) -> Disk {
        let directory = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(directory.path(), options, SystemClock::shared()).unwrap();
        Disk { directory, options, log: Some(log) }
    }
}

impl Subject for Disk {
    fn log(&self) -> Arc<dyn Log> {
        self.log.clone().unwrap()
    }

    fn reopen(&mut self) {
        self.log = None;
        self.log = Some(EmbeddedLog::open(self.directory.path(), self.options, SystemClock::shared()).unwrap());
    }

    fn refuses_second_session(&self) -> bool {
        true
    }
}

struct Memory(Arc<dyn Log>, bool);

impl Subject for Memory {
    fn log(&self) -> Arc<dyn Log> {
        self.0.clone()
    }

    fn reopen(&mut self) {}

    fn refuses_second_session(&self) -> bool {
        self.1
    }
}

#[test]
fn embedded_on_disk() {
    run(|| Box::new(Disk::new(EmbeddedOptions::default())));
}

/// Tiny files: every commit starts a segment, and the journal is compacted all the time.
#[test]
fn embedded_on_disk_in_tiny_files() {
    let options = EmbeddedOptions { segment_bytes: 100, journal_bytes: 100, ..EmbeddedOptions::default() };
    run(move || Box::new(Disk::new(options)));
}

#[test]
fn embedded_in_memory() {
    run(|| Box::new(Memory(EmbeddedLog::in_memory(SystemClock::shared()).unwrap(), true)));
}

#[test]
fn simulated() {
    run(|| Box::new(Memory(SimulatedLog::new(7, SystemClock::shared()), false)));
}
