//! How far behind its table a lookup may be: ksqlDB's limit in offsets, and one in time.
//!
//! ```text
//! ksql.query.pull.max.allowed.offset.lag   offsets of the table's topic that a view has not read, per partition
//! tidegate.pull.max.lag.ms                 time for which something may be missing
//! ```
//!
//! Both are properties: of the process, of a session or of a request. A view that is fed by the commits of a query in this process
//! is never behind. An unknown end is no lag in offsets; the time says how long it has been unknown.

use crate::config::properties::{self, PULL_MAX_LAG_MS, PULL_MAX_OFFSET_LAG};
use crate::engine::Engine;
use crate::engine::query::pull::no_host;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::execute::pull::materialized_view::{LagLimits, View};
use std::time::Duration;

/// ksqlDB's default, a Java `long`: any lag is allowed.
const ANY_LAG: u64 = i64::MAX as u64;

impl Engine {
    /// Refuses a lookup in a view that is further behind than the session allows.
    pub(in crate::engine) fn check_lag(&self, view: &View, session: &Session) -> Result<()> {
        let Some(lag) = view.lag() else { return Ok(()) };
        let limits = self.lag_limits(session);
        let (partition, records, age) = (lag.partition, lag.records, lag.age.as_millis());
        if let Some(most) = limits.records.filter(|most| records > *most) {
            let reason = format!("lag {records} exceeds maximum allowed lag {most}");
            return Err(refusal(partition, &reason, PULL_MAX_OFFSET_LAG));
        }
        match limits.age.filter(|most| lag.age > *most) {
            Some(most) => {
                let reason = format!("lag {age} ms exceeds maximum allowed lag {} ms", most.as_millis());
                Err(refusal(partition, &reason, PULL_MAX_LAG_MS))
            }
            None => Ok(()),
        }
    }

    fn lag_limits(&self, session: &Session) -> LagLimits {
        let (own, all) = (session.properties(), &self.inner.config.properties);
        let limit = |name: &str| {
            let place = if own.contains_key(name) { own } else { all };
            properties::number(place, name)
        };
        LagLimits {
            records: limit(PULL_MAX_OFFSET_LAG).filter(|most| *most < ANY_LAG),
            age: limit(PULL_MAX_LAG_MS).map(Duration::from_millis),
        }
    }
}

/// In the words of ksqlDB's `MaximumLagFilter`.
fn refusal(partition: i32, reason: &str, setting: &str) -> Error {
    let host = format!("this host was not selected because Host excluded because {reason}.");
    no_host(partition, &host)
        .with_detail("the table's query runs in another process, whose rows arrive here later than that")
        .with_hint(format!("try again later, or allow more with SET '{setting}'"))
}
