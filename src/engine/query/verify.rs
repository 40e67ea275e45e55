//! VERIFY QUERY: checks that a persistent query has written what its statement yields for the history that it has read.
//!
//! The statement is run without EMIT over exactly the records that the query has committed, and its rows are compared with
//! those of the query's topic: for a table row by row of its final state, for a stream as an unordered collection. Rows that
//! another producer wrote, or that a fault caused, are shown, at most [`SHOWN_MAX`] of them.
//!
//! It refuses, with the reason, where the comparison would prove nothing: where the history is no longer complete, where other
//! queries write the same topic, and where a continuous query and a batch query differ by design (EMIT FINAL, rows of a join
//! that still wait for a match).

use crate::catalog::{Catalog, Source};
use crate::engine::query::persistent::Query;
use crate::engine::query::unknown_query;
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::{Error, Kind, Result};
use crate::execute::batch::{self, BatchResult, Came, Ranges};
use crate::execute::task::spec::ExecutionSpec;
use crate::log::{Assignment, Isolation, Start, TopicPartition};
use crate::parse::query::Select;
use crate::parse::statement::{CreateAs, Emit, JoinKind, Name, Parsed, SelectItem, SourceKind, Statement};
use crate::plan;
use crate::plan::Settings;
use crate::plan::nodes::join::Rule;
use crate::types::cell;
use crate::types::{SqlType, pseudo};
use arrow::array::{ArrayRef, StringArray};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Differences that are shown.
const SHOWN_MAX: usize = 20;
/// Rows of each side that are held in memory.
const ROWS_MAX: usize = 2_000_000;
/// Attempts to find a moment between two commits.
const LOOKS_MAX: u32 = 50;
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Relative difference of DOUBLE sums that were added in another order.
const DOUBLE_TOLERANCE: f64 = 1e-9;
/// How long one wait for rows takes.
const WAIT: Duration = Duration::from_millis(100);

/// Records that are read at once to see whether any are missing.
const RECORDS_PER_POLL: usize = 10_000;

/// Cells of a row; `None` = NULL.
type Row = Vec<Option<String>>;

impl Engine {
    pub(in crate::engine) fn verify(&self, id: &Name, session: &Session) -> Result<Answer> {
        let state = self.inner.state.load();
        let Some(query) = state.queries.get(&id.value) else {
            return Err(unknown_query(&id.value, &state.catalog).at(id.span));
        };
        let text = state.texts.get(&id.value).map(|t| t.sql.as_str()).unwrap_or_default();
        let catalog = &*state.catalog;
        let reads = catalog.query(&id.value).map_or(&[][..], |query| &query.reads);
        self.check_query(session, catalog, &id.value).and_then(|()| self.check_sources(session, catalog, reads))?;
        let no = |why: &str| Error::statement(format!("query {} cannot be verified: {why}", id.value));
        let spec = query.spec().ok_or_else(|| no("this version cannot plan it"))?;
        let parsed = crate::parse::parse_with(text, catalog.types())?;
        let [Parsed { statement: Statement::CreateAs(create), .. }] = parsed.as_slice() else {
            return Err(no("INSERT INTO ... SELECT writes into a stream of others"));
        };
        let sink = catalog.require(&create.name.value)?.clone();
        if let Some(why) = obstacle(create, spec, catalog) {
            return Err(no(why));
        }
        let ranges = Arc::new(self.committed_history(query, spec, &sink).map_err(|e| match e.kind() {
            Kind::Statement => no(e.message()),
            _ => e,
        })?);
        let verdict = self.compare(create, &sink, catalog, &ranges, text.len())?;
        Ok(Answer::Rows(Box::new(verdict.stream(&id.value, ranges.values().map(|r| r.end - r.start).sum()))))
    }

    /// By partition the offsets that the query has read and written, as of one commit.
    fn committed_history(&self, query: &Query, spec: &ExecutionSpec, sink: &Source) -> Result<Ranges> {
        let log = &self.inner.log;
        let inputs: Vec<(TopicPartition, &Source)> = spec.pipeline.inputs().collect();
        let places: Vec<TopicPartition> = inputs.iter().map(|(place, _)| place.clone()).collect();
        for _ in 0..LOOKS_MAX {
            let before = log.committed(query.group(), &places)?;
            let mut ranges = Ranges::new();
            let mut open = false;
            for partition in 0..sink.partitions as i32 {
                let place = TopicPartition::new(sink.topic.as_str(), partition);
                let marks = log.watermarks(&place)?;
                open |= marks.stable < marks.high;
                check_retained(&place, 0, marks.low)?;
                ranges.insert(place, marks.low..marks.stable);
            }
            if !open && log.committed(query.group(), &places)? == before {
                for (i, ((place, source), committed)) in inputs.iter().zip(&before).enumerate() {
                    let begin = spec.begin.as_ref().filter(|_| source.kind == SourceKind::Stream);
                    let begin = begin.and_then(|b| b.get(i).copied()).unwrap_or(0);
                    let range = begin..committed.as_ref().map_or(begin, |c| c.offset.max(begin));
                    self.check_complete(place, source, &range)?;
                    ranges.insert(place.clone(), range);
                }
                return Ok(ranges);
            }
            self.inner.clock.sleep(LOOK_PAUSE);
        }
        Err(Error::new(Kind::Busy, "the query commits all the time").with_hint("PAUSE it, verify, and RESUME it"))
    }

    /// An error unless everything that the query has read is still retained.
    fn check_complete(&self, place: &TopicPartition, source: &Source, range: &Range<i64>) -> Result<()> {
        check_retained(place, range.start, self.inner.log.watermarks(place)?.low)?;
        match source.kind == SourceKind::Stream && self.is_compacted(&place.topic)? {
            false => Ok(()),
            true => Err(Error::statement(format!("topic {} is compacted, rows of its past are gone", place.topic))),
        }
    }

    fn compare(
        &self,
        create: &CreateAs,
        sink: &Source,
        catalog: &Catalog,
        ranges: &Arc<Ranges>,
        text_bytes: usize,
    ) -> Result<Verdict> {
        let settings = self.settings(&self.inner.config.properties)?;
        let mut select = create.select.clone();
        select.emit = None;
        let bounds: &[&str] = if sink.window.is_some() { &[pseudo::WINDOWSTART, pseudo::WINDOWEND] } else { &[] };
        let bound = |name: &&str| format!("{name} AS VERIFY_{name}");
        for item in bounds.iter().map(bound) {
            select.items.extend(items(&format!("SELECT {item} FROM X"))?);
        }
        let history =
            batch::History { ranges: Some(ranges.clone()), ..self.history(&self.inner.config.properties, text_bytes) };
        let run = |select| batch::run(&plan::batch_query(select, catalog, &settings)?, &history);
        let wanted = run(&select)?;
        let shown = wanted.columns().len() - bounds.len();
        let mut names: Vec<String> = wanted.columns()[..shown].iter().map(|c| format!("`{}`", c.name)).collect();
        names.extend(bounds.iter().map(bound));
        let text = format!("SELECT {} FROM `{}`", names.join(", "), sink.name);
        let Some(Parsed { statement: Statement::Select(of_sink), .. }) = crate::parse::parse(&text)?.pop() else {
            return Err(Error::bug("the sink's rows cannot be selected"));
        };
        let keys: Vec<usize> = (0..wanted.columns().len())
            .filter(|i| *i >= shown || sink.schema.key.iter().any(|k| k.name == wanted.columns()[*i].name))
            .collect();
        let types: Vec<SqlType> = wanted.columns().iter().map(|c| c.ty.clone()).collect();
        let (ours, wanted) = (collect(run(&of_sink)?)?, collect(wanted)?);
        Ok(match sink.kind {
            SourceKind::Table => {
                let left = |ours: &[Row], wanted: &[Row]| {
                    let wanted: BTreeSet<Row> = wanted.iter().map(|row| cells_of(row, &keys)).collect();
                    ours.iter().any(|row| !wanted.contains(&cells_of(row, &keys)))
                };
                let seen = match left(&ours, &wanted) {
                    true => self.groups_ever((&select, &keys), catalog, &history, &settings)?,
                    false => GroupsEver::Ended,
                };
                let was_there = |key: &Row| match &seen {
                    GroupsEver::Ended => false,
                    GroupsEver::Unknown => true,
                    GroupsEver::Known(rows) => rows.contains(key),
                };
                Verdict::of_tables(&keys, &types, &was_there, ours, wanted)
            }
            SourceKind::Stream => Verdict::of_streams(ours, wanted),
        })
    }
}

/// The groups that a query over a table may have a row of although no row of the table is in them any more.
enum GroupsEver {
    /// None: a row has a group, or it is deleted.
    Ended,
    /// These: all that a record of the table's topic was ever in.
    Known(BTreeSet<Row>),
    /// The history does not show it.
    Unknown,
}

impl Engine {
    /// A group keeps its row when all rows of the table have left it. Its records are still in the table's topic, unless
    /// compaction has removed some: as a stream they have every group that there ever was.
    fn groups_ever(
        &self,
        (select, keys): (&Select, &[usize]),
        catalog: &Catalog,
        history: &batch::History,
        settings: &Settings,
    ) -> Result<GroupsEver> {
        let source = catalog.source(&select.from.name.value).filter(|source| source.kind == SourceKind::Table);
        let Some(source) = source.filter(|_| !select.group_by.is_empty()) else { return Ok(GroupsEver::Ended) };
        if !select.joins.is_empty() || !self.is_whole(source, history)? {
            return Ok(GroupsEver::Unknown);
        }
        let mut of_records = catalog.clone();
        of_records.define(Source { kind: SourceKind::Stream, ..(**source).clone() });
        let mut groups = select.clone();
        groups.having = None;
        let Ok(plan) = plan::batch_query(&groups, &of_records, settings) else { return Ok(GroupsEver::Unknown) };
        Ok(GroupsEver::Known(collect(batch::run(&plan, history)?)?.iter().map(|row| cells_of(row, keys)).collect()))
    }

    /// Does the table's topic hold every record that its query has read?
    fn is_whole(&self, table: &Source, history: &batch::History) -> Result<bool> {
        if !self.is_compacted(&table.topic)? {
            return Ok(true);
        }
        let Some(ranges) = &history.ranges else { return Ok(false) };
        for (place, range) in ranges.iter().filter(|(place, _)| *place.topic == *table.topic) {
            let (topic, partition) = (place.topic.clone(), place.partition);
            let start = Assignment { topic, partition, start: Start::Offset(range.start) };
            let mut reader = self.inner.log.reader(vec![start], Isolation::ReadCommitted)?;
            let mut next = range.start;
            while next < range.end {
                let fetched = reader.poll(RECORDS_PER_POLL, WAIT)?;
                let mut has_gap = fetched.is_empty() && reader.at_end(0);
                fetched.runs().iter().for_each(|run| {
                    run.for_each(|record| {
                        has_gap |= record.offset > next && next < range.end;
                        next = record.offset + 1;
                    });
                });
                if has_gap {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn is_compacted(&self, topic: &str) -> Result<bool> {
        let policy = |info: crate::log::TopicInfo| info.config.get("cleanup.policy").cloned().unwrap_or_default();
        Ok(self.inner.log.topic(topic)?.is_some_and(|info| policy(info).contains("compact")))
    }
}

fn cells_of(row: &Row, columns: &[usize]) -> Row {
    columns.iter().map(|column| row[*column].clone()).collect()
}

/// The items of a SELECT.
fn items(text: &str) -> Result<Vec<SelectItem>> {
    match crate::parse::parse(text)?.pop() {
        Some(Parsed { statement: Statement::Select(select), .. }) => Ok(select.items),
        _ => Err(Error::bug(format!("{text} is no SELECT"))),
    }
}

/// Why the batch result would differ from the query's.
fn obstacle(create: &CreateAs, spec: &ExecutionSpec, catalog: &Catalog) -> Option<&'static str> {
    let waits = |rule: &Rule, kind: JoinKind| matches!(rule, Rule::Within(_)) && kind != JoinKind::Inner;
    if create.select.emit == Some(Emit::Final) {
        return Some(
            "with EMIT FINAL it writes a window when it closes, and a query without EMIT returns open windows too",
        );
    }
    if spec.pipeline.joins.iter().any(|join| waits(&join.rule, join.kind)) {
        return Some("rows of its join still wait for a match, and a query without EMIT waits for nothing");
    }
    (catalog.writers(&create.name.value).count() > 1).then_some("other queries write into its topic as well")
}

fn check_retained(place: &TopicPartition, first: i64, low: i64) -> Result<()> {
    if low <= first {
        return Ok(());
    }
    let TopicPartition { topic, partition } = place;
    Err(Error::statement(format!(
        "{} records of topic {topic} partition {partition} are gone, deleted or beyond its retention",
        low - first
    )))
}

fn collect(mut result: BatchResult) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    loop {
        let batch = match result.next_within(WAIT)? {
            Came::Rows(batch) => batch,
            Came::Nothing => continue,
            Came::End => return Ok(rows),
        };
        if rows.len() + batch.num_rows() > ROWS_MAX {
            return Err(Error::new(Kind::Busy, format!("more than {ROWS_MAX} rows are to be compared")));
        }
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|c| cell::text(c.as_ref(), row)).collect::<Result<_>>()?);
        }
    }
}

/// The result of a comparison.
#[derive(Debug, Default)]
struct Verdict {
    /// Rows that are equal on both sides.
    equal: u64,
    /// Rows that are not.
    different: u64,
    /// Groups that no row of the table belongs to any more.
    left_empty: u64,
    /// The first of them: what, key, here, there.
    shown: Vec<[Option<String>; 4]>,
}

impl Verdict {
    fn differs(&mut self, count: u64, what: &str, cells: [Option<String>; 3]) {
        self.different += count;
        if self.shown.len() < SHOWN_MAX {
            let [key, ours, batch] = cells;
            self.shown.push([Some(what.to_owned()), key, ours, batch]);
        }
    }

    /// By key. A group keeps its row when all rows of the table have left it: then it `was_there`.
    fn of_tables(
        keys: &[usize],
        types: &[SqlType],
        was_there: &dyn Fn(&Row) -> bool,
        ours: Vec<Row>,
        wanted: Vec<Row>,
    ) -> Verdict {
        let key = |row: &Row| cells_of(row, keys);
        let mut left: BTreeMap<Row, Row> = ours.into_iter().map(|row| (key(&row), row)).collect();
        let right: BTreeMap<Row, Row> = wanted.into_iter().map(|row| (key(&row), row)).collect();
        let mut verdict = Verdict::default();
        for (key, wanted) in right {
            let found = left.remove(&key);
            match &found {
                Some(row) if row.iter().zip(&wanted).zip(types).all(|((a, b), ty)| same(a, b, ty)) => {
                    verdict.equal += 1
                }
                Some(row) => verdict.differs(1, "differs", [Some(line(&key)), Some(line(row)), Some(line(&wanted))]),
                None => verdict.differs(1, "missing", [Some(line(&key)), None, Some(line(&wanted))]),
            }
        }
        for (key, row) in left {
            if was_there(&key) {
                verdict.left_empty += 1;
                continue;
            }
            verdict.differs(1, "too much", [Some(line(&key)), Some(line(&row)), None]);
        }
        verdict
    }

    /// As collections.
    fn of_streams(ours: Vec<Row>, wanted: Vec<Row>) -> Verdict {
        let mut counts: BTreeMap<Row, (u64, u64)> = BTreeMap::new();
        ours.into_iter().for_each(|row| counts.entry(row).or_default().0 += 1);
        wanted.into_iter().for_each(|row| counts.entry(row).or_default().1 += 1);
        let mut verdict = Verdict::default();
        for (row, (here, there)) in counts {
            verdict.equal += here.min(there);
            let times = |n: u64| Some(if n == 1 { line(&row) } else { format!("{n} times {}", line(&row)) });
            match here.cmp(&there) {
                std::cmp::Ordering::Less => verdict.differs(there - here, "missing", [None, None, times(there - here)]),
                std::cmp::Ordering::Greater => {
                    verdict.differs(here - there, "too much", [None, times(here - there), None]);
                }
                std::cmp::Ordering::Equal => {}
            }
        }
        verdict
    }

    /// The differences as rows, with a summary; without differences there is no table.
    fn stream(self, id: &str, records: i64) -> FixedRows {
        let names = ["DIFFERENCE", "KEY", "QUERY", "BATCH"];
        let column = |name: &&str| OutputColumn { name: (*name).to_owned(), ty: SqlType::String };
        let columns = if self.different == 0 { Vec::new() } else { names.iter().map(column).collect() };
        let cells = |i: usize| self.shown.iter().map(|row| row[i].clone()).collect::<StringArray>();
        let rows = (!self.shown.is_empty()).then(|| (0..names.len()).map(|i| Arc::new(cells(i)) as ArrayRef).collect());
        let Verdict { equal, different, left_empty, .. } = self;
        let empty = match left_empty {
            0 => String::new(),
            n => format!("; {} without rows kept, which the history does not show", counted(n as i64, "group")),
        };
        let end = match different {
            0 => Ok(format!(
                "query {id} equals its batch result: {}; {} of its inputs and its topic read{empty}",
                counted(equal as i64, "row"),
                counted(records, "record")
            )),
            _ => Err(Error::data(format!(
                "query {id} differs from its batch result in {}, {equal} are equal",
                counted(different as i64, "row")
            ))
            .with_hint("another producer may have written to its topic; DROP and CREATE rebuild it")),
        };
        FixedRows { columns, rows, end: Some(end) }
    }
}

fn counted(count: i64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn line(row: &Row) -> String {
    row.iter().map(|cell| cell.as_deref().unwrap_or("null")).collect::<Vec<_>>().join(" | ")
}

fn same(a: &Option<String>, b: &Option<String>, ty: &SqlType) -> bool {
    if a == b {
        return true;
    }
    let (Some(a), Some(b), SqlType::Double) = (a, b, ty) else { return false };
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= DOUBLE_TOLERANCE * a.abs().max(b.abs()),
        _ => false,
    }
}

/// A fixed set of rows.
struct FixedRows {
    columns: Vec<OutputColumn>,
    rows: Option<Vec<ArrayRef>>,
    end: Option<Result<String>>,
}

impl RowStream for FixedRows {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn next(&mut self, _: Duration) -> Result<RowEvent> {
        match (self.rows.take(), self.end.take()) {
            (Some(columns), end) => {
                self.end = end;
                Ok(RowEvent::Rows { columns, tombstones: Vec::new() })
            }
            (None, Some(end)) => end.map(|text| RowEvent::Done(Some(text))),
            (None, None) => Ok(RowEvent::Done(None)),
        }
    }
}
