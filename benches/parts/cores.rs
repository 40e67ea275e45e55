//! What a query gains from workers: its wall time over a log in memory, with one worker and with more.
//!
//! `cargo bench --bench parts -- cores [events=1000000] [rounds=3] [threads=1,2] [partitions=4]`
//!
//! The records are there before the query begins, so that it works without a pause. The best of the rounds counts, because other
//! work on the machine makes single measurements too long. The counts are checked.

use super::bids::Bids;
use super::pull::{number, word};
use std::time::{Duration, Instant};
use tidegate::config::{Config, LogConfig};
use tidegate::engine::Engine;
use tidegate::engine::session::Session;
use tidegate::log::RecordSet;
use tidegate::types::clock::SystemClock;

const SOURCES: &str = "
    CREATE STREAM bids (auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, datetime BIGINT, extra STRING)
      WITH (KAFKA_TOPIC='bids', VALUE_FORMAT='JSON', PARTITIONS=$P);
    CREATE STREAM asks (k BIGINT, v BIGINT) WITH (KAFKA_TOPIC='asks', VALUE_FORMAT='JSON', PARTITIONS=$P);
    CREATE STREAM deals (k BIGINT, v BIGINT) WITH (KAFKA_TOPIC='deals', VALUE_FORMAT='JSON', PARTITIONS=$P);
    CREATE TABLE prices (k BIGINT PRIMARY KEY, v BIGINT)
      WITH (KAFKA_TOPIC='prices', VALUE_FORMAT='JSON', PARTITIONS=$P);";

/// Name, whether it reads bids, and the query.
const QUERIES: [(&str, bool, &str); 6] = [
    ("q0", true, "CREATE STREAM o AS SELECT * FROM bids;"),
    ("q2", true, "CREATE STREAM o AS SELECT auction, price FROM bids WHERE auction % 123 = 0;"),
    (
        "tumble",
        true,
        "CREATE TABLE o AS SELECT auction, COUNT(*) AS n FROM bids WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY auction;",
    ),
    ("group", true, "CREATE TABLE o AS SELECT bidder, COUNT(*) AS n, SUM(price) AS s FROM bids GROUP BY bidder;"),
    (
        "join streams",
        false,
        "CREATE STREAM o AS SELECT a.k, a.v AS one, d.v AS two FROM asks a JOIN deals d
           WITHIN 1 SECOND GRACE PERIOD 1 SECOND ON a.k = d.k;",
    ),
    ("join table", false, "CREATE STREAM o AS SELECT a.k, a.v, p.v AS price FROM asks a JOIN prices p ON a.v = p.k;"),
];

pub(crate) fn cores() {
    let threads = word("threads").unwrap_or_else(|| "1,2".to_owned());
    let threads: Vec<&str> = threads.split(',').collect();
    for (name, bids, sql) in QUERIES {
        let mut alone = None;
        for threads in &threads {
            let (best, rows) = (0..number("rounds", 3)).map(|_| measure(sql, bids, threads)).min().expect("a round");
            let alone = *alone.get_or_insert(best);
            println!(
                "{name:<16} threads {threads:>2} {:>8.3} s   {:5.2} x   {rows} rows out",
                best.as_secs_f64(),
                alone.as_secs_f64() / best.as_secs_f64()
            );
        }
    }
}

/// Wall time from the statement to the last commit, and rows written.
fn measure(sql: &str, bids: bool, threads: &str) -> (Duration, u64) {
    let engine = Engine::open(Config::new(LogConfig::Temporary), SystemClock::shared()).expect("an engine");
    let (events, partitions) = (number("events", 1_000_000), number("partitions", 4));
    let mut session = Session::default();
    session.set("num.stream.threads", threads).expect("a number");
    engine.run(&SOURCES.replace("$P", &partitions.to_string()), &mut session).expect("the statements are right");
    if bids {
        let (bids, mut value) = (Bids::new(), Vec::new());
        fill(&engine, "bids", events, |n, set| {
            let time = bids.write(n, &mut value);
            set.push((n % partitions) as i32, time, None, Some(&value));
        });
    } else {
        for (topic, factor) in [("asks", 1_000_003), ("deals", 1_000_003), ("prices", 0)] {
            fill(&engine, topic, if factor == 0 { 1_000 } else { events / 2 }, |n, set| {
                let (k, v, key) = (n.wrapping_mul(factor), n % 1_000, (n as i64).to_be_bytes());
                let value = format!("{{\"K\":{k},\"V\":{v}}}");
                let partition = match factor {
                    0 => tidegate::log::partition::java(&key, partitions as u32),
                    _ => (n % partitions) as i32,
                };
                set.push(partition, (n / 50) as i64, (factor == 0).then_some(&key[..]), Some(value.as_bytes()));
            });
        }
    }
    let begun = Instant::now();
    engine.run(sql, &mut session).expect("the query is right");
    let (_, query) = engine.queries().pop().expect("it was created");
    // Its last commit covers every record; joins read two topics.
    let wanted = if bids {
        events
    } else if sql.contains("prices") {
        events / 2 + 1_000
    } else {
        events
    };
    while query.counts().consumed < wanted || !query.is_idle() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let time = begun.elapsed();
    let rows = query.counts().produced;
    engine.close();
    (time, rows)
}

fn fill(engine: &Engine, topic: &str, count: u64, mut push: impl FnMut(u64, &mut RecordSet)) {
    let mut set = RecordSet::default();
    for n in 0..count {
        push(n, &mut set);
        if set.len() == 10_000 || n + 1 == count {
            engine.log().append(topic, &set).expect("there is room");
            set.clear();
        }
    }
}
