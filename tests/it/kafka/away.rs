//! A broker that does not answer for a while, under load: queries wait for it and say so, and nothing is lost or doubled.

use super::*;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
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

/// Writes ids until told to stop, whether or not the broker answers; answers how many.
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

/// Stops the broker for the time, sees what is said of the queries, and answers when it went on.
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
    let shown = engine.query_rows();
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

#[test]
fn queries_wait_for_a_broker_that_is_away() {
    let Some(broker) = broker::own("queries_wait_for_a_broker_that_is_away") else { return };
    let (log, engine) = (connect(&broker.bootstrap), engine(KafkaSettings::new(&broker.bootstrap), "away_"));
    log.create_topic(&TopicSpec::new("in", 1)).unwrap();
    run(&engine, "CREATE STREAM s (k STRING KEY, id BIGINT) WITH (KAFKA_TOPIC='in', VALUE_FORMAT='JSON');");
    run(&engine, "CREATE STREAM copy WITH (KAFKA_TOPIC='copy') AS SELECT k, id FROM s;");
    run(&engine, "CREATE TABLE counts WITH (KAFKA_TOPIC='counts') AS SELECT k, COUNT(*) AS n FROM s GROUP BY k;");
    let stop = AtomicBool::new(false);
    let (all, back) = std::thread::scope(|scope| {
        let load = scope.spawn(|| feed(&broker.bootstrap, &stop));
        // A panic here must not leave the load running for ever.
        let back = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| while_stopped(&broker, &engine)));
        stop.store(true, Ordering::Relaxed);
        let all = load.join().unwrap();
        (all, back.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let copied = until("every row is copied", BACK_MAX, || {
        let copied = read_settled(&log, "copy", 0);
        (copied.len() as u64 >= all).then_some(copied)
    });
    let caught_up = back.elapsed();
    let expected: Vec<String> = (0..all).map(|id| format!("{{\"ID\":{id}}}")).collect();
    assert_eq!(values(&copied), expected);
    let mut counted = std::collections::BTreeMap::new();
    until("every row is counted", BACK_MAX, || {
        for record in read_settled(&log, "counts", 0) {
            counted.insert(record.key.unwrap(), String::from_utf8(record.value.unwrap()).unwrap());
        }
        let expected = |key: u64| format!("{{\"N\":{}}}", (0..all).filter(|id| id % KEYS == key).count());
        let wanted = (0..KEYS).all(|key| counted.get(format!("k{key}").as_bytes()) == Some(&expected(key)));
        wanted.then_some(())
    });
    let _ = writeln!(std::io::stderr(), "stopped for {:?}: {all} rows exact {caught_up:.1?} after that", stop_time());
    engine.close();
}
