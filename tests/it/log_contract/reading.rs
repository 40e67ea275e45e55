//! Readers: where they start, what a poll returns, when it ends.

use super::*;
use std::thread;

pub(super) const ALL: &[Behaviour] = &[
    ("offsets ascend", offsets_ascend),
    ("reading starts at the earliest record", start_earliest),
    ("reading starts at the end", start_latest),
    ("reading starts at an offset", start_offset),
    ("reading resumes anywhere, also within a batch", resume_anywhere),
    ("an offset beyond the end waits for it", start_beyond),
    ("seeking goes back and forth", seeking),
    ("seeking forgets what was fetched", seek_forgets),
    ("a poll returns about as many as asked for", max_records),
    ("the end is reported", at_end),
    ("positions reach the watermark", positions),
    ("an empty poll waits its time", poll_waits),
    ("a poll without patience returns at once", poll_now),
    ("an append ends a poll", append_wakes),
    ("an append to another assigned partition ends a poll", append_elsewhere_wakes),
    ("the waker ends a poll", waker_wakes),
    ("a wake before the poll is not lost", wake_is_kept),
    ("one reader reads several topics", several_topics),
    ("no assigned partition starves", no_starvation),
    ("readers do not disturb each other", independent_readers),
    ("runs of one slot are in offset order", slots_in_order),
    ("records outlive their reader", records_outlive),
];

fn ten(subject: &dyn Subject, name: &str) -> Vec<OwnedRecord> {
    let log = subject.log();
    topic(&*log, name, 1);
    log.append(name, &set(&["0", "1", "2", "3", "4"])).unwrap();
    log.append(name, &set(&["5", "6", "7", "8", "9"])).unwrap();
    read_all(&*log, name)
}

fn offsets_ascend(subject: &mut dyn Subject) {
    let records = ten(subject, "ascend");
    assert_eq!(records.len(), 10);
    assert_eq!(records[0].offset, 0);
    assert!(records.windows(2).all(|w| w[0].offset < w[1].offset));
}

fn start_earliest(subject: &mut dyn Subject) {
    ten(subject, "earliest");
    let mut r = reader(&*subject.log(), "earliest", Start::Earliest);
    assert_eq!(slot_values(&take(subject, &mut *r, 3)), ["0", "1", "2"]);
}

fn start_latest(subject: &mut dyn Subject) {
    ten(subject, "latest");
    let log = subject.log();
    let mut r = reader(&*log, "latest", Start::Latest);
    assert!(r.poll(10, Duration::ZERO).unwrap().is_empty());
    log.append("latest", &set(&["new"])).unwrap();
    assert_eq!(slot_values(&take(subject, &mut *r, 1)), ["new"]);
}

fn start_offset(subject: &mut dyn Subject) {
    let records = ten(subject, "offset");
    let mut r = reader(&*subject.log(), "offset", Start::Offset(records[7].offset));
    assert_eq!(slot_values(&take(subject, &mut *r, 3)), ["7", "8", "9"]);
}

fn resume_anywhere(subject: &mut dyn Subject) {
    let records = ten(subject, "resume");
    subject.reopen();
    for (at, record) in records.iter().enumerate() {
        let mut r = reader(&*subject.log(), "resume", Start::Offset(record.offset));
        assert_eq!(take(subject, &mut *r, 1)[0].1, *record);
        // Its present position is where the next reader continues.
        if let Some(next) = records.get(at + 1) {
            let mut r = reader(&*subject.log(), "resume", Start::Offset(r.position(0)));
            assert_eq!(take(subject, &mut *r, 1)[0].1, *next);
        }
    }
}

fn start_beyond(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "beyond", 1);
    let mut r = reader(&*log, "beyond", Start::Offset(0));
    assert!(r.poll(10, Duration::ZERO).unwrap().is_empty());
    log.append("beyond", &set(&["x"])).unwrap();
    assert_eq!(slot_values(&take(subject, &mut *r, 1)), ["x"]);
}

fn seeking(subject: &mut dyn Subject) {
    let records = ten(subject, "seek");
    let mut r = reader(&*subject.log(), "seek", Start::Earliest);
    for at in [4, 9, 0, 5, 2] {
        r.seek(0, records[at].offset).unwrap();
        assert_eq!(r.position(0), records[at].offset);
        assert_eq!(take(subject, &mut *r, 1)[0].1, records[at]);
    }
}

fn seek_forgets(subject: &mut dyn Subject) {
    let records = ten(subject, "forget");
    let mut r = reader(&*subject.log(), "forget", Start::Earliest);
    take(subject, &mut *r, 2);
    r.seek(0, records[0].offset).unwrap();
    let read: Vec<_> = take(subject, &mut *r, 10).into_iter().map(|r| r.1).collect();
    assert_eq!(read, records);
}

fn max_records(subject: &mut dyn Subject) {
    let records = ten(subject, "bounded");
    let mut r = reader(&*subject.log(), "bounded", Start::Earliest);
    let mut read = Vec::new();
    while read.len() < 10 {
        let fetched = r.poll(3, subject.patience()).unwrap();
        assert!((1..=3).contains(&fetched.len()), "{}", fetched.len());
        read.extend(owned(&fetched).into_iter().map(|r| r.1));
    }
    assert_eq!(read, records);
}

fn at_end(subject: &mut dyn Subject) {
    ten(subject, "end");
    let log = subject.log();
    let mut r = reader(&*log, "end", Start::Earliest);
    take(subject, &mut *r, 4);
    assert!(!r.at_end(0));
    take(subject, &mut *r, 6);
    r.poll(1, Duration::from_millis(100)).unwrap();
    assert!(r.at_end(0));
    log.append("end", &set(&["a", "b"])).unwrap();
    take(subject, &mut *r, 2);
    // What is there when a reader begins is known to it; of what comes later it may see the first record alone.
    let mut r = reader(&*log, "end", Start::Earliest);
    take(subject, &mut *r, 11);
    assert!(!r.at_end(0));
}

fn positions(subject: &mut dyn Subject) {
    let records = ten(subject, "position");
    let log = subject.log();
    let mut r = reader(&*log, "position", Start::Earliest);
    assert_eq!(r.position(0), 0);
    take(subject, &mut *r, 3);
    assert!(r.position(0) > records[2].offset && r.position(0) <= records[3].offset);
    take(subject, &mut *r, 7);
    r.poll(1, Duration::from_millis(100)).unwrap();
    assert_eq!(r.position(0), log.watermarks(&TopicPartition::new("position", 0)).unwrap().stable);
}

fn poll_waits(subject: &mut dyn Subject) {
    topic(&*subject.log(), "waits", 1);
    let mut r = reader(&*subject.log(), "waits", Start::Earliest);
    let clock = tidegate::types::clock::SystemClock::shared();
    assert!(r.poll(1, Duration::from_millis(60)).unwrap().is_empty());
    let waited = clock.monotonic();
    assert!(waited >= Duration::from_millis(55), "{waited:?}");
    assert!(waited < subject.patience(), "{waited:?}");
}

fn poll_now(subject: &mut dyn Subject) {
    topic(&*subject.log(), "now", 1);
    let mut r = reader(&*subject.log(), "now", Start::Earliest);
    assert!(r.poll(1, Duration::ZERO).unwrap().is_empty());
    assert_eq!(r.trouble(), None);
}

/// Does `act` end a poll that would last a minute?
fn ends_poll(r: &mut dyn Reader, act: impl FnOnce() + Send) -> Fetched {
    let clock = tidegate::types::clock::SystemClock::shared();
    let fetched = thread::scope(|scope| {
        scope.spawn(|| {
            clock.sleep(Duration::from_millis(30));
            act();
        });
        r.poll(10, Duration::from_secs(60)).unwrap()
    });
    assert!(clock.monotonic() < Duration::from_secs(20));
    fetched
}

fn append_wakes(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "wakes", 1);
    let mut r = reader(&*log, "wakes", Start::Earliest);
    let fetched = ends_poll(&mut *r, || log.append("wakes", &set(&["x"])).unwrap());
    assert_eq!(slot_values(&owned(&fetched)), ["x"]);
}

fn append_elsewhere_wakes(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "wakes-a", 2);
    topic(&*log, "wakes-b", 2);
    let slots = vec![assigned("wakes-a", 0, Start::Earliest), assigned("wakes-b", 1, Start::Earliest)];
    let mut r = log.reader(slots, Isolation::ReadCommitted).unwrap();
    let fetched = ends_poll(&mut *r, || {
        log.append("wakes-b", &set_at(0, 1, &["unassigned"])).unwrap();
        log.append("wakes-b", &set_at(1, 1, &["x"])).unwrap();
    });
    let got = owned(&fetched);
    assert_eq!((got.len(), got[0].0, slot_values(&got)), (1, 1, vec!["x".to_owned()]));
}

fn waker_wakes(subject: &mut dyn Subject) {
    topic(&*subject.log(), "waker", 1);
    let mut r = reader(&*subject.log(), "waker", Start::Earliest);
    let waker = r.waker();
    assert!(ends_poll(&mut *r, || waker()).is_empty());
}

fn wake_is_kept(subject: &mut dyn Subject) {
    topic(&*subject.log(), "woken", 1);
    let mut r = reader(&*subject.log(), "woken", Start::Earliest);
    r.waker()();
    let clock = tidegate::types::clock::SystemClock::shared();
    assert!(r.poll(1, Duration::from_secs(60)).unwrap().is_empty());
    assert!(clock.monotonic() < Duration::from_secs(20));
}

fn several_topics(subject: &mut dyn Subject) {
    let log = subject.log();
    for (name, values) in [("several-a", ["a0", "a1"]), ("several-b", ["b0", "b1"])] {
        topic(&*log, name, 2);
        log.append(name, &set_at(0, 1, &values[..1])).unwrap();
        log.append(name, &set_at(1, 1, &values[1..])).unwrap();
    }
    let places = [("several-b", 1), ("several-a", 0), ("several-b", 0), ("several-a", 1)];
    let slots = places.iter().map(|(t, p)| assigned(t, *p, Start::Earliest)).collect();
    let mut r = log.reader(slots, Isolation::ReadCommitted).unwrap();
    let mut got: Vec<_> =
        take(subject, &mut *r, 4).into_iter().map(|(s, r)| (s, String::from_utf8(r.value.unwrap()).unwrap())).collect();
    got.sort();
    assert_eq!(got, [(0, "b1".into()), (1, "a0".into()), (2, "b0".into()), (3, "a1".into())]);
}

fn no_starvation(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "fair", 2);
    let many: Vec<String> = (0..2000).map(|i| i.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    log.append("fair", &set_at(0, 1, &many)).unwrap();
    log.append("fair", &set_at(1, 1, &["rare"])).unwrap();
    let slots = (0..2).map(|p| assigned("fair", p, Start::Earliest)).collect();
    let mut r = log.reader(slots, Isolation::ReadCommitted).unwrap();
    let mut seen = 0;
    loop {
        let got = owned(&r.poll(100, subject.patience()).unwrap());
        assert!(!got.is_empty());
        seen += got.len();
        if got.iter().any(|(slot, _)| *slot == 1) {
            break;
        }
    }
    assert!(seen < 2001, "the other partition was read to its end first");
}

fn independent_readers(subject: &mut dyn Subject) {
    let records = ten(subject, "apart");
    let log = subject.log();
    let (mut a, mut b) = (reader(&*log, "apart", Start::Earliest), reader(&*log, "apart", Start::Earliest));
    take(subject, &mut *a, 8);
    assert_eq!(take(subject, &mut *b, 1)[0].1, records[0]);
    assert_eq!(take(subject, &mut *a, 1)[0].1, records[8]);
}

fn slots_in_order(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "order", 3);
    for round in 0..20 {
        log.append("order", &set_at(round % 3, 1, &["x", "y"])).unwrap();
    }
    let slots = (0..3).map(|p| assigned("order", p, Start::Earliest)).collect();
    let mut r = log.reader(slots, Isolation::ReadCommitted).unwrap();
    let mut last = [-1; 3];
    for (slot, record) in take(subject, &mut *r, 40) {
        assert!(record.offset > last[slot]);
        last[slot] = record.offset;
    }
}

fn records_outlive(subject: &mut dyn Subject) {
    let records = ten(subject, "outlive");
    let mut r = reader(&*subject.log(), "outlive", Start::Earliest);
    let mut held = Vec::new();
    while held.iter().map(tidegate::log::Run::len).sum::<usize>() < 10 {
        held.extend(r.poll(10, subject.patience()).unwrap().into_runs());
    }
    drop(r);
    subject.log().delete_topic("outlive").unwrap();
    let mut times = Vec::new();
    assert_eq!(held[0].first_timestamp(), records[0].timestamp);
    held.iter().for_each(|run| run.for_each(|r| times.push(r.timestamp)));
    assert_eq!(times, records.iter().map(|r| r.timestamp).collect::<Vec<_>>());
}
