//! A broker that does not answer for a while, under load: queries wait for it and say so, and nothing is lost or doubled.

use super::*;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::atomic::AtomicBool;

/// How long the broker is stopped, unless TIDEGATE_BROKER_STOP_SECONDS says otherwise: beyond all timeouts of a commit.
const STOP_SECONDS: u64 = 20;
/// Rows of one load.
const KEYS: u64 = 10;
/// Rows that the load holds at most while the broker is away: half of what its client takes.
const WAITING_MAX: i32 = 50_000;
const SINKS: [&str; 2] = ["COPY", "COUNTS"];
/// Time to come back: session timeouts, one take-over, a busy machine.
const BACK_MAX: Duration = Duration::from_secs(120);

fn stop_time() -> Duration {
    let knob = tidegate::config::environment("TIDEGATE_BROKER_STOP_SECONDS").and_then(|s| s.parse().ok());
    Duration::from_secs(knob.unwrap_or(STOP_SECONDS))
}

/// Writes ids until it is stopped, whether or not the broker responds; returns how many.
fn feed(bootstrap: &str, stop: &AtomicBool) -> u64 {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").set("message.timeout.ms", "600000");
    let producer: BaseProducer = config.create().unwrap();
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        if producer.in_flight_count() > WAITING_MAX {
            producer.poll(Duration::from_millis(20));
            continue;
        }
        for id in next..next + KEYS {
            let (key, value) = (format!("k{}", id % KEYS), format!("{{\"ID\":{id}}}"));
            producer.send(BaseRecord::to("in").partition(0).key(&key).payload(&value)).map_err(|e| e.0).unwrap();
        }
        next += KEYS;
        producer.poll(Duration::from_millis(20));
    }
    producer.flush(BACK_MAX).unwrap();
    next
}

/// What `work` returns while rows are written, and how many. A panic in it does not leave the load running for ever.
fn under_load<T>(broker: &broker::Broker, work: impl FnOnce() -> T) -> (u64, T) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| feed(&broker.bootstrap, &stop));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let done = done.unwrap_or_else(|panic| {
            // The load ends once the broker takes its rows.
            broker.signal("CONT");
            std::panic::resume_unwind(panic)
        });
        (load.join().unwrap(), done)
    })
}

/// Stops the broker for the time, sees what is said of the queries, and returns when it was back.
fn while_stopped(broker: &broker::Broker, engine: &Engine) -> Instant {
    let consumed = || engine.queries().iter().map(|(_, query)| query.counts().consumed).min().unwrap_or(0);
    until("both queries are at work", BACK_MAX, || (consumed() > 200).then_some(()));
    broker.signal("STOP");
    let stopped = Instant::now();
    let mut waited = [None, None];
    while stopped.elapsed() < stop_time() {
        for (sink, waited) in SINKS.iter().zip(&mut waited) {
            match state_of(engine, sink) {
                State::Error(reason) => panic!("{sink} after {:?}: {reason}", stopped.elapsed()),
                State::Waiting(reason) => {
                    waited.get_or_insert_with(|| (stopped.elapsed(), reason));
                }
                State::Running | State::Paused => {}
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let shown = engine.query_rows(&Statements::default());
    broker.signal("CONT");
    let back = Instant::now();
    for (sink, waited) in SINKS.iter().zip(&waited) {
        let (after, reason) = waited.as_ref().unwrap_or_else(|| panic!("{sink} was said to run all the time"));
        let _ = writeln!(std::io::stderr(), "{sink} waits after {after:.1?}: {reason}");
    }
    assert!(shown.iter().all(|q| q.state == "WAITING" && q.trouble.is_some()), "{shown:?}");
    for sink in SINKS {
        until(&format!("{sink} goes on"), BACK_MAX, || match state_of(engine, sink) {
            State::Error(reason) => panic!("{sink}: {reason}"),
            state => (state == State::Running).then_some(()),
        });
    }
    back
}

/// Rows of a topic as soon as they can be read: a broker that was away serves some requests before it leads partitions.
fn come_back(log: &KafkaLog, topic: &str) -> Option<Vec<OwnedRecord>> {
    match try_read_settled(log, topic, 0) {
        Ok(records) => Some(records),
        Err(error) if error.kind() == Kind::Io => {
            let _ = writeln!(std::io::stderr(), "{topic} cannot be read yet: {error}");
            None
        }
        Err(error) => panic!("{topic}: {error}"),
    }
}

#[test]
fn queries_wait_for_a_broker_that_is_away() {
    let Some(broker) = broker::own("queries_wait_for_a_broker_that_is_away") else { return };
    let (log, engine) = (connect(&broker.bootstrap), engine(KafkaSettings::new(&broker.bootstrap), "away_"));
    log.create_topic(&TopicSpec::new("in", 1)).unwrap();
    run(&engine, "CREATE STREAM s (k STRING KEY, id BIGINT) WITH (KAFKA_TOPIC='in', VALUE_FORMAT='JSON');");
    run(&engine, "CREATE STREAM copy WITH (KAFKA_TOPIC='copy') AS SELECT k, id FROM s;");
    run(&engine, "CREATE TABLE counts WITH (KAFKA_TOPIC='counts') AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;");
    let (all, back) = under_load(&broker, || while_stopped(&broker, &engine));
    let copied =
        until("every row is copied", BACK_MAX, || come_back(&log, "copy").filter(|copied| copied.len() as u64 >= all));
    let caught_up = back.elapsed();
    let expected: Vec<String> = (0..all).map(|id| format!("{{\"ID\":{id}}}")).collect();
    assert_eq!(values(&copied), expected);
    let mut counted = std::collections::BTreeMap::new();
    until("every row is counted", BACK_MAX, || {
        for record in come_back(&log, "counts")? {
            counted.insert(record.key.unwrap(), String::from_utf8(record.value.unwrap()).unwrap());
        }
        let expected = |key: u64| format!("{{\"N\":{}}}", (0..all).filter(|id| id % KEYS == key).count());
        let wanted = (0..KEYS).all(|key| counted.get(format!("k{key}").as_bytes()) == Some(&expected(key)));
        wanted.then_some(())
    });
    let _ = writeln!(std::io::stderr(), "stopped for {:?}: {all} rows exact {caught_up:.1?} after that", stop_time());
    engine.close();
}

/// Moves the only copy of a topic's only partition to the cluster's second broker.
pub(super) fn move_to_second(broker: &broker::Broker, topic: &str) {
    let plan = broker.file("moves.json");
    let moves =
        format!("{{\"version\":1,\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":0,\"replicas\":[2]}}]}}");
    std::fs::write(&plan, moves).unwrap();
    let tool = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
    let plan = plan.to_str().unwrap();
    let run = |act: &str| {
        let args = [tool, "--bootstrap-server", &broker.bootstrap, "--reassignment-json-file", plan, act];
        let output = broker::java(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run("--execute");
    until("it is moved", BACK_MAX, || run("--verify").contains("is completed").then_some(()));
}

/// What a broker that is down leads is there, although no broker responds for it: this is no missing topic.
#[test]
fn a_query_waits_for_the_broker_that_leads_its_topic() {
    let test = "a_query_waits_for_the_broker_that_leads_its_topic";
    let Some(broker) = broker::own(test) else { return };
    let (log, settings) = (connect(&broker.bootstrap), || KafkaSettings::new(&broker.bootstrap));
    log.create_topic(&TopicSpec::new("led", 1)).unwrap();
    log.append("led", &set(&[(0, 1, "k", "{\"ID\":1}")])).unwrap();
    let first = engine(settings(), "led_");
    run(&first, "CREATE STREAM s (k STRING KEY, id BIGINT) WITH (KAFKA_TOPIC='led', VALUE_FORMAT='JSON');");
    run(&first, "CREATE TABLE counts WITH (KAFKA_TOPIC='counts') AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;");
    let last_count = || values(&come_back(&log, "counts")?).pop();
    until("it has counted", BACK_MAX, || (last_count()? == "{\"N\":1}").then_some(()));
    first.close();
    drop(first);

    let other = broker.joined();
    move_to_second(&broker, "led");
    other.signal("KILL");
    until("nobody leads it", BACK_MAX, || {
        let error = log.watermarks(&at("led", 0)).expect_err("its broker is dead");
        assert_eq!(error.kind(), Kind::Io, "{error}");
        (error.message() == "partition 0 of topic led has no leader").then_some(())
    });
    let second = engine(settings(), "led_");
    let reason = until("it waits", BACK_MAX, || match state_of(&second, "COUNTS") {
        State::Waiting(reason) => Some(reason),
        State::Error(reason) => panic!("{reason}"),
        _ => None,
    });
    let _ = writeln!(std::io::stderr(), "the query waits: {reason}");
    other.restart();
    until("the topic is led again", BACK_MAX, || log.watermarks(&at("led", 0)).ok());
    log.append("led", &set(&[(0, 2, "k", "{\"ID\":2}")])).unwrap();
    until("it goes on", BACK_MAX, || (last_count()? == "{\"N\":2}").then_some(()));
    until("it runs", BACK_MAX, || (state_of(&second, "COUNTS") == State::Running).then_some(()));
    second.close();
}

/// Rows that left ahead of a commit, and were not waited for, die with the broker: they are written again.
#[test]
fn under_at_least_once_a_killed_broker_loses_no_row() {
    let Some(broker) = broker::own("under_at_least_once_a_killed_broker_loses_no_row") else { return };
    let (log, engine) = (connect(&broker.bootstrap), engine(KafkaSettings::new(&broker.bootstrap), "least_"));
    log.create_topic(&TopicSpec::new("in", 1)).unwrap();
    let mut session = Statements::default();
    session.set("processing.guarantee", "at_least_once").unwrap();
    let statements = "CREATE STREAM s (k STRING KEY, id BIGINT) WITH (KAFKA_TOPIC='in', VALUE_FORMAT='JSON');
        CREATE STREAM copy WITH (KAFKA_TOPIC='copy') AS SELECT k, id FROM s;";
    engine.run(statements, &mut session).unwrap();
    let (all, ()) = under_load(&broker, || {
        for round in 1..=2 {
            let consumed = || engine.queries()[0].1.counts().consumed;
            let before = consumed();
            until("the query is at work", BACK_MAX, || (consumed() > before + 200 * round).then_some(()));
            broker.signal("KILL");
            broker.restart();
        }
    });
    let wanted: BTreeSet<String> = (0..all).map(|id| format!("{{\"ID\":{id}}}")).collect();
    until("every row is there", BACK_MAX, || {
        let found: BTreeSet<String> = values(&come_back(&log, "copy")?).into_iter().collect();
        (found == wanted).then_some(())
    });
    // Its offsets are committed later than its rows are there.
    until("it runs", BACK_MAX, || (state_of(&engine, "COPY") == State::Running).then_some(()));
    engine.close();
}
