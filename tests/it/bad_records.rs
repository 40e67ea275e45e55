//! A record that cannot be read, in each format, as key and as value: it is skipped, those around it are not, and it is told
//! with topic, partition, offset and a reason that names the column.

use std::path::PathBuf;
use std::sync::Arc;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::session::Session;
use tidegate::engine::{Drive, Engine};
use tidegate::log::embedded::EmbeddedLog;
use tidegate::log::{Log, RecordSet, TopicPartition};
use tidegate::types::clock::{ManualClock, SharedClock};

type Payload = Option<&'static [u8]>;

/// A stream with these columns and formats, records with what is wrong with each (`None` = nothing).
struct Case {
    create: &'static str,
    records: &'static [(Payload, Payload, Option<&'static str>)],
}

const CASES: &[Case] = &[
    Case {
        create: "(k STRING KEY, a INT, b STRING) WITH (KAFKA_TOPIC='in', PARTITIONS=2, VALUE_FORMAT='JSON')",
        records: &[
            (Some(b"k"), Some(b"{\"A\":1}"), None),
            (Some(b"k"), Some(b"{\"A\":1"), Some("the payload is not valid JSON at byte 6")),
            (Some(b"k"), Some(b"{\"A\":{}}"), Some("column `A`: the object at byte 5 is no INTEGER")),
            (Some(b"k"), Some(b"{\"B\":\"\xff\"}"), Some("the payload is not valid JSON at byte")),
            (Some(b"k"), Some(b""), Some("the payload is not valid JSON at byte 0")),
            (Some(b"k"), Some(b"[1]"), Some("the payload is not valid JSON at byte 0")),
        ],
    },
    Case {
        create: "(k INT KEY, a INT) WITH (KAFKA_TOPIC='in', PARTITIONS=2, KEY_FORMAT='JSON', VALUE_FORMAT='KAFKA')",
        records: &[
            (Some(b"7"), Some(&[0, 0, 0, 1]), None),
            (Some(b"true"), Some(&[0, 0, 0, 1]), Some("column `K`: the boolean at byte 0 is no INTEGER")),
            (Some(b"7"), Some(&[0, 0, 1]), Some("column `A`: INTEGER takes 4 bytes, the payload has 3")),
        ],
    },
    Case {
        create: "(k BIGINT KEY, a DOUBLE) WITH (KAFKA_TOPIC='in', PARTITIONS=2, KEY_FORMAT='KAFKA', VALUE_FORMAT='KAFKA')",
        records: &[
            (Some(&[0; 8]), Some(&[0; 8]), None),
            (Some(&[0; 7]), Some(&[0; 8]), Some("column `K`: BIGINT takes 8 bytes, the payload has 7")),
            (Some(&[0; 8]), Some(&[0; 9]), Some("column `A`: DOUBLE takes 8 bytes, the payload has 9")),
        ],
    },
    Case {
        create: "(k INT KEY, a INT, b DATE) WITH (KAFKA_TOPIC='in', PARTITIONS=2, KEY_FORMAT='DELIMITED', VALUE_FORMAT='DELIMITED')",
        records: &[
            (Some(b"5"), Some(b"1,2"), None),
            (Some(b"x"), Some(b"1,2"), Some("column `K`: field 1 is no INTEGER")),
            (Some(b"5"), Some(b"1"), Some("Unexpected field count, csvFields:1 schemaFields:2")),
            (Some(b"5"), Some(b"1,tomorrow"), Some("column `B`: field 2 is no DATE")),
            (Some(b"5"), Some(b"\"1,2"), Some("the payload is no line of values")),
            (Some(b"5"), Some(b"1,2\n\"3"), Some("a line of the payload is no line of values")),
            (Some(b"5"), Some(b""), Some("the payload is no line of values")),
        ],
    },
    Case {
        create: "(k STRING KEY, a STRING, b TIME, c DATE) WITH \
                 (KAFKA_TOPIC='in', PARTITIONS=2, KEY_FORMAT='PROTOBUF_NOSR', VALUE_FORMAT='PROTOBUF_NOSR')",
        records: &[
            (Some(b"\x0a\x01k"), Some(b"\x0a\x01x"), None),
            (Some(b"\x0a\x01\xff"), Some(b""), Some("column `K`: the field is no STRING")),
            (Some(b"\x0a\x01k"), Some(b"\x0a\x05x"), Some("the payload is no Protobuf message")),
            (Some(b"\x0a\x01k"), Some(b"\x12\x02\x08\x19"), Some("column `B`: the field is no TIME")),
            (Some(b"\x0a\x01k"), Some(b"\x1a\x00"), Some("column `C`: the field is no DATE")),
        ],
    },
];

#[test]
fn every_format_says_where_and_why() {
    for case in CASES {
        let clock: SharedClock = ManualClock::at(0);
        let log: Arc<dyn Log> = EmbeddedLog::in_memory(clock.clone()).unwrap();
        let config = Config::new(LogConfig::Embedded(PathBuf::from("unused")));
        let engine = Engine::over(log.clone(), config, clock, Drive::ByHand).unwrap();
        let sql =
            format!("CREATE STREAM s {}; CREATE STREAM r WITH (KAFKA_TOPIC='out') AS SELECT * FROM s;", case.create);
        engine.run(&sql, &mut Session::default()).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let mut set = RecordSet::default();
        // A good record before and behind the others.
        let first = &case.records[0];
        let all: Vec<_> = case.records.iter().chain([first]).collect();
        all.iter().for_each(|(key, value, _)| set.push(1, 5, *key, *value));
        log.append("in", &set).unwrap();
        engine.drive().unwrap();
        let told: Vec<_> = engine.queries().iter().flat_map(|(_, query)| query.bad()).collect();
        let wrong: Vec<_> = all.iter().enumerate().filter_map(|(at, r)| Some((at as i64, r.2?))).collect();
        assert_eq!(told.len(), wrong.len(), "{}: {told:?}", case.create);
        for (bad, (offset, reason)) in told.iter().zip(wrong) {
            assert_eq!((&*bad.topic, bad.partition, bad.offset), ("in", 1, offset), "{}: {told:?}", case.create);
            assert!(bad.reason.contains(reason), "{}: {reason}: {told:?}", case.create);
        }
        let out = (0..2).map(|p| log.watermarks(&TopicPartition::new("out", p)).unwrap().high).sum::<i64>();
        assert_eq!(out, (all.len() - told.len()) as i64, "{}", case.create);
    }
}
