//! The writing side of a query: whole epochs, aborts, owners.

use super::*;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tidegate::error::Kind;
use tidegate::log::Outcome;

#[test]
fn an_epoch_is_visible_whole() {
    let Some(log) = subject("an_epoch_is_visible_whole") else { return };
    let (input, first, second) = (topic(&log, "in", 2).name, topic(&log, "out", 2).name, topic(&log, "log", 1).name);
    let spec = spec("whole", 2);
    let mut session = log.session(&spec).unwrap();
    assert_eq!(session.blob().unwrap(), None);
    assert_eq!(session.committed(&[at(&input, 0), at(&input, 1)]).unwrap(), [None, None]);
    let whole = Epoch {
        records: vec![
            (first.as_str().into(), set(&[(0, 0, "k", "a"), (1, 2, "k", "b")])),
            (second.as_str().into(), set(&[(0, 1, "k", "c")])),
        ],
        offsets: vec![(at(&input, 1), offset(17, "time 5"))],
        blob: "x".repeat(4096),
    };
    assert_eq!(session.commit(&whole).unwrap(), Outcome::Committed);
    let a = read_all(&log, &first, 0, Isolation::ReadCommitted);
    assert_eq!((values(&a), a[0].timestamp), (vec!["a".to_owned()], 0));
    assert_eq!(values(&read_all(&log, &first, 1, Isolation::ReadCommitted)), ["b"]);
    assert_eq!(values(&read_all(&log, &second, 0, Isolation::ReadCommitted)), ["c"]);
    assert_eq!(session.committed(&[at(&input, 0), at(&input, 1)]).unwrap(), [None, Some(offset(17, "time 5"))]);
    let by_log = log.committed(&spec.group, &[at(&input, 1), at(&input, 0)]).unwrap();
    assert_eq!(by_log, [Some(offset(17, "time 5")), None]);
    // Nothing but offsets, and nothing at all.
    let offsets_only = Epoch { offsets: vec![(at(&input, 0), offset(3, ""))], blob: "two".into(), ..Epoch::default() };
    assert_eq!(session.commit(&offsets_only).unwrap(), Outcome::Committed);
    assert_eq!(session.commit(&Epoch { blob: "three".into(), ..Epoch::default() }).unwrap(), Outcome::Committed);
    drop(session);

    let begin = Instant::now();
    let mut again = log.session(&spec).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(again.blob().unwrap().as_deref(), Some("three"));
    assert_eq!(again.committed(&[at(&input, 0)]).unwrap(), [Some(offset(3, ""))]);
    drop(again);
    log.delete_group(&spec.group).unwrap();
    assert_eq!(log.committed(&spec.group, &[at(&input, 1), at(&input, 0)]).unwrap(), [None, None]);
    let mut anew = log.session(&spec).unwrap();
    assert_eq!((anew.blob().unwrap(), anew.committed(&[at(&input, 1)]).unwrap()), (None, vec![None]));
}

#[test]
fn an_aborted_epoch_leaves_nothing_and_the_next_one_works() {
    let Some(log) = subject("an_aborted_epoch_leaves_nothing_and_the_next_one_works") else { return };
    let input = topic(&log, "in", 1).name;
    let out = topic(&log, "out", 1).name;
    let narrow = log.create_topic(&TopicSpec::new(fresh("narrow"), 1).with("max.message.bytes", 500)).unwrap().name;
    let mut session = log.session(&spec("abort", 1)).unwrap();
    let good = |n: i64, text: &str| epoch(&out, set(&[(0, 1, "k", text)]), vec![(at(&input, 0), offset(n, ""))], text);
    assert_eq!(session.commit(&good(1, "one")).unwrap(), Outcome::Committed);
    let mut bad = good(2, "two");
    bad.records.push((narrow.as_str().into(), set(&[(0, 1, "k", &"x".repeat(2000))])));
    match session.commit(&bad) {
        Ok(Outcome::Aborted { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(session.committed(&[at(&input, 0)]).unwrap(), [Some(offset(1, ""))]);
    assert_eq!(session.blob().unwrap().as_deref(), Some("one"));
    assert_eq!(session.commit(&good(2, "again")).unwrap(), Outcome::Committed);
    assert_eq!(values(&read_all(&log, &out, 0, Isolation::ReadCommitted)), ["one", "again"]);
    assert_eq!(values(&read_all(&log, &narrow, 0, Isolation::ReadCommitted)), Vec::<String>::new());
    // A record beyond the client's own limit is the record's fault, not the broker's.
    let mut huge = good(3, "three");
    huge.records[0].1.push(0, 1, None, Some(&vec![b'x'; 2_000_000]));
    assert_eq!(session.commit(&huge).unwrap_err().kind(), Kind::Data);
    assert_eq!(session.commit(&good(3, "three")).unwrap(), Outcome::Committed);
    assert_eq!(values(&read_all(&log, &out, 0, Isolation::ReadCommitted)), ["one", "again", "three"]);
}

#[test]
fn a_second_session_of_the_same_name_is_refused() {
    let Some(log) = subject("a_second_session_of_the_same_name_is_refused") else { return };
    let spec = spec("busy", 1);
    let _first = log.session(&spec).unwrap();
    let error = log.session(&spec).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert!(error.message().contains(&format!("process {}", std::process::id())), "{error}");
}

/// What a process on another machine would do after our session ended: it takes the member's place and shuts our
/// producer out. We must notice, write nothing, and must not shut it out in turn.
#[test]
fn an_owner_whose_place_was_taken_is_fenced() {
    let Some(log) = subject("an_owner_whose_place_was_taken_is_fenced") else { return };
    let out = topic(&log, "out", 1).name;
    let spec = spec("fence", 1);
    let mut session = log.session(&spec).unwrap();
    let text = |text: &str| epoch(&out, set(&[(0, 1, "k", text)]), vec![], text);
    assert_eq!(session.commit(&text("mine")).unwrap(), Outcome::Committed);

    let bootstrap = log.describe().trim_start_matches("Kafka at ").to_owned();
    let usurper: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("client.id", "tidegate@elsewhere:7:1:boot.1")
        .set("group.id", &spec.group)
        .set("group.instance.id", &spec.slot)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .create()
        .unwrap();
    usurper.subscribe(&[&format!("{}-tasks", spec.group)]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while usurper.assignment().unwrap().count() < 2 {
        assert!(Instant::now() < deadline);
        let _ = usurper.poll(Duration::from_millis(50));
    }
    match session.commit(&text("stolen")).unwrap() {
        Outcome::Fenced { reason } => assert!(reason.contains("elsewhere") || reason.contains("FENCED"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(session.commit(&text("stolen")).unwrap(), Outcome::Fenced { .. }));
    assert_eq!(values(&read_all(&log, &out, 0, Isolation::ReadCommitted)), ["mine"]);
}
