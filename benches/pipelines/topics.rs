//! The topics that are read: one per size, because a reader fetches ahead of what it is asked for.

use crate::bids::Bids;
use crate::floor::scan;
use crate::host::Broker;
use crate::{Fallible, PARTITIONS};
use tidegate::log::kafka::{KafkaLog, KafkaSettings};
use tidegate::log::{Log, RecordSet, TopicPartition, TopicSpec};
use tidegate::types::clock::SystemClock;

/// Records of one append.
const APPEND: u64 = 50_000;
/// The filter of q2.
pub(crate) const DIVISOR: i64 = 123;

/// What is right for a topic.
pub(crate) struct Truth {
    /// Bids that q2 lets pass.
    pub(crate) matches: u64,
}

/// Name of the topic with so many bids.
pub(crate) fn name(events: u64) -> String {
    format!("bids-{events}")
}

/// Writes the topic unless it is there, and computes what is right from the generator.
pub(crate) fn prepare(broker: &Broker, events: u64) -> Fallible<Truth> {
    let log = KafkaLog::connect(KafkaSettings::new(&broker.bootstrap), SystemClock::shared())?;
    let topic = name(events);
    if log.topic(&topic)?.is_none() {
        log.create_topic(&TopicSpec::new(&topic, PARTITIONS).with("message.timestamp.type", "CreateTime"))?;
    }
    let there = (0..PARTITIONS as i32)
        .map(|p| Ok(log.watermarks(&TopicPartition::new(topic.as_str(), p))?.high as u64))
        .sum::<Fallible<u64>>()?;
    if there != 0 && there != events {
        return Err(format!("topic {topic} holds {there} records").into());
    }
    let bids = Bids::new();
    let (mut matches, mut bid, mut set) = (0, Vec::new(), RecordSet::default());
    for n in 0..events {
        let time = bids.write(n, &mut bid);
        let [auction] = scan(&bid, [b"auction"]);
        matches += u64::from(auction % DIVISOR == 0);
        if there == 0 {
            set.push((n % u64::from(PARTITIONS)) as i32, time, None, Some(&bid));
            if set.len() as u64 == APPEND || n + 1 == events {
                log.append(&topic, &set)?;
                set.clear();
            }
        }
    }
    Ok(Truth { matches })
}
