//! Records: what is written is what is read.

use super::*;
use tidegate::error::Kind;

pub(super) const ALL: &[Behaviour] = &[
    ("null and empty keys and values differ", null_is_not_empty),
    ("header order, doubles and null values are kept", headers_are_kept),
    ("timestamps are kept, whatever their order", timestamps_are_kept),
    ("the time 0 is kept", time_zero),
    ("a time before 1970 is refused and nothing is written", negative_time),
    ("any bytes are kept", any_bytes),
    ("a record of 1 MiB is kept between small ones", long_records),
    ("an empty set writes nothing", empty_set),
    ("rows of many partitions go to theirs, in order", many_partitions),
    ("many records are kept, in order", many_records),
    ("reopening keeps records and goes on behind them", reopening),
];

fn null_is_not_empty(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "nulls", 1);
    let parts: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"x")];
    let mut records = RecordSet::default();
    for key in parts {
        for value in parts {
            records.push(0, 5, key, value);
        }
    }
    log.append("nulls", &records).unwrap();
    drop(log);
    subject.reopen();
    let read = read_all(&*subject.log(), "nulls");
    let expected: Vec<_> = parts.iter().flat_map(|k| parts.iter().map(move |v| (*k, *v))).collect();
    let got: Vec<_> = read.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    assert_eq!(got, expected);
}

fn headers_are_kept(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "headers", 1);
    let mut records = set(&["none", "some", "none", "one"]);
    let some = vec![header("b", Some(b"1")), header("a", None), header("b", Some(b"")), header("", Some(&[0, 255]))];
    records.headers = vec![(1, some.clone()), (3, vec![header("é", Some(b"x"))])];
    log.append("headers", &records).unwrap();
    drop(log);
    subject.reopen();
    let read: Vec<_> = read_all(&*subject.log(), "headers").into_iter().map(|r| r.headers).collect();
    assert_eq!(read, [vec![], some, vec![], vec![header("é", Some(b"x"))]]);
}

fn timestamps_are_kept(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "times", 1);
    // None in the future: brokers refuse it by default.
    let times = [5, 1, 1_700_000_000_000, 4, 1_600_000_000_000, 1];
    let mut records = RecordSet::default();
    for time in times {
        records.push(0, time, None, Some(b"x"));
    }
    log.append("times", &records).unwrap();
    let read: Vec<_> = read_all(&*log, "times").into_iter().map(|r| r.timestamp).collect();
    assert_eq!(read, times);
}

/// Not a matter of course: librdkafka takes 0 for "now".
fn time_zero(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "time-zero", 1);
    log.append("time-zero", &set_at(0, 0, &["zero", "one"])).unwrap();
    let read: Vec<_> = read_all(&*log, "time-zero").into_iter().map(|r| r.timestamp).collect();
    assert_eq!(read, [0, 1]);
}

fn negative_time(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "before", 1);
    let mut records = set(&["fine"]);
    records.push(0, -5, None, None);
    assert_eq!(log.append("before", &records).unwrap_err().kind(), Kind::Data);
    assert_eq!(log.watermarks(&TopicPartition::new("before", 0)).unwrap().high, 0);
}

fn any_bytes(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "bytes", 1);
    let all: Vec<u8> = (0..=255).collect();
    let mut records = RecordSet::default();
    records.push(0, 1, Some(&all), Some(&all));
    log.append("bytes", &records).unwrap();
    let read = read_all(&*log, "bytes");
    assert_eq!(read[0].key.as_deref(), Some(&all[..]));
    assert_eq!(read[0].value.as_deref(), Some(&all[..]));
}

fn long_records(subject: &mut dyn Subject) {
    let log = subject.log();
    log.create_topic(&TopicSpec::new("long", 1).with("max.message.bytes", 8 << 20)).unwrap();
    let large: String = (0..1 << 20).map(|i: u32| char::from(b'a' + (i % 26) as u8)).collect();
    log.append("long", &set(&["first", &large, "middle", &large])).unwrap();
    log.append("long", &set(&["last"])).unwrap();
    drop(log);
    subject.reopen();
    assert_eq!(values(&read_all(&*subject.log(), "long")), ["first", &large, "middle", &large, "last"]);
}

fn empty_set(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "empty", 1);
    log.append("empty", &RecordSet::default()).unwrap();
    assert_eq!(log.watermarks(&TopicPartition::new("empty", 0)).unwrap().high, 0);
}

fn many_partitions(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "wide", 17);
    let mut records = RecordSet::default();
    for i in 0..500 {
        records.push(i * 7 % 17, 1, None, Some(i.to_string().as_bytes()));
    }
    log.append("wide", &records).unwrap();
    for partition in 0..17 {
        let expected: Vec<_> = (0..500).filter(|i| i * 7 % 17 == partition).map(|i| i.to_string()).collect();
        assert_eq!(values(&read_partition(&*log, "wide", partition)), expected);
    }
}

fn many_records(subject: &mut dyn Subject) {
    let log = subject.log();
    topic(&*log, "many", 1);
    let payload = "p".repeat(100);
    let mut written = Vec::new();
    for round in 0..5 {
        let mut records = RecordSet::default();
        for i in 0..4000 {
            let value = format!("{round}-{i}-{payload}");
            records.push(0, i, Some(i.to_string().as_bytes()), Some(value.as_bytes()));
            written.push(value);
        }
        log.append("many", &records).unwrap();
    }
    assert_eq!(values(&read_all(&*log, "many")), written);
}

fn reopening(subject: &mut dyn Subject) {
    topic(&*subject.log(), "kept", 2);
    let mut before = Vec::new();
    for round in 0..4 {
        let value = round.to_string();
        subject.log().append("kept", &set(&[&value, &value])).unwrap();
        before.extend([value.clone(), value]);
        subject.reopen();
        let read = read_all(&*subject.log(), "kept");
        assert_eq!(values(&read), before);
        assert!(read.windows(2).all(|w| w[0].offset < w[1].offset));
    }
    assert_eq!(values(&read_partition(&*subject.log(), "kept", 1)), [""; 0]);
}
