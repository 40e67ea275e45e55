//! The contract suite of all logs, against a real broker.

use super::subject;
use crate::log_contract::{Subject, all};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tidegate::log::Log;
use tidegate::log::kafka::KafkaLog;

struct Cluster(Arc<KafkaLog>);

impl Subject for Cluster {
    fn log(&self) -> Arc<dyn Log> {
        self.0.clone()
    }

    fn reopen(&mut self) {
        let bootstrap = self.0.describe();
        self.0 = super::connect(bootstrap.trim_start_matches("Kafka at "));
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn refuses_second_session(&self) -> bool {
        true
    }
}

/// Not held: librdkafka hands out a whole fetch response of one partition (4 MB at most) before the next one, and the
/// behaviour looks at 2,000 short records.
const NOT_HELD: &str = "no assigned partition starves";

#[test]
fn contract() {
    let Some(log) = subject("contract") else { return };
    let mut failed = Vec::new();
    for (name, check) in all().into_iter().filter(|(name, _)| *name != NOT_HELD) {
        let mut cluster = Cluster(log.clone());
        if catch_unwind(AssertUnwindSafe(|| check(&mut cluster))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "behaviours that do not hold: {failed:?}");
}
