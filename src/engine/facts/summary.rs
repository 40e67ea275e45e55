//! The facts of a query as lines of text: below the plan in EXPLAIN, and as `statistics` in DESCRIBE EXTENDED.
//!
//! ```text
//! RUNNING since 2026-11-29T14:02:00.000Z
//! scan-0     Scan READINGS             in: 12800 out: 12800 busy: 12.0%
//! aggregate  Aggregate by CAR          in: 12800 out: 1200 busy: 50.0% late: 12 state-keys: 60000 state-bytes: 41000960
//! ```

use super::query::{QueryFacts, StageFacts};
use crate::engine::result::entity::Reading;
use std::fmt::Write;

/// Below a plan: the state, and a line per stage.
pub(in crate::engine) fn below_plan(facts: &QueryFacts, stages: &[StageFacts]) -> String {
    let mut text = format!("\n{}\n", facts.condition.sentence());
    let width = |of: fn(&StageFacts) -> usize| stages.iter().map(of).max().unwrap_or_default();
    let (ids, names) = (width(|stage| stage.id.chars().count()), width(|stage| stage.name.chars().count()));
    for stage in stages {
        let StageFacts { id, name, rows_in, rows_out, busy_share, .. } = stage;
        let busy = busy_share * 100.0;
        let _ = write!(text, "{id:ids$}  {name:names$}  in: {rows_in} out: {rows_out} busy: {busy:.1}%");
        for (what, count) in
            [("late", stage.late), ("state-keys", stage.state_keys), ("state-bytes", stage.state_bytes)]
        {
            if count > 0 {
                let _ = write!(text, " {what}: {count}");
            }
        }
        text.push('\n');
    }
    facts.standbys.iter().for_each(|standby| text.push_str(&format!("standby on {}\n", standby.sentence())));
    text
}

impl Reading {
    /// One line, which begins as ksqlDB's statistics of a query.
    pub fn statistics(&self) -> String {
        let facts = &self.facts;
        let lag = self.lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
        let mut line = format!(
            "{}: messages-read-per-sec: {:.2} total-messages-read: {} total-messages: {} lag: {lag}",
            self.id, self.per_second, facts.counts.consumed, facts.counts.produced
        );
        let _ = write!(
            line,
            " bytes-read: {} bytes-written: {} commits: {} restarts: {} state-keys: {} state-bytes: {} busy: {:.1}%",
            facts.bytes_in,
            facts.bytes_out,
            facts.counts.commits,
            facts.restarts,
            facts.state_keys,
            facts.state_bytes,
            facts.rates.busy_share * 100.0
        );
        if let Some(time) = facts.stream_time {
            let _ = write!(line, " stream-time: {time}");
        }
        if let Some(millis) = facts.commit_times.quantile_millis(0.99) {
            let _ = write!(line, " commit-p99-ms: {millis:.1}");
        }
        facts.standbys.iter().for_each(|standby| line.push_str(&format!(" standby: {}", standby.sentence())));
        line
    }
}
