//! How much a query without EMIT reads of a topic on Kafka: bounds on places are kept exactly; of times only the lower
//! one saves anything, because the times of a partition need not be in order.

use super::*;
use crate::batch_reading::{answer, time};

const RECORDS: i64 = 3_000;

#[test]
fn bounds_on_records_reach_the_topic() {
    let Some(broker) = broker::shared("bounds_on_records_reach_the_topic") else { return };
    let log = connect(&broker.bootstrap);
    let engine = engine(KafkaSettings::new(&broker.bootstrap), &fresh("reading_"));
    let partitions = [1, 3];
    for n in partitions {
        let name = topic(&log, "reading", n).name;
        let mut records = RecordSet::default();
        for record in 0..RECORDS {
            records.push((record % i64::from(n)) as i32, time(record), None, Some(record.to_string().as_bytes()));
        }
        log.append(&name, &records).unwrap();
        let with = format!("WITH (KAFKA_TOPIC='{name}', VALUE_FORMAT='KAFKA')");
        run(&engine, &format!("CREATE STREAM s{n} (v STRING) {with};"));
    }
    let low = time(RECORDS / 2);
    // The first record of each partition that is young enough, as the broker finds it.
    let first = |n: i64| -> i64 {
        let young = |p: i64| (0..).find(|at| time(at * n + p) >= low).unwrap();
        (0..n).map(young).sum()
    };
    let all = RECORDS as u64;
    // Condition, records read of the topic with one partition, of that with three.
    let cases = [
        ("ROWOFFSET >= 100 AND ROWOFFSET < 250".to_owned(), 150, None),
        ("ROWOFFSET < 250".to_owned(), 250, Some(750)),
        ("ROWOFFSET = 7".to_owned(), 1, None),
        ("ROWPARTITION = 0".to_owned(), all, Some(all / 3)),
        ("ROWPARTITION = 0 AND ROWOFFSET BETWEEN 990 AND 999".to_owned(), 10, Some(10)),
        ("ROWPARTITION = 9".to_owned(), 0, Some(0)),
        ("ROWOFFSET >= 100000".to_owned(), 0, Some(0)),
        (format!("ROWTIME >= {low}"), all - first(1) as u64, Some(all - first(3) as u64)),
        (format!("ROWTIME BETWEEN {low} AND {}", low + 50), all - first(1) as u64, Some(all - first(3) as u64)),
        (format!("ROWTIME BETWEEN {low} AND {} AND ROWOFFSET < 600", low + 900), 0, Some(3 * 600 - first(3) as u64)),
        (format!("ROWTIME < {low}"), all, Some(all)),
    ];
    for (condition, of_one, of_three) in cases {
        for (n, wanted) in [(1, Some(of_one)), (3, of_three)] {
            let columns = "v, ROWTIME, ROWPARTITION, ROWOFFSET";
            let (rows, scanned) = answer(&engine, &format!("SELECT {columns} FROM s{n} WHERE {condition};"));
            // NOT NOT is not looked through: the same question, read in full.
            let (plain, whole) = answer(&engine, &format!("SELECT {columns} FROM s{n} WHERE NOT (NOT ({condition}));"));
            assert_eq!(rows, plain, "{n}: {condition}");
            assert_eq!((whole.records, whole.retained), (all, all), "{n}: {condition}");
            assert_eq!((scanned.records, scanned.retained), (scanned.planned, all), "{n}: {condition}");
            assert!(scanned.records <= whole.records && scanned.bytes <= whole.bytes, "{n}: {condition}: {scanned:?}");
            assert!(
                wanted.is_none_or(|wanted| wanted == scanned.records),
                "{n}: {condition}: {scanned:?}, not {wanted:?}"
            );
        }
    }
}
