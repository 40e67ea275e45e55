//! The writing side of a query: whole epochs, aborts, owners.

use super::*;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tidegate::log::CommitOutcome;

#[test]
fn an_epoch_is_visible_whole() {
    let Some(log) = subject("an_epoch_is_visible_whole") else { return };
    let (input, first, second) = (topic(&log, "in", 2).name, topic(&log, "out", 2).name, topic(&log, "log", 1).name);
    let spec = spec("whole", 2);
    let mut session = log.transactional_writer(&spec, &Sole::claim()).unwrap();
    assert_eq!(session.metadata().unwrap(), None);
    assert_eq!(session.committed(&[at(&input, 0), at(&input, 1)]).unwrap(), [None, None]);
    let whole = Epoch {
        records: vec![
            (first.as_str().into(), set(&[(0, 0, "k", "a"), (1, 2, "k", "b")]).into()),
            (second.as_str().into(), set(&[(0, 1, "k", "c")]).into()),
        ],
        offsets: vec![(at(&input, 1), offset(17, "time 5"))],
        metadata: "x".repeat(4096),
    };
    assert_eq!(session.commit(&whole).unwrap(), CommitOutcome::Committed);
    let a = read_settled(&log, &first, 0);
    assert_eq!((values(&a), a[0].timestamp), (vec!["a".to_owned()], 0));
    assert_eq!(values(&read_settled(&log, &first, 1)), ["b"]);
    assert_eq!(values(&read_settled(&log, &second, 0)), ["c"]);
    assert_eq!(session.committed(&[at(&input, 0), at(&input, 1)]).unwrap(), [None, Some(offset(17, "time 5"))]);
    let by_log = log.committed(&spec.group, &[at(&input, 1), at(&input, 0)]).unwrap();
    assert_eq!(by_log, [Some(offset(17, "time 5")), None]);
    // Nothing but offsets, and nothing at all.
    let offsets_only =
        Epoch { offsets: vec![(at(&input, 0), offset(3, ""))], metadata: "two".into(), ..Epoch::default() };
    assert_eq!(session.commit(&offsets_only).unwrap(), CommitOutcome::Committed);
    assert_eq!(
        session.commit(&Epoch { metadata: "three".into(), ..Epoch::default() }).unwrap(),
        CommitOutcome::Committed
    );
    drop(session);

    let begin = Instant::now();
    let mut again = log.transactional_writer(&spec, &Sole::claim()).unwrap();
    // Without waiting for the session timeout of the one that went: ten seconds.
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert_eq!(again.metadata().unwrap().as_deref(), Some("three"));
    assert_eq!(again.committed(&[at(&input, 0)]).unwrap(), [Some(offset(3, ""))]);
    drop(again);
    log.delete_group(&spec.group).unwrap();
    assert_eq!(log.committed(&spec.group, &[at(&input, 1), at(&input, 0)]).unwrap(), [None, None]);
    let mut anew = log.transactional_writer(&spec, &Sole::claim()).unwrap();
    assert_eq!((anew.metadata().unwrap(), anew.committed(&[at(&input, 1)]).unwrap()), (None, vec![None]));
}

#[test]
fn an_aborted_epoch_leaves_nothing_and_the_next_one_works() {
    let Some(log) = subject("an_aborted_epoch_leaves_nothing_and_the_next_one_works") else { return };
    let input = topic(&log, "in", 1).name;
    let out = topic(&log, "out", 1).name;
    let narrow = log.create_topic(&TopicSpec::new(fresh("narrow"), 1).with("max.message.bytes", 500)).unwrap().name;
    let mut session = log.transactional_writer(&spec("abort", 1), &Sole::claim()).unwrap();
    let good = |n: i64, text: &str| epoch(&out, set(&[(0, 1, "k", text)]), vec![(at(&input, 0), offset(n, ""))], text);
    assert_eq!(session.commit(&good(1, "one")).unwrap(), CommitOutcome::Committed);
    let mut bad = good(2, "two");
    bad.records.push((narrow.as_str().into(), set(&[(0, 1, "k", &"x".repeat(2000))]).into()));
    // The broker refuses one record: that is the record's fault, and nothing of its epoch stays.
    assert_eq!(session.commit(&bad).unwrap_err().kind(), Kind::Data);
    assert_eq!(session.committed(&[at(&input, 0)]).unwrap(), [Some(offset(1, ""))]);
    assert_eq!(session.metadata().unwrap().as_deref(), Some("one"));
    assert_eq!(session.commit(&good(2, "again")).unwrap(), CommitOutcome::Committed);
    assert_eq!(values(&read_settled(&log, &out, 0)), ["one", "again"]);
    assert_eq!(values(&read_settled(&log, &narrow, 0)), Vec::<String>::new());
    let mut missing = good(3, "three");
    missing.records.push(("no-such-topic".into(), set(&[(0, 1, "k", "v")]).into()));
    assert_eq!(session.commit(&missing).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(session.commit(&good(3, "three")).unwrap(), CommitOutcome::Committed);
    assert_eq!(values(&read_settled(&log, &out, 0)), ["one", "again", "three"]);
}

#[test]
fn a_second_session_of_the_same_name_is_refused() {
    let Some(log) = subject("a_second_session_of_the_same_name_is_refused") else { return };
    let spec = spec("busy", 1);
    let _first = log.transactional_writer(&spec, &Sole::claim()).unwrap();
    let error = log.transactional_writer(&spec, &Sole::claim()).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.message().contains(&format!("process {}", std::process::id())), "{error}");
}

pub(super) fn foreign(log: &KafkaLog) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", log.describe().trim_start_matches("Kafka at "));
    config
}

/// What a process on another machine does that has our slot: it shuts our producer out and writes its name. We must notice, write
/// nothing, and not shut it out in turn.
#[test]
fn an_owner_whose_slot_was_taken_is_fenced() {
    let Some(log) = subject("an_owner_whose_slot_was_taken_is_fenced") else { return };
    let out = topic(&log, "out", 1).name;
    let spec = spec("fence", 1);
    let mut session = log.transactional_writer(&spec, &Sole::claim()).unwrap();
    let text = |text: &str| epoch(&out, set(&[(0, 1, "k", text)]), vec![], text);
    assert_eq!(session.commit(&text("mine")).unwrap(), CommitOutcome::Committed);

    let owner = format!("{}-{}", spec.group, spec.slot);
    let producer: BaseProducer = foreign(&log).set("transactional.id", &owner).create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    sign(&log, &producer, &spec.group, "tidegate@elsewhere:7:1:boot.1", &owner);

    for _ in 0..2 {
        match session.commit(&text("stolen")).unwrap() {
            CommitOutcome::Fenced { reason } => assert!(reason.contains("process 7 on host elsewhere"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(values(&read_settled(&log, &out, 0)), ["mine"]);
    producer.begin_transaction().unwrap();
    producer.abort_transaction(Duration::from_secs(30)).unwrap();
}

/// Commits the metadata of an owner, in the format of the versions before terms.
pub(super) fn sign(log: &KafkaLog, producer: &BaseProducer, group: &str, process: &str, owner: &str) {
    producer.begin_transaction().unwrap();
    let mut offsets = TopicPartitionList::new();
    let tasks = format!("{group}-tasks");
    offsets.add_partition_offset(&tasks, 0, Offset::Offset(0)).unwrap();
    let blob = format!("{{\"v\":1,\"owner\":\"{owner}\",\"process\":\"{process}\",\"sequence\":\"1.7.1\"}}");
    offsets.find_partition(&tasks, 0).unwrap().set_metadata(blob);
    // Of the group by name only: it has no member there.
    let member: BaseConsumer = foreign(log).set("group.id", group).create().unwrap();
    let metadata = member.group_metadata().unwrap();
    producer.send_offsets_to_transaction(&offsets, &metadata, Duration::from_secs(30)).unwrap();
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
}

/// Before its first rows a session looks whether a failure left something open in a partition, and ends it there. What
/// another producer has open is not ended by that.
#[test]
fn somebody_elses_open_transaction_in_an_output_stays_open() {
    let Some(log) = subject("somebody_elses_open_transaction_in_an_output_stays_open") else { return };
    let out = topic(&log, "out", 2).name;
    let producer: BaseProducer = foreign(&log).set("transactional.id", fresh("foreign")).create().unwrap();
    producer.init_transactions(Duration::from_secs(30)).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::to(&out).partition(0).key("k").payload("theirs")).map_err(|e| e.0).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();

    let mut session = log.transactional_writer(&spec("beside", 1), &Sole::claim()).unwrap();
    for text in ["ours", "ours too"] {
        let rows = set(&[(0, 1, "k", text), (1, 1, "k", text)]);
        assert_eq!(session.commit(&epoch(&out, rows, vec![], text)).unwrap(), CommitOutcome::Committed);
    }
    assert_eq!(values(&read_settled(&log, &out, 1)), ["ours", "ours too"]);
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    assert_eq!(values(&read_settled(&log, &out, 0)), ["theirs", "ours", "ours too"]);
}

/// Offsets that stay pending: what a broker leaves that was killed and has forgotten how a transaction ended.
#[test]
fn offsets_that_stay_pending_are_named_with_the_way_out() {
    let test = "offsets_that_stay_pending_are_named_with_the_way_out";
    let (Some(log), Some(broker)) = (subject(test), broker::shared(test)) else { return };
    let spec = spec("pending", 1);
    drop(log.transactional_writer(&spec, &Sole::claim()).unwrap());
    let config = |keys: &[(&str, &str)]| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &broker.bootstrap);
        for (key, value) in keys {
            config.set(*key, *value);
        }
        config
    };
    let wait = Duration::from_secs(10);
    let keys = [("transactional.id", spec.group.as_str()), ("transaction.timeout.ms", "300000")];
    let stranger: BaseProducer = config(&keys).create().unwrap();
    // Of the group by name only: it has no member there.
    let member: BaseConsumer = config(&[("group.id", &spec.group)]).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&format!("{}-tasks", spec.group), 0, Offset::Offset(7)).unwrap();
    stranger.init_transactions(wait).unwrap();
    stranger.begin_transaction().unwrap();
    stranger.send_offsets_to_transaction(&list, &member.group_metadata().unwrap(), wait).unwrap();
    let error = log.transactional_writer(&spec, &Sole::claim()).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    let text = format!("{error} {error:?}");
    assert!(text.contains("have been pending for 60 s") && text.contains("kafka-transactions.sh"), "{text}");
    stranger.abort_transaction(wait).unwrap();
    log.transactional_writer(&spec, &Sole::claim()).unwrap();
}
