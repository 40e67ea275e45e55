//! The facts of queries: state, counters, rates, lag, state size, stages and partitions.
//!
//! ```text
//! CTAS_CAR_STATS_1   RUNNING since ..   in 12,800/s   out 1,200/s   lag 0   60,000 keys, 41 MB   busy 62 %
//!   scan-0      Scan READINGS       12,800 -> 12,800
//!   aggregate   Aggregate by CAR    12,800 ->  1,200   late 12
//! ```

use super::history::RateSpan;
use super::query::{Counts, PartitionFacts, PartitionLag, QueryDetails, QueryFacts, Rates, StageFacts};
use crate::config::properties::{
    AUTO_OFFSET_RESET, COMMIT_INTERVAL, EMIT_INTERVAL_MS, FAIL_ON_PRODUCTION_ERROR, PROCESSING_GUARANTEE,
};
use crate::engine::Engine;
use crate::engine::cluster::node::pulse::{CountsElsewhere, QueryCounts};
use crate::engine::query::condition::{Condition, State as QueryState};
use crate::engine::query::lag;
use crate::engine::query::persistent::Query;
use crate::engine::query::push_registry::Push;
use crate::engine::query::unknown_query;
use crate::engine::session::Session;
use crate::engine::snapshot::State;
use crate::error::Result;
use crate::execute::operator::EmitMode;
use crate::execute::task::spec::{ExecutionSpec, Guarantee};
use crate::execute::task::{Progress, StageMeter};
use crate::log::Start;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// HTTP status and code of a query that does not exist.
const NOT_FOUND: u32 = 40_400;

/// Partitions with their lags, by query.
pub type Positions = BTreeMap<String, Vec<PartitionLag>>;

fn now(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl Engine {
    /// Offsets and lag of each query's partitions. `None` = the log does not respond. A query whose topics cannot be described
    /// is left out, the others are not.
    pub fn positions(&self) -> Option<Arc<Positions>> {
        let (log, queries) = (self.log().clone(), self.queries());
        let measure = move || {
            let each = queries.iter().filter_map(|(id, query)| Some((id.clone(), lag::partitions(&*log, query).ok()?)));
            Ok(each.collect())
        };
        self.inner.positions.get(self.clock(), measure)
    }

    /// The persistent queries that the user sees, in order of creation.
    pub(in crate::engine) fn seen_queries(&self, session: &Session) -> Vec<(String, Arc<Query>)> {
        let state = self.inner.state.load();
        let seen = state.queries().filter(|(id, _)| self.may_see_query(session, &state.catalog, id));
        seen.map(|(id, query)| (id.clone(), query.clone())).collect()
    }

    /// One of them; an error if there is none of this id, or the user does not see it.
    pub(in crate::engine) fn seen_query(&self, session: &Session, id: &str) -> Result<(String, Arc<Query>)> {
        let state = self.inner.state.load();
        let unknown = || unknown_query(id, &state.catalog).with_code(NOT_FOUND);
        let (id, query) = state.queries().find(|(known, _)| known.eq_ignore_ascii_case(id)).ok_or_else(unknown)?;
        self.check_query(session, &state.catalog, id)?;
        Ok((id.clone(), query.clone()))
    }

    /// All queries that the user sees: persistent ones in order of creation, then push queries.
    pub fn query_facts(&self, session: &Session) -> Vec<QueryFacts> {
        self.query_facts_at(session, self.positions().as_deref())
    }

    /// The same with the positions that [`Engine::positions`] returned: without a reply from the log each call of that takes its
    /// whole wait.
    pub fn query_facts_at(&self, session: &Session, positions: Option<&Positions>) -> Vec<QueryFacts> {
        let state = self.inner.state.load();
        let position = |id: &str| positions?.get(id).map(Vec::as_slice);
        let seen = state.queries().filter(|(id, _)| self.may_see_query(session, &state.catalog, id));
        let persistent = seen.map(|(id, query)| self.facts_of(&state, id, query, position(id)));
        let pushes = self.inner.pushes.seen_by(session.principal());
        persistent.chain(pushes.iter().map(|push| self.facts_of_push(push))).collect()
    }

    /// Everything about a persistent query.
    pub fn query_details(&self, session: &Session, id: &str) -> Result<QueryDetails> {
        let (id, query) = self.seen_query(session, id)?;
        let state = self.inner.state.load();
        let positions = self.positions();
        let position = positions.as_ref().and_then(|all| all.get(&id)).map(Vec::as_slice);
        let facts = self.facts_of(&state, &id, &query, position);
        let own = |span| self.inner.history.rates(&id, span).filter(|_| !facts.is_elsewhere);
        let average = |span| own(span).unwrap_or(facts.rates);
        let progress = query.progress();
        Ok(QueryDetails {
            rates: [average(RateSpan::Second), average(RateSpan::Minute)],
            partitions: partitions(progress, position.unwrap_or_default()),
            stages: self.stage_facts(&id, &query),
            settings: query.spec().map(settings).unwrap_or_default(),
            plan: state.texts.get(&id).map(|text| text.plan.clone()).unwrap_or_default(),
            facts,
        })
    }

    /// The stages of a query in the order in which rows pass them.
    pub(in crate::engine) fn stage_facts(&self, id: &str, query: &Query) -> Vec<StageFacts> {
        let shares = self.inner.history.stage_shares(id);
        stages(query.progress(), shares.as_deref(), self.age_seconds(query))
    }

    fn age_seconds(&self, query: &Query) -> f64 {
        self.clock().monotonic().saturating_sub(query.begun()).as_secs_f64()
    }

    pub(in crate::engine) fn facts_of(
        &self,
        state: &State,
        id: &str,
        query: &Query,
        position: Option<&[PartitionLag]>,
    ) -> QueryFacts {
        let (info, text, progress) = (state.catalog.query(id), state.texts.get(id), query.progress());
        let sink = info.map(|info| info.writes.clone());
        let sink_topic = sink.as_ref().and_then(|sink| state.catalog.source(sink)).map(|source| source.topic.clone());
        let since_start = || mean_rates(progress, self.age_seconds(query));
        let said = query.counts_elsewhere();
        let rates = match &said {
            Some(said) => rates_of(said),
            None => self.inner.history.rates(id, RateSpan::TenSeconds).unwrap_or_else(since_start),
        };
        QueryFacts {
            condition: query.condition(),
            persistent: true,
            is_elsewhere: said.is_some(),
            sql: text.map(|text| text.sql.clone()).unwrap_or_default(),
            sink,
            sink_topic,
            reads: info.map(|info| info.reads.clone()).unwrap_or_default(),
            topics: query.spec().map(topics).unwrap_or_default(),
            partitions: query.spec().map_or(0, |spec| spec.pipeline.inputs().count()),
            lag: position.and_then(lag::lag),
            rates,
            created_ms: text.map_or(0, |text| text.created_ms),
            standbys: query.standbys(),
            ..counted(id, said.map_or_else(|| query.counts_here(), |said| said.latest), progress)
        }
    }

    fn facts_of_push(&self, push: &Push) -> QueryFacts {
        let age = (self.clock().now_ms() - push.begun_ms).max(0) as f64 / 1e3;
        QueryFacts {
            condition: Condition { state: QueryState::Running, since_ms: push.begun_ms },
            sql: push.sql.clone(),
            reads: push.reads.clone(),
            topics: push.topics.iter().cloned().collect(),
            partitions: push.progress.meters().map_or(0, |meters| meters.inputs.len()),
            rates: mean_rates(&push.progress, age),
            created_ms: push.begun_ms,
            ..counted(&push.id, QueryCounts::of(&push.progress, 0), &push.progress)
        }
    }
}

/// What the counters alone say, which may be those of another process.
fn counted(id: &str, counts: QueryCounts, progress: &Progress) -> QueryFacts {
    QueryFacts {
        id: id.to_owned(),
        condition: Condition { state: QueryState::Running, since_ms: 0 },
        restarts: counts.restarts,
        persistent: false,
        is_elsewhere: false,
        sql: String::new(),
        sink: None,
        sink_topic: None,
        reads: Vec::new(),
        topics: Vec::new(),
        partitions: 0,
        counts: Counts::from(&counts),
        bytes_in: counts.bytes_in,
        bytes_out: counts.bytes_out,
        busy_seconds: counts.busy_nanos as f64 / 1e9,
        lag: None,
        rates: Rates::default(),
        stream_time: counts.stream_time,
        state_keys: counts.state_keys,
        state_bytes: counts.state_bytes,
        standbys: Vec::new(),
        created_ms: 0,
        commit_times: progress.commit_times.snapshot(),
        emit_times: progress.emit_times.snapshot(),
    }
}

/// The rates of a query that another process runs.
fn rates_of(said: &CountsElsewhere) -> Rates {
    Rates {
        rows_in: said.per_second(|counts| counts.consumed),
        rows_out: said.per_second(|counts| counts.produced),
        bytes_in: said.per_second(|counts| counts.bytes_in),
        bytes_out: said.per_second(|counts| counts.bytes_out),
        busy_share: (said.per_second(|counts| counts.busy_nanos) / 1e9).min(1.0),
    }
}

/// Averages since the start: before the first second has passed, and where nothing is sampled.
fn mean_rates(progress: &Progress, seconds: f64) -> Rates {
    let rate = |count: &AtomicU64| if seconds > 0.0 { now(count) as f64 / seconds } else { 0.0 };
    Rates {
        rows_in: rate(&progress.consumed),
        rows_out: rate(&progress.produced),
        bytes_in: rate(&progress.bytes_in),
        bytes_out: rate(&progress.bytes_out),
        busy_share: (rate(&progress.busy_nanos) / 1e9).min(1.0),
    }
}

fn topics(spec: &ExecutionSpec) -> Vec<String> {
    let mut topics: Vec<String> = spec.pipeline.scans.iter().map(|scan| scan.source.topic.clone()).collect();
    topics.sort();
    topics.dedup();
    topics
}

fn partitions(progress: &Progress, position: &[PartitionLag]) -> Vec<PartitionFacts> {
    let time = |lag: &PartitionLag| {
        let inputs = progress.meters()?.inputs.iter();
        let same = inputs.filter(|i| *i.place.topic == *lag.topic && i.place.partition == lag.partition);
        same.filter_map(|input| input.stream_time()).max()
    };
    position.iter().map(|lag| PartitionFacts { lag: lag.clone(), stream_time: time(lag) }).collect()
}

fn stages(progress: &Progress, shares: Option<&[f64]>, age_seconds: f64) -> Vec<StageFacts> {
    let Some(meters) = progress.meters() else { return Vec::new() };
    let facts = |(nth, stage): (usize, &StageMeter)| {
        let busy_seconds = now(&stage.busy_nanos) as f64 / 1e9;
        let mean = if age_seconds > 0.0 { (busy_seconds / age_seconds).min(1.0) } else { 0.0 };
        StageFacts {
            id: stage.kind.id(),
            name: stage.name.clone(),
            rows_in: now(&stage.rows_in),
            rows_out: now(&stage.rows_out),
            busy_share: shares.and_then(|shares| shares.get(nth)).copied().unwrap_or(mean),
            busy_seconds,
            state_keys: now(&stage.state_keys),
            state_bytes: now(&stage.state_bytes),
            late: now(&stage.late),
        }
    };
    meters.stages.iter().enumerate().map(facts).collect()
}

/// The settings that a query runs with.
fn settings(spec: &ExecutionSpec) -> BTreeMap<&'static str, String> {
    let guarantee = match spec.guarantee {
        Guarantee::ExactlyOnce => "exactly_once_v2",
        Guarantee::AtLeastOnce => "at_least_once",
    };
    let mode = match spec.mode {
        EmitMode::EveryChange => "every change",
        EmitMode::LatestPerKey => "latest change of each key",
    };
    let start = match spec.start {
        Start::Earliest => "earliest".to_owned(),
        Start::Latest => "latest".to_owned(),
        Start::Offset(offset) => offset.to_string(),
    };
    BTreeMap::from([
        (PROCESSING_GUARANTEE, guarantee.to_owned()),
        (COMMIT_INTERVAL, spec.commit_interval.as_millis().to_string()),
        (EMIT_INTERVAL_MS, spec.emit_interval.as_millis().to_string()),
        (AUTO_OFFSET_RESET, start),
        (FAIL_ON_PRODUCTION_ERROR, spec.fail_on_production_error.to_string()),
        ("emits", mode.to_owned()),
    ])
}
