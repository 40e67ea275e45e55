//! The facts as rows: what `SELECT ... FROM system.queries` and the other system tables return.
//!
//! The same numbers as the API's and `/metrics`', taken when the query starts, and only what the user may see.

use super::history::{Series, Timeline};
use super::query::QueryFacts;
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::error::Result;
use crate::execute::batch::SystemRows;
use crate::log::TopicPartition;
use crate::plan::nodes::system::SystemTable;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMillisecondArray,
};
use std::sync::Arc;

/// Columns in the order of [`SystemTable::columns`].
#[derive(Default)]
struct Columns(Vec<ArrayRef>);

impl Columns {
    fn text<T: AsRef<str>>(&mut self, values: impl Iterator<Item = Option<T>>) {
        self.0.push(Arc::new(values.collect::<StringArray>()));
    }

    fn texts<'a>(&mut self, rows: impl Iterator<Item = &'a Vec<String>>) {
        let mut list = ListBuilder::new(StringBuilder::new());
        for row in rows {
            row.iter().for_each(|text| list.values().append_value(text));
            list.append(true);
        }
        self.0.push(Arc::new(list.finish()));
    }

    fn count(&mut self, values: impl Iterator<Item = u64>) {
        self.number(values.map(|value| Some(i64::try_from(value).unwrap_or(i64::MAX))));
    }

    fn number(&mut self, values: impl Iterator<Item = Option<i64>>) {
        self.0.push(Arc::new(values.collect::<Int64Array>()));
    }

    fn small(&mut self, values: impl Iterator<Item = Option<i32>>) {
        self.0.push(Arc::new(values.collect::<Int32Array>()));
    }

    fn real(&mut self, values: impl Iterator<Item = Option<f64>>) {
        self.0.push(Arc::new(values.collect::<Float64Array>()));
    }

    fn flag(&mut self, values: impl Iterator<Item = bool>) {
        self.0.push(Arc::new(values.map(Some).collect::<BooleanArray>()));
    }

    fn time(&mut self, values: impl Iterator<Item = Option<i64>>) {
        self.0.push(Arc::new(values.collect::<TimestampMillisecondArray>()));
    }

    fn batch(self, table: SystemTable) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(table.schema(), self.0)?)
    }
}

impl Engine {
    /// The rows of the system tables among these names.
    pub(in crate::engine) fn system_rows(&self, names: &[String], session: &Session) -> Result<SystemRows> {
        let tables = names.iter().filter_map(|name| SystemTable::of(name));
        tables.map(|table| Ok((table, self.rows_of(table, session)?))).collect()
    }

    fn rows_of(&self, table: SystemTable, session: &Session) -> Result<RecordBatch> {
        match table {
            SystemTable::Queries => queries(&self.query_facts(session)).batch(table),
            SystemTable::Partitions => self.partition_rows(session)?.batch(table),
            SystemTable::Topics => self.system_topics(session)?.batch(table),
            SystemTable::Problems => self.problem_rows(session).batch(table),
            SystemTable::History => self.history_rows(session)?.batch(table),
        }
    }

    fn partition_rows(&self, session: &Session) -> Result<Columns> {
        let mut rows = Vec::new();
        for (id, _) in self.seen_queries(session) {
            let details = self.query_details(session, &id)?;
            rows.extend(details.partitions.into_iter().map(|partition| (id.clone(), partition)));
        }
        let mut columns = Columns::default();
        columns.text(rows.iter().map(|(id, _)| Some(id)));
        columns.text(rows.iter().map(|(_, p)| Some(&p.lag.topic)));
        columns.small(rows.iter().map(|(_, p)| Some(p.lag.partition)));
        columns.number(rows.iter().map(|(_, p)| Some(p.lag.low)));
        columns.number(rows.iter().map(|(_, p)| Some(p.lag.high)));
        columns.number(rows.iter().map(|(_, p)| p.lag.committed));
        columns.number(rows.iter().map(|(_, p)| p.lag.records()));
        columns.time(rows.iter().map(|(_, p)| p.stream_time));
        Ok(columns)
    }

    fn system_topics(&self, session: &Session) -> Result<Columns> {
        let log = self.log();
        let mut topics = log.topics()?;
        topics.retain(|topic| self.check_topic(session, &topic.name).is_ok());
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let records = |topic: &crate::log::TopicInfo| -> Option<i64> {
            let marks =
                (0..topic.partitions as i32).map(|p| log.watermarks(&TopicPartition::new(topic.name.as_str(), p)));
            marks.map(|marks| marks.ok().map(|marks| marks.high - marks.low)).sum()
        };
        let queries = self.query_facts(session);
        let with = |uses: &dyn Fn(&QueryFacts) -> bool| -> Vec<String> {
            queries.iter().filter(|query| uses(query)).map(|query| query.id.clone()).collect()
        };
        let readers: Vec<Vec<String>> = topics.iter().map(|t| with(&|query| query.topics.contains(&t.name))).collect();
        let writers: Vec<Vec<String>> =
            topics.iter().map(|t| with(&|query| query.sink_topic.as_ref() == Some(&t.name))).collect();
        let mut columns = Columns::default();
        columns.text(topics.iter().map(|topic| Some(&topic.name)));
        columns.small(topics.iter().map(|topic| i32::try_from(topic.partitions).ok()));
        columns.small(topics.iter().map(|topic| Some(i32::from(topic.replicas))));
        columns.flag(topics.iter().map(|topic| self.topic_rules().is_internal(&topic.name)));
        columns.number(topics.iter().map(records));
        columns.number(topics.iter().map(|t| self.bytes_of(t).and_then(|bytes| i64::try_from(bytes).ok())));
        columns.texts(readers.iter());
        columns.texts(writers.iter());
        Ok(columns)
    }

    /// A row per group of problems, as the API lists them.
    fn problem_rows(&self, session: &Session) -> Columns {
        let all = self.problems(session);
        let mut columns = Columns::default();
        columns.text(all.iter().map(|problem| Some(&problem.query)));
        columns.text(all.iter().map(|problem| Some(problem.kind.name())));
        columns.text(all.iter().map(|problem| Some(&problem.reason)));
        columns.text(all.iter().map(|problem| problem.topic.as_ref()));
        columns.count(all.iter().map(|problem| problem.count));
        columns.time(all.iter().map(|problem| problem.last));
        columns.small(all.iter().map(|problem| problem.sample.map(|(partition, _)| partition)));
        // An offset below 0 is that of a row that was to be written.
        columns
            .number(all.iter().map(|problem| problem.sample.map(|(_, offset)| offset).filter(|offset| *offset >= 0)));
        columns
    }

    fn history_rows(&self, session: &Session) -> Result<Columns> {
        let mut rows: Vec<(String, Timeline, usize)> = Vec::new();
        for (id, _) in self.seen_queries(session) {
            for coarse in [true, false] {
                let timeline = self.timeline(session, Some(&id), &Series::ALL, coarse, 0)?;
                let steps = timeline.series.values().map(Vec::len).max().unwrap_or_default();
                rows.push((id.clone(), timeline, steps));
            }
        }
        let steps = || rows.iter().flat_map(|(id, line, steps)| (0..*steps).map(move |step| (id, line, step)));
        let value = |series: Series| {
            steps()
                .map(move |(_, line, step)| line.series.get(&series).and_then(|all| all.get(step).copied().flatten()))
        };
        let mut columns = Columns::default();
        columns.text(steps().map(|(id, ..)| Some(id)));
        columns.time(steps().map(|(_, line, step)| Some(line.start_ms + (step as u64 * line.step_millis) as i64)));
        columns.small(steps().map(|(_, line, _)| i32::try_from(line.step_millis).ok()));
        for series in [Series::In, Series::Out, Series::Late, Series::Bad] {
            columns.real(value(series));
        }
        columns.number(value(Series::Lag).map(|lag| lag.map(|lag| lag as i64)));
        columns.real(value(Series::CommitMillis));
        columns.number(value(Series::StateBytes).map(|bytes| bytes.map(|bytes| bytes as i64)));
        columns.real(value(Series::BusyShare));
        Ok(columns)
    }
}

fn queries(facts: &[QueryFacts]) -> Columns {
    let mut columns = Columns::default();
    columns.text(facts.iter().map(|q| Some(&q.id)));
    columns.text(facts.iter().map(|q| Some(q.condition.state.word())));
    columns.text(facts.iter().map(|q| Some(q.condition.sentence())));
    columns.time(facts.iter().map(|q| Some(q.condition.since_ms)));
    columns.count(facts.iter().map(|q| q.restarts));
    columns.flag(facts.iter().map(|q| q.persistent));
    columns.text(facts.iter().map(|q| Some(&q.sql)));
    columns.text(facts.iter().map(|q| q.sink.as_ref()));
    columns.texts(facts.iter().map(|q| &q.reads));
    columns.small(facts.iter().map(|q| i32::try_from(q.partitions).ok()));
    columns.count(facts.iter().map(|q| q.counts.consumed));
    columns.count(facts.iter().map(|q| q.counts.produced));
    columns.count(facts.iter().map(|q| q.bytes_in));
    columns.count(facts.iter().map(|q| q.bytes_out));
    columns.count(facts.iter().map(|q| q.counts.bad));
    columns.count(facts.iter().map(|q| q.counts.late));
    columns.count(facts.iter().map(|q| q.counts.commits));
    columns.number(facts.iter().map(|q| q.lag));
    columns.real(facts.iter().map(|q| Some(q.rates.rows_in)));
    columns.real(facts.iter().map(|q| Some(q.rates.rows_out)));
    columns.real(facts.iter().map(|q| Some(q.rates.busy_share)));
    columns.time(facts.iter().map(|q| q.stream_time));
    columns.count(facts.iter().map(|q| q.state_keys));
    columns.count(facts.iter().map(|q| q.state_bytes));
    columns.real(facts.iter().map(|q| q.commit_times.quantile_millis(0.5)));
    columns.real(facts.iter().map(|q| q.commit_times.quantile_millis(0.99)));
    columns.time(facts.iter().map(|q| Some(q.created_ms)));
    columns
}
