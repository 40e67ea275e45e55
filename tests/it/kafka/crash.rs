//! Owners that die and brokers that stall: every row once.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64};
use tidegate::log::CommitOutcome;

/// Rows of one epoch of the helper.
const ROWS: i64 = 20;
/// Environment of the helper process: `BOOTSTRAP OUT GROUP`.
const JOB: &str = "TIDEGATE_TEST_WRITER";

/// Not a test (it has nothing to do without a job) but the process that the tests below kill: writes numbered rows, epoch by epoch, going on where the
/// committed offset is. Its input is imaginary: offset n means that the rows below n were written.
#[test]
#[expect(clippy::disallowed_methods, reason = "the job comes through the environment of this process")]
fn writer() {
    let Ok(job) = std::env::var(JOB) else { return };
    let [bootstrap, out, group] = job.split(' ').collect::<Vec<_>>()[..] else { panic!("{job}") };
    let log = connect(bootstrap);
    let spec = WriterSpec { group: group.into(), slot: "slot-0".into(), tasks: 2 };
    let say = |text: String| writeln!(std::io::stderr(), "{text}").unwrap();
    let mut session = match log.transactional_writer(&spec, &Sole::claim()) {
        Ok(session) => session,
        Err(error) => return say(format!("REFUSED {:?} {error}", error.kind())),
    };
    let mut next = session.committed(&[at(out, 0)]).unwrap()[0].as_ref().map_or(0, |o| o.offset);
    say(format!("READY {next}"));
    loop {
        match write_epoch(&mut *session, out, next) {
            CommitOutcome::Committed => next += ROWS,
            CommitOutcome::Aborted { retry_after, .. } => std::thread::sleep(retry_after),
            CommitOutcome::Fenced { reason } => return say(format!("FENCED {reason}")),
        }
    }
}

fn write_epoch(session: &mut dyn tidegate::log::TransactionalWriter, out: &str, next: i64) -> CommitOutcome {
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

/// How two lists of ids differ: which are there twice, which are missing, which are beyond the committed offset.
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
    let mut starts = vec![];
    for round in 0..6u64 {
        let begin = Instant::now();
        let (mut child, first) = start(&broker.bootstrap, &out, &group);
        assert!(first.starts_with("READY"), "{first}");
        if round > 0 {
            starts.push(begin.elapsed());
        }
        // Another process is refused while this one lives, with the name of the owner.
        if round == 2 {
            let (mut second, answer) = start(&broker.bootstrap, &out, &group);
            assert!(answer.starts_with("REFUSED Busy"), "{answer}");
            assert!(answer.contains(&format!("process {}", child.id())), "{answer}");
            second.wait().unwrap();
            let error = log
                .transactional_writer(
                    &WriterSpec { group: group.clone(), slot: "slot-0".into(), tasks: 2 },
                    &Sole::claim(),
                )
                .unwrap_err();
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
    starts.sort_unstable();
    let (middle, slowest) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    // Whoever waits until the dead member's session has timed out takes ten seconds each time; other tests run as well.
    assert!(middle < Duration::from_secs(4) && slowest < Duration::from_secs(9), "restarts took {starts:?}");
    let _ = writeln!(std::io::stderr(), "kill -9: {rows} rows exact, slowest restart {slowest:?}");
}

/// A broker that stalls in the middle of commits leaves their outcome unknown; each must be resolved.
#[test]
fn a_stalled_or_killed_broker_doubles_and_loses_nothing() {
    let Some(broker) = broker::own("a_stalled_or_killed_broker_doubles_and_loses_nothing") else { return };
    let log = connect(&broker.bootstrap);
    let (out, spec) = (topic(&log, "stall", 2).name, spec("stall", 2));
    let mut session = log.transactional_writer(&spec, &Sole::claim()).unwrap();
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
            next += write_patiently(&mut *session, &out, next);
        }
        nemesis.join().unwrap();
    });
    next += write_patiently(&mut *session, &out, next);
    drop(session);
    assert_eq!(assert_exact(&log, &out, &spec.group), next);
}

/// Sessions that commit at the same time, so that a kill meets transactions in every state.
const WRITERS: usize = 10;

/// A broker that is killed again and again while many sessions commit. What no other test reaches: a transaction that the
/// broker has decided but not written to its partitions.
#[test]
fn a_broker_killed_among_many_commits_doubles_and_loses_nothing() {
    let Some(broker) = broker::own("a_broker_killed_among_many_commits_doubles_and_loses_nothing") else { return };
    let log = connect(&broker.bootstrap);
    let outs: Vec<_> = (0..WRITERS).map(|_| topic(&log, "kills", 2).name).collect();
    let counts: Vec<_> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);
    let written: Vec<(String, i64)> = std::thread::scope(|scope| {
        let writers = outs.iter().zip(&counts);
        let (log, done) = (&log, &done);
        let writers = writers.map(|(out, count)| scope.spawn(move || write_until(log, out, count, done)));
        let writers: Vec<_> = writers.collect();
        let end = SetAtEnd(done);
        for round in 0..kills() {
            wait_for_commits(&counts);
            std::thread::sleep(Duration::from_micros(round * 7919 % 50_000));
            broker.signal("KILL");
            broker.restart();
        }
        // What the broker has forgotten is repaired by a session that continues: a broker that has just started elects its
        // coordinators twice, and may forget a commit of that moment, too.
        std::thread::sleep(Duration::from_secs(3));
        wait_for_commits(&counts);
        drop(end);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    for (out, (group, next)) in outs.iter().zip(written) {
        // The coordinator returns old offsets until it has written something (see ARCHITECTURE.md): a new session makes it.
        drop(
            log.transactional_writer(
                &WriterSpec { group: group.clone(), slot: "slot-0".into(), tasks: 2 },
                &Sole::claim(),
            )
            .unwrap(),
        );
        assert_eq!(assert_exact(&log, out, &group), next, "{out}");
    }
}

/// Tells the writers to stop, also when the test fails: it would wait for them for ever.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How often the broker is killed; more by hand.
fn kills() -> u64 {
    tidegate::config::environment("TIDEGATE_KILLS").map_or(1, |text| text.parse().expect("a number of kills"))
}

/// Until every writer has committed anew.
fn wait_for_commits(counts: &[AtomicU64]) {
    let deadline = Instant::now() + Duration::from_secs(240);
    for count in counts {
        let before = count.load(Ordering::Relaxed);
        while count.load(Ordering::Relaxed) < before + 3 {
            assert!(Instant::now() < deadline, "nothing is committed any more");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Writes epochs until it is stopped; returns the group, and how many rows are committed.
fn write_until(log: &KafkaLog, out: &str, count: &AtomicU64, done: &AtomicBool) -> (String, i64) {
    let spec = spec("kills", 2);
    let mut session = log.transactional_writer(&spec, &Sole::claim()).unwrap();
    let mut next = 0;
    while !done.load(Ordering::Relaxed) {
        next += write_patiently(&mut *session, out, next);
        count.fetch_add(1, Ordering::Relaxed);
    }
    (spec.group, next)
}

/// Writes one epoch, however often it has to be repeated.
fn write_patiently(session: &mut dyn tidegate::log::TransactionalWriter, out: &str, next: i64) -> i64 {
    loop {
        match write_epoch(session, out, next) {
            CommitOutcome::Committed => return ROWS,
            CommitOutcome::Aborted { retry_after, reason } => {
                let _ = writeln!(std::io::stderr(), "aborted: {reason}");
                std::thread::sleep(retry_after);
            }
            CommitOutcome::Fenced { reason } => panic!("{reason}"),
        }
    }
}
