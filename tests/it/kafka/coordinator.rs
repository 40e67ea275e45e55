//! A group coordinator that is away while the rest of the cluster responds.

use super::away::move_to_second;
use super::*;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// Environment of the process that deletes a group: the address of the cluster.
const JOB: &str = "TIDEGATE_TEST_DELETER";
/// Time for the coordinator to load its offsets.
const BACK_MAX: Duration = Duration::from_secs(60);

/// Not a test (it has nothing to do without a job) but the process of the one below: deletes a group in vain, then again for each
/// line that it reads.
#[test]
#[expect(clippy::disallowed_methods, reason = "the job comes through the environment of this process")]
fn deleter() {
    let Ok(bootstrap) = std::env::var(JOB) else { return };
    let log = connect(&bootstrap);
    let _ = writeln!(std::io::stderr(), "READY");
    for line in std::io::stdin().lines() {
        let deleted = log.delete_group("someone");
        let said = match deleted {
            Ok(()) => "done".to_owned(),
            Err(error) => format!("{:?} {}: {:?}", error.kind(), error.message(), error.detail()),
        };
        let _ = writeln!(std::io::stderr(), "DELETED {} {said}", line.unwrap());
    }
}

struct Deleter {
    process: Child,
    said: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Deleter {
    fn start(bootstrap: &str) -> Deleter {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kafka::coordinator::deleter", "--nocapture", "--test-threads=1"])
            .env(JOB, bootstrap)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut deleter = Deleter { process, said };
        deleter.hear("READY");
        deleter
    }

    /// Its next line of this kind; an error of the process is what it said last.
    fn hear(&mut self, word: &str) -> String {
        let mut last = String::new();
        loop {
            let line = self.said.next().unwrap_or_else(|| panic!("it ended: {last}")).unwrap();
            match line.strip_prefix(word) {
                Some(rest) => return rest.trim().to_owned(),
                None => last = line,
            }
        }
    }

    fn delete(&mut self, name: &str) -> String {
        writeln!(self.process.stdin.as_mut().unwrap(), "{name}").unwrap();
        self.hear("DELETED")
    }
}

impl Drop for Deleter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In a process of its own: librdkafka has assertions on requests that end before their coordinator is found.
#[test]
fn a_group_is_deleted_once_its_coordinator_is_back() {
    let Some(broker) = broker::own("a_group_is_deleted_once_its_coordinator_is_back") else { return };
    let log = connect(&broker.bootstrap);
    // Makes the topic of the offsets.
    drop(log.transactional_writer(&spec("someone", 1), &Sole::claim()).unwrap());
    let other = broker.joined();
    move_to_second(&broker, "__consumer_offsets");
    let mut deleter = Deleter::start(&broker.bootstrap);
    assert_eq!(deleter.delete("found"), "found done");
    other.signal("KILL");
    let said = deleter.delete("away");
    assert!(said.starts_with("away Io could not delete group someone"), "{said}");
    other.restart();
    until("the coordinator is back", BACK_MAX, || (deleter.delete("back") == "back done").then_some(()));
    // The offsets of the writers that live are read where they are now.
    assert_eq!(log.committed("someone", &[at("in", 0)]).unwrap(), [None]);
}
