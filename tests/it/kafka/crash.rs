//! Owners that die and brokers that stall: every row once.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use tidegate::error::Kind;
use tidegate::log::Outcome;

/// Rows of one epoch of the helper.
const ROWS: i64 = 20;
/// Environment of the helper process: `BOOTSTRAP OUT GROUP`.
const JOB: &str = "TIDEGATE_TEST_WRITER";

/// Not a test (it has nothing to do without a job) but the process that the tests below kill: writes numbered rows, epoch by epoch, going on where the
/// committed offset stands. Its input is imaginary: offset n means that the rows below n were written.
#[test]
#[expect(clippy::disallowed_methods, reason = "the job comes through the environment of this process")]
fn writer() {
    let Ok(job) = std::env::var(JOB) else { return };
    let [bootstrap, out, group] = job.split(' ').collect::<Vec<_>>()[..] else { panic!("{job}") };
    let log = connect(bootstrap);
    let spec = SessionSpec { group: group.into(), slot: "slot-0".into(), tasks: 2 };
    let say = |text: String| writeln!(std::io::stderr(), "{text}").unwrap();
    let mut session = match log.session(&spec) {
        Ok(session) => session,
        Err(error) => return say(format!("REFUSED {:?} {error}", error.kind())),
    };
    let mut next = session.committed(&[at(out, 0)]).unwrap()[0].as_ref().map_or(0, |o| o.offset);
    say(format!("READY {next}"));
    loop {
        match write_epoch(&mut *session, out, next) {
            Outcome::Committed => next += ROWS,
            Outcome::Aborted { retry_after, .. } => std::thread::sleep(retry_after),
            Outcome::Fenced { reason } => return say(format!("FENCED {reason}")),
        }
    }
}

fn write_epoch(session: &mut dyn tidegate::log::Session, out: &str, next: i64) -> Outcome {
    let mut records = RecordSet::default();
    for id in next..next + ROWS {
        records.push((id % 2) as i32, id, None, Some(id.to_string().as_bytes()));
    }
    session.commit(&epoch(out, records, vec![(at(out, 0), offset(next + ROWS, ""))], "")).unwrap()
}

/// The helper process and what it says first.
fn start(bootstrap: &str, out: &str, group: &str) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kafka::crash::writer", "--nocapture", "--test-threads=1"])
        .env(JOB, format!("{bootstrap} {out} {group}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = loop {
        let line = lines.next().expect("the helper says something").unwrap();
        if ["READY", "REFUSED", "FENCED"].iter().any(|word| line.starts_with(word)) {
            break line;
        }
    };
    // Its last words go nowhere, but the pipe stays open.
    std::thread::spawn(move || lines.for_each(drop));
    (child, first)
}

/// Every id below the committed offset exactly once, and in order within its partition.
fn assert_exact(log: &KafkaLog, out: &str, group: &str) -> i64 {
    // The open transaction of a dead owner ends first.
    read_settled(log, out, 0);
    let committed = settled_offset(log, out, group);
    for partition in 0..2 {
        let found = values(&read_settled(log, out, partition));
        let expected: Vec<_> =
            (0..committed).filter(|id| id % 2 == i64::from(partition)).map(|id| id.to_string()).collect();
        assert!(found == expected, "partition {partition}, committed {committed}: {}", difference(&found, &expected));
    }
    committed
}

/// What tells two lists of ids apart: which are there twice, which are missing, which are beyond the committed offset.
fn difference(found: &[String], expected: &[String]) -> String {
    let count = |list: &[String], id: &String| list.iter().filter(|x| *x == id).count();
    let twice: Vec<_> = expected.iter().filter(|id| count(found, id) > 1).collect();
    let missing: Vec<_> = expected.iter().filter(|id| count(found, id) == 0).collect();
    let beyond: Vec<_> = found.iter().filter(|id| count(expected, id) == 0).collect();
    format!("{} rows for {}; twice {twice:?}, missing {missing:?}, beyond {beyond:?}", found.len(), expected.len())
}

/// The committed offset, once it rests: a broker writes the markers of one transaction to the offsets' partition and to
/// the rows' partitions one after the other, so that for a moment rows can be seen whose offsets cannot.
fn settled_offset(log: &KafkaLog, out: &str, group: &str) -> i64 {
    let mut last = None;
    loop {
        let now = log.committed(group, &[at(out, 0)]).unwrap()[0].as_ref().map(|c| c.offset);
        if last == Some(now) {
            return now.expect("something was committed");
        }
        last = Some(now);
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn a_killed_owner_comes_back_at_once_and_every_row_is_there_once() {
    let test = "a_killed_owner_comes_back_at_once_and_every_row_is_there_once";
    let (Some(log), Some(broker)) = (subject(test), broker::shared(test)) else { return };
    let (out, group) = (topic(&log, "kill", 2).name, fresh("kill"));
    let mut slowest = Duration::ZERO;
    for round in 0..6u64 {
        let begin = Instant::now();
        let (mut child, first) = start(&broker.bootstrap, &out, &group);
        assert!(first.starts_with("READY"), "{first}");
        if round > 0 {
            slowest = slowest.max(begin.elapsed());
        }
        // Another process is refused while this one lives, and told who that is.
        if round == 2 {
            let (mut second, answer) = start(&broker.bootstrap, &out, &group);
            assert!(answer.starts_with("REFUSED Busy"), "{answer}");
            assert!(answer.contains(&format!("process {}", child.id())), "{answer}");
            second.wait().unwrap();
            let error =
                log.session(&SessionSpec { group: group.clone(), slot: "slot-0".into(), tasks: 2 }).unwrap_err();
            assert_eq!(error.kind(), Kind::Busy);
        }
        std::thread::sleep(Duration::from_millis(150 + round * 37));
        broker::signal(&child.id().to_string(), "KILL");
        // Every second time the dead process is a zombie when the next one looks.
        if round % 2 == 0 {
            child.wait().unwrap();
        } else {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(3));
                child.wait()
            });
        }
    }
    let rows = assert_exact(&log, &out, &group);
    assert!(rows > 6 * ROWS, "{rows}");
    assert!(slowest < Duration::from_secs(4), "a restart took {slowest:?}");
    let _ = writeln!(std::io::stderr(), "kill -9: {rows} rows exact, slowest restart {slowest:?}");
}

/// A broker that stalls in the middle of commits leaves their outcome unknown; each must be resolved.
#[test]
fn a_stalled_or_killed_broker_doubles_and_loses_nothing() {
    let Some(broker) = broker::own("a_stalled_or_killed_broker_doubles_and_loses_nothing") else { return };
    let log = connect(&broker.bootstrap);
    let (out, spec) = (topic(&log, "stall", 2).name, spec("stall", 2));
    let mut session = log.session(&spec).unwrap();
    let mut next = 0;
    std::thread::scope(|scope| {
        let nemesis = scope.spawn(|| {
            for pause in [300, 2000, 12_000] {
                std::thread::sleep(Duration::from_millis(700));
                broker.signal("STOP");
                std::thread::sleep(Duration::from_millis(pause));
                broker.signal("CONT");
            }
            std::thread::sleep(Duration::from_millis(700));
            broker.signal("KILL");
            broker.restart();
            std::thread::sleep(Duration::from_millis(700));
        });
        while !nemesis.is_finished() {
            match write_epoch(&mut *session, &out, next) {
                Outcome::Committed => next += ROWS,
                Outcome::Aborted { retry_after, reason } => {
                    let _ = writeln!(std::io::stderr(), "aborted: {reason}");
                    std::thread::sleep(retry_after);
                }
                Outcome::Fenced { reason } => panic!("{reason}"),
            }
        }
        nemesis.join().unwrap();
    });
    assert!(matches!(write_epoch(&mut *session, &out, next), Outcome::Committed));
    drop(session);
    assert_eq!(assert_exact(&log, &out, &spec.group), next + ROWS);
}
