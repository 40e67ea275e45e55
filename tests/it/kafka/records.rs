//! Topics, records, readers.

use super::*;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

#[test]
fn what_was_appended_is_read() {
    let Some(log) = subject("what_was_appended_is_read") else { return };
    let topic = topic(&log, "round", 2).name;
    let mut records = RecordSet::default();
    records.push(0, 0, Some(b"k"), Some(b"at the beginning of time"));
    records.push(0, 1, None, Some(b""));
    records.push(1, 7, Some(b"other"), Some(b"partition"));
    records.push(0, -1 + (1 << 48), Some(b""), None);
    records.push(0, 1_700_000_000_000, Some(&[0, 255]), Some(b"last"));
    records.headers.push((1, vec![header("a", Some(b"1")), header("a", None), header("b", Some(b""))]));
    log.append(&topic, &records).unwrap();

    let found = read_all(&log, &topic, 0, Isolation::ReadCommitted);
    let expected = |offset, timestamp, key: Option<&[u8]>, value: Option<&[u8]>, headers: Vec<Header>| OwnedRecord {
        offset,
        timestamp,
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers,
    };
    let headers = records.headers[0].1.clone();
    assert_eq!(
        found,
        [
            expected(0, 0, Some(b"k"), Some(b"at the beginning of time"), vec![]),
            expected(1, 1, None, Some(b""), headers),
            expected(2, -1 + (1 << 48), Some(b""), None, vec![]),
            expected(3, 1_700_000_000_000, Some(&[0, 255]), Some(b"last"), vec![]),
        ]
    );
    assert_eq!(values(&read_all(&log, &topic, 1, Isolation::ReadCommitted)), ["partition"]);
}

#[test]
fn topics_have_identity_and_settings() {
    let Some(log) = subject("topics_have_identity_and_settings") else { return };
    let name = fresh("identity");
    assert_eq!(log.topic(&name).unwrap(), None);
    assert_eq!(log.delete_topic(&name).unwrap_err().kind(), Kind::NotFound);
    let spec = TopicSpec::new(&name, 3).with("cleanup.policy", "compact").with("max.message.bytes", 2_000_000);
    let first = log.create_topic(&spec).unwrap();
    assert_eq!((first.partitions, first.replicas), (3, 1));
    assert_eq!(first.config, spec.config);
    assert_eq!(log.create_topic(&spec).unwrap_err().kind(), Kind::Statement);
    assert_eq!(log.topic(&name).unwrap().as_ref(), Some(&first));
    assert!(log.topics().unwrap().contains(&first));
    log.append(&name, &set(&[(0, 1, "k", "old")])).unwrap();

    log.delete_topic(&name).unwrap();
    assert_eq!(log.topic(&name).unwrap(), None);
    let second = log.create_topic(&TopicSpec::new(&name, 1)).unwrap();
    assert_ne!(first.id, second.id);
    assert_ne!(second.id.0, 0);
    log.append(&name, &set(&[(0, 1, "k", "new")])).unwrap();
    assert_eq!(values(&read_all(&log, &name, 0, Isolation::ReadCommitted)), ["new"]);
    let bad = log.create_topic(&TopicSpec::new(fresh("bad"), 1).with("no.such.setting", 1)).unwrap_err();
    assert_eq!(bad.kind(), Kind::Statement, "{bad}");
}

#[test]
fn times_find_offsets() {
    let Some(log) = subject("times_find_offsets") else { return };
    let topic = topic(&log, "times", 1).name;
    let p = at(&topic, 0);
    assert_eq!(log.offset_for_time(&p, 0).unwrap(), None);
    log.append(&topic, &set(&[(0, 10, "k", "a"), (0, 30, "k", "b"), (0, 20, "k", "c")])).unwrap();
    assert_eq!(log.offset_for_time(&p, 5).unwrap(), Some(0));
    assert_eq!(log.offset_for_time(&p, 11).unwrap(), Some(1));
    assert_eq!(log.offset_for_time(&p, 31).unwrap(), None);
}

#[test]
fn readers_seek_wake_and_report_the_end() {
    let Some(log) = subject("readers_seek_wake_and_report_the_end") else { return };
    let topic = topic(&log, "seek", 2).name;
    log.append(&topic, &set(&[(0, 1, "k", "a"), (0, 2, "k", "b"), (1, 3, "k", "c")])).unwrap();
    let slot = |partition, start| Assignment { topic: topic.as_str().into(), partition, start };
    let assignment = vec![slot(1, Start::Earliest), slot(0, Start::Offset(1))];
    let mut reader = log.reader(assignment, Isolation::ReadCommitted).unwrap();
    let mut records = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !(reader.at_end(0) && reader.at_end(1)) {
        assert!(Instant::now() < deadline);
        take(&reader.poll(10, Duration::from_millis(200)).unwrap(), &mut records);
    }
    let mut found = values(&records);
    found.sort();
    assert_eq!(found, ["b", "c"]);
    assert_eq!((reader.position(0), reader.position(1)), (1, 2));

    reader.seek(1, 0).unwrap();
    assert_eq!(reader.position(1), 0);
    records.clear();
    while records.len() < 2 {
        assert!(Instant::now() < deadline);
        take(&reader.poll(1, Duration::from_millis(200)).unwrap(), &mut records);
    }
    assert_eq!(values(&records), ["a", "b"]);
    assert_eq!((reader.position(0), reader.position(1)), (1, 2));

    // Nothing comes but the waker ends the poll.
    while !reader.at_end(1) {
        reader.poll(1, Duration::from_millis(200)).unwrap();
    }
    let wake = reader.waker();
    let begin = Instant::now();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        wake();
    });
    assert!(reader.poll(1, Duration::from_secs(30)).unwrap().is_empty());
    assert!(begin.elapsed() < Duration::from_secs(5));
    thread.join().unwrap();

    // New records end it, too.
    let latest = vec![Assignment { topic: topic.as_str().into(), partition: 0, start: Start::Latest }];
    let mut reader = log.reader(latest, Isolation::ReadCommitted).unwrap();
    assert_eq!(reader.position(0), 2);
    log.append(&topic, &set(&[(0, 4, "k", "d")])).unwrap();
    records.clear();
    while records.is_empty() {
        assert!(Instant::now() < deadline);
        take(&reader.poll(10, Duration::from_secs(5)).unwrap(), &mut records);
    }
    assert_eq!(values(&records), ["d"]);
    assert_eq!(reader.trouble(), None);
}

/// Markers and aborted records take offsets, and an open transaction holds readers of whole transactions back.
#[test]
fn positions_pass_markers_and_watermarks_know_open_transactions() {
    let Some(log) = subject("positions_pass_markers_and_watermarks_know_open_transactions") else { return };
    let topic = topic(&log, "open", 1).name;
    let p = at(&topic, 0);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", log.describe().trim_start_matches("Kafka at "))
        .set("transactional.id", fresh("foreign"))
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    let send = |value: &str| {
        producer.send(BaseRecord::to(&topic).partition(0).key("k").payload(value)).map_err(|e| e.0).unwrap();
        producer.flush(Duration::from_secs(10)).unwrap();
    };
    producer.begin_transaction().unwrap();
    send("kept");
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    send("dropped");
    producer.abort_transaction(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    send("open");

    let marks = log.watermarks(&p).unwrap();
    assert_eq!((marks.low, marks.stable, marks.high), (0, 4, 5));
    assert_eq!(values(&read_all(&log, &topic, 0, Isolation::ReadCommitted)), ["kept"]);
    assert_eq!(values(&read_all(&log, &topic, 0, Isolation::ReadUncommitted)), ["kept", "dropped", "open"]);
    let assignment = vec![Assignment { topic: topic.as_str().into(), partition: 0, start: Start::Earliest }];
    let mut reader = log.reader(assignment, Isolation::ReadCommitted).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !reader.at_end(0) {
        assert!(Instant::now() < deadline);
        reader.poll(10, Duration::from_millis(100)).unwrap();
    }
    assert_eq!(reader.position(0), 4);
    producer.abort_transaction(Duration::from_secs(30)).unwrap();
    while reader.position(0) < 6 {
        assert!(Instant::now() < deadline);
        assert!(reader.poll(10, Duration::from_millis(100)).unwrap().is_empty());
    }
    assert_eq!(reader.position(0), 6);
    assert_eq!(log.watermarks(&p).unwrap().stable, 6);
}

#[test]
fn nobody_answers() {
    let settings = KafkaSettings::new("127.0.0.1:1");
    let begin = Instant::now();
    let error = KafkaLog::connect(settings, SystemClock::shared()).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.message().contains("127.0.0.1:1"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(15));
}
