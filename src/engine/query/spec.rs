//! From a planned query to an executable one: the pipeline together with the session's properties.

use crate::catalog::Source;
use crate::config::EMIT_INTERVAL;
use crate::config::properties::{
    self, AUTO_OFFSET_RESET, CACHE_BYTES, COMMIT_INTERVAL, EMIT_INTERVAL_MS, FAIL_ON_PRODUCTION_ERROR,
    PROCESSING_GUARANTEE, STANDBY_REPLICAS, STREAM_THREADS,
};
use crate::engine::Engine;
use crate::engine::query::persistent::{NewQuery, Query};
use crate::engine::session::Session;
use crate::engine::snapshot::QueryText;
use crate::error::Result;
use crate::execute::operator::EmitMode;
use crate::execute::pipeline::Pipeline;
use crate::execute::pull::materialized_view::View;
use crate::execute::task::spec::{ExecutionSpec, Guarantee, Target};
use crate::log::{Claim, Sole, Start};
use crate::parse::statement::SourceKind;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    /// A persistent query that was planned, ready to run, and what EXPLAIN shows of it.
    pub(in crate::engine) fn new_query(
        &self,
        new: NewQuery,
        sink: Arc<Source>,
        begin: Option<Vec<i64>>,
        properties: &BTreeMap<String, String>,
        (is_paused, created_ms): (bool, i64),
    ) -> (Query, QueryText) {
        let NewQuery { id, sql, plan, pipeline, late_topic } = new;
        let spec = self.execution_spec(pipeline, Target::Topic(sink), self.group(&id), properties);
        let place = self.inner.node.as_ref().map(|node| node.place(&id));
        let claim = place.clone().map_or_else(Sole::claim, |place| Arc::new(place) as Arc<dyn Claim>);
        let spec = ExecutionSpec { begin, late_topic, claim, ..spec };
        let below = (self.inner.log.clone(), self.inner.clock.clone());
        let text = QueryText { sql, plan, created_ms };
        (Query::new(id, (spec, place), below, self.inner.processing.clone(), is_paused), text)
    }

    fn execution_spec(
        &self,
        pipeline: Pipeline,
        target: Target,
        group: String,
        properties: &BTreeMap<String, String>,
    ) -> ExecutionSpec {
        let view = match &target {
            Target::Topic(sink) if sink.kind == SourceKind::Table => {
                let window = pipeline.aggregate.as_ref().and_then(|a| a.window.as_ref());
                Some(Arc::new(View::new(sink, window, &self.shared_schemas(), self.inner.clock.clone())))
            }
            _ => None,
        };
        let guarantee = guarantee(properties);
        let usual = self.inner.config.commit_interval(guarantee == Guarantee::AtLeastOnce);
        let threads = properties::number(properties, STREAM_THREADS);
        let threads = threads.map(|threads| usize::try_from(threads).unwrap_or(usize::MAX));
        ExecutionSpec {
            crew: self.inner.workers.crew(&group, threads),
            view,
            start: start(properties),
            pipeline,
            target,
            group,
            claim: Sole::claim(),
            standbys: properties::number(properties, STANDBY_REPLICAS).unwrap_or(0) as usize,
            slot: self.inner.config.slot().to_owned(),
            mode: mode(properties),
            begin: None,
            commit_interval: properties::millis(properties, COMMIT_INTERVAL).unwrap_or(usual),
            emit_interval: properties::millis(properties, EMIT_INTERVAL_MS).unwrap_or(EMIT_INTERVAL),
            guarantee,
            fail_on_production_error: properties::flag(properties, FAIL_ON_PRODUCTION_ERROR),
            late_topic: None,
            spill_pool: self.inner.spill_pool.clone(),
            snapshots: self.inner.snapshots.clone(),
            watch: self.inner.watch.clone(),
            shared_rows: self.inner.shared_rows.clone(),
            schemas: self.inner.writers.clone(),
        }
    }

    /// The same for a query whose rows go to its reader.
    pub(in crate::engine) fn transient_spec(&self, pipeline: Pipeline, session: &Session) -> Result<ExecutionSpec> {
        let properties = self.properties(session);
        let id = self.transient_id(pipeline.scans.first().map_or("", |scan| &scan.source.name))?;
        Ok(self.execution_spec(pipeline, Target::Rows, id, &properties))
    }

    /// The offsets that `latest` means now: a query reads every record from its creation on, however long its start takes.
    pub(in crate::engine) fn begin(
        &self,
        pipeline: &Pipeline,
        properties: &BTreeMap<String, String>,
    ) -> Result<Option<Vec<i64>>> {
        if start(properties) != Start::Latest {
            return Ok(None);
        }
        let ends = pipeline.inputs().map(|(input, _)| Ok(self.inner.log.watermarks(&input)?.stable));
        ends.collect::<Result<_>>().map(Some)
    }
}

/// Exactly once, unless the session requests less.
fn guarantee(properties: &BTreeMap<String, String>) -> Guarantee {
    match properties::text(properties, PROCESSING_GUARANTEE) {
        "at_least_once" => Guarantee::AtLeastOnce,
        _ => Guarantee::ExactlyOnce,
    }
}

/// ksqlDB emits every change when its record cache is off, otherwise the last one of a key.
pub(in crate::engine) fn mode(properties: &BTreeMap<String, String>) -> EmitMode {
    match properties::number(properties, CACHE_BYTES) {
        Some(0) => EmitMode::EveryChange,
        _ => EmitMode::LatestPerKey,
    }
}

/// Where a query starts to read streams; tables are always read from their first record.
fn start(properties: &BTreeMap<String, String>) -> Start {
    match properties::text(properties, AUTO_OFFSET_RESET) {
        "latest" => Start::Latest,
        _ => Start::Earliest,
    }
}
