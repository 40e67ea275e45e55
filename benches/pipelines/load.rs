//! Topics of bids.

use crate::bids::Bids;
use tidegate::error::Result;
use tidegate::log::{Log, RecordSet, TopicSpec};

pub(crate) const PARTITIONS: u32 = 4;
/// Records handed to the log at a time.
const BATCH: usize = 20_000;

/// Makes a topic of `count` bids, spread over its partitions.
pub(crate) fn produce(log: &dyn Log, topic: &str, count: u64) -> Result<()> {
    log.create_topic(&TopicSpec::new(topic, PARTITIONS).with("retention.ms", -1))?;
    let (bids, mut value, mut set) = (Bids::new(), Vec::new(), RecordSet::default());
    for n in 0..count {
        let time = bids.write(n, &mut value);
        set.push((n % u64::from(PARTITIONS)) as i32, time, None, Some(&value));
        if set.len() == BATCH || n + 1 == count {
            log.append(topic, &set)?;
            set.clear();
        }
    }
    Ok(())
}
