//! How long a row takes from a producer through one query to a reader, beside what the log alone takes.
//!
//! `cargo bench --bench parts -- latency [kafka=HOST:PORT] [guarantee=at_least_once] [commit=100] [seconds=10]
//! [rate=100000]`
//!
//! Producer, query and reader are this process. First the topic that the query reads is read without any query, then the
//! one that it writes; rows are stamped with the time at which they are written.

use super::pull::{engine, latencies, number, producer, quantiles, settings, word};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const INPUT: &str =
    "CREATE STREAM lat_in (id BIGINT KEY, n BIGINT) WITH (KAFKA_TOPIC='lat_in', VALUE_FORMAT='JSON', PARTITIONS=1);";
const QUERY: &str = "CREATE STREAM lat_out WITH (KAFKA_TOPIC='lat_out') AS SELECT id, n + 1 AS n FROM lat_in;";
/// Time for rows to flow evenly.
const WARM: Duration = Duration::from_secs(4);

pub(crate) fn latency() {
    let folder = tempfile::tempdir().expect("a directory");
    let engine = engine(folder.path());
    let mut session = settings();
    engine.run(INPUT, &mut session).expect("the statement is right");
    let (rate, time) = (number("rate", 100_000), Duration::from_secs(number("seconds", 10)));
    let stop = Arc::new(AtomicBool::new(false));
    let producer = producer(engine.log().clone(), "lat_in", rate, stop.clone(), Arc::new(AtomicU64::new(0)));
    std::thread::sleep(WARM);
    quantiles("produce to read, no query", latencies(&engine, "lat_in", time), "ms");
    engine.run(QUERY, &mut session).expect("the statement is right");
    std::thread::sleep(WARM);
    let guarantee = word("guarantee").unwrap_or_else(|| "exactly_once_v2".to_owned());
    quantiles(&format!("produce to output row, {guarantee}"), latencies(&engine, "lat_out", time), "ms");
    stop.store(true, Ordering::Relaxed);
    producer.join().expect("the producer ends");
    engine.close();
}
