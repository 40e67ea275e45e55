//! Watermarks and times.

use super::*;

pub(super) const ALL: &[Behaviour] = &[
    ("watermarks of an empty partition are 0", watermarks_empty),
    ("watermarks grow with what is written", watermarks_grow),
    ("watermarks survive reopening", watermarks_reopen),
    ("an offset is found by time", offset_for_time),
    ("an offset is found by time when times are not in order", offset_for_time_unordered),
    ("an offset is found by time among many batches", offset_for_time_many),
    ("deleted records are gone and the others keep their offsets", delete_some),
    ("all records can be deleted and offsets go on", delete_all),
    ("records that are not there yet cannot be deleted", delete_beyond),
    ("deleted records are not found by time", delete_and_time),
];

fn marks(log: &dyn Log, topic: &str) -> (i64, i64, i64) {
    let w = log.watermarks(&TopicPartition::new(topic, 0)).unwrap();
    (w.low, w.stable, w.high)
}

fn watermarks_empty(subject: &mut dyn Subject) {
    topic(&*subject.log(), "blank", 1);
    assert_eq!(marks(&*subject.log(), "blank"), (0, 0, 0));
}

fn watermarks_grow(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "grow", 2);
    log.append("grow", &set(&["a", "b", "c"])).unwrap();
    let (low, stable, high) = marks(&*log, "grow");
    assert_eq!(low, 0);
    assert!(stable >= 3 && stable == high);
    assert_eq!(log.watermarks(&TopicPartition::new("grow", 1)).unwrap().high, 0);
    log.append("grow", &set(&["d"])).unwrap();
    assert!(marks(&*log, "grow").2 > high);
}

fn watermarks_reopen(subject: &mut dyn Subject) {
    topic(&*subject.log(), "stay", 1);
    subject.log().append("stay", &set(&["a", "b", "c"])).unwrap();
    let before = marks(&*subject.log(), "stay");
    subject.reopen();
    assert_eq!(marks(&*subject.log(), "stay"), before);
}

fn by_time(log: &dyn Log, topic: &str, time: i64) -> Option<i64> {
    log.offset_for_time(&TopicPartition::new(topic, 0), time).unwrap()
}

fn offset_for_time(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "time", 1);
    assert_eq!(by_time(&*log, "time", 0), None);
    log.append("time", &set_at(0, 100, &["a", "b"])).unwrap();
    log.append("time", &set_at(0, 200, &["c", "d"])).unwrap();
    let offsets: Vec<_> = read_all(&*log, "time").into_iter().map(|r| r.offset).collect();
    for (time, at) in [(0, 0), (100, 0), (101, 1), (102, 2), (200, 2), (201, 3)] {
        assert_eq!(by_time(&*log, "time", time), Some(offsets[at]), "{time}");
    }
    assert_eq!(by_time(&*log, "time", 202), None);
}

fn offset_for_time_unordered(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "time-mixed", 1);
    log.append("time-mixed", &set_at(0, 300, &["late"])).unwrap();
    log.append("time-mixed", &set_at(0, 100, &["early"])).unwrap();
    log.append("time-mixed", &set_at(0, 400, &["last"])).unwrap();
    let offsets: Vec<_> = read_all(&*log, "time-mixed").into_iter().map(|r| r.offset).collect();
    assert_eq!(by_time(&*log, "time-mixed", 50), Some(offsets[0]));
    assert_eq!(by_time(&*log, "time-mixed", 301), Some(offsets[2]));
}

fn offset_for_time_many(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "time-many", 1);
    let payload = "p".repeat(2000);
    for round in 0..40 {
        let mut records = RecordSet::default();
        for i in 0..20 {
            records.push(0, round * 100 + i, None, Some(payload.as_bytes()));
        }
        log.append("time-many", &records).unwrap();
    }
    let read = read_all(&*log, "time-many");
    drop(log);
    subject.reopen();
    for time in [0, 19, 20, 1500, 1510, 1519, 1520, 3919] {
        let expected = read.iter().find(|r| r.timestamp >= time).map(|r| r.offset);
        assert_eq!(by_time(&*subject.log(), "time-many", time), expected, "{time}");
    }
    assert_eq!(by_time(&*subject.log(), "time-many", 3920), None);
}

fn delete(log: &dyn Log, topic: &str, before: i64) -> tidegate::error::Result<i64> {
    log.delete_records(&TopicPartition::new(topic, 0), before)
}

fn delete_some(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "trimmed", 2);
    log.append("trimmed", &set(&["a", "b", "c"])).unwrap();
    log.append("trimmed", &set(&["d", "e"])).unwrap();
    log.append("trimmed", &set_at(1, 1, &["other"])).unwrap();
    let before = read_all(&*log, "trimmed");
    assert_eq!(delete(&*log, "trimmed", before[1].offset).unwrap(), before[1].offset);
    assert_eq!(read_all(&*log, "trimmed"), before[1..]);
    assert_eq!(delete(&*log, "trimmed", before[3].offset).unwrap(), before[3].offset);
    // Less than what is gone already: nothing happens.
    assert_eq!(delete(&*log, "trimmed", before[1].offset).unwrap(), before[3].offset);
    drop(log);
    subject.reopen();
    let log = subject.log();
    assert_eq!(marks(&*log, "trimmed").0, before[3].offset);
    assert_eq!(read_all(&*log, "trimmed"), before[3..]);
    let from_old = reader(&*log, "trimmed", Start::Offset(before[4].offset)).poll(10, subject.patience()).unwrap();
    assert_eq!(slot_values(&owned(&from_old)), ["e"]);
    assert_eq!(values(&read_partition(&*log, "trimmed", 1)), ["other"]);
}

fn delete_all(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "emptied", 1);
    log.append("emptied", &set(&["a", "b"])).unwrap();
    let high = marks(&*log, "emptied").2;
    assert_eq!(delete(&*log, "emptied", -1).unwrap(), high);
    assert_eq!(marks(&*log, "emptied"), (high, high, high));
    drop(log);
    subject.reopen();
    let log = subject.log();
    log.append("emptied", &set(&["c"])).unwrap();
    let left = read_all(&*log, "emptied");
    assert_eq!((values(&left), left[0].offset), (vec!["c".to_owned()], high));
}

fn delete_beyond(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "short", 1);
    log.append("short", &set(&["a"])).unwrap();
    let high = marks(&*log, "short").2;
    assert_eq!(delete(&*log, "short", high + 1).unwrap_err().kind(), tidegate::error::Kind::Statement);
    assert!(delete(&*log, "no such topic", 0).is_err());
    assert_eq!(values(&read_all(&*log, "short")), ["a"]);
}

fn delete_and_time(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "time-trimmed", 1);
    log.append("time-trimmed", &set_at(0, 500, &["young", "younger"])).unwrap();
    log.append("time-trimmed", &set_at(0, 100, &["old"])).unwrap();
    log.append("time-trimmed", &set_at(0, 700, &["last"])).unwrap();
    let offsets: Vec<_> = read_all(&*log, "time-trimmed").into_iter().map(|r| r.offset).collect();
    delete(&*log, "time-trimmed", offsets[2]).unwrap();
    assert_eq!(by_time(&*log, "time-trimmed", 90), Some(offsets[2]));
    assert_eq!(by_time(&*log, "time-trimmed", 400), Some(offsets[3]));
}
