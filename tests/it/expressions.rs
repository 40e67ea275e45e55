//! 10,000 random expressions over the whole function registry, over columns with NULLs: the same values and the same
//! entries of the processing log row by row, in one batch and in random pieces, and the same values in a batch query.
//!
//! `TIDEGATE_EXPRESSION_SEEDS=a..b` runs other seeds; one seed is one SELECT of 50 expressions.

mod writer;

use crate::batches::{Dice, cuts};
use crate::plan::{Done, World};
use arrow::array::{Array, ArrayRef};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;
use tidegate::catalog::Format;
use tidegate::config::{Config, LogConfig};
use tidegate::engine::result::rows::RowEvent;
use tidegate::engine::session::Session;
use tidegate::engine::{Answer, Drive, Engine};
use tidegate::execute::change::{ChangeBatch, RowImage};
use tidegate::execute::compile;
use tidegate::execute::operator::filter_project::FilterProjectOperator;
use tidegate::execute::operator::{Operator, OperatorOutput};
use tidegate::execute::pipeline::Pipeline;
use tidegate::format::Decoder;
use tidegate::log::simulated::SimulatedLog;
use tidegate::log::{Log, RecordSet};
use tidegate::types::clock::{ManualClock, SharedClock};
use tidegate::types::display::write_value;
use tidegate::types::{Column, SqlType};
pub(crate) use writer::{Writer, overloads};
use writer::{structure, types, written};

/// SELECTs without further asking.
const SEEDS: Range<u64> = 0..200;
/// Expressions in one SELECT.
const EXPRESSIONS: usize = 50;
/// Rows that each of them sees.
const ROWS: usize = 12;

/// The columns of the source but its key.
fn columns() -> Vec<(String, SqlType)> {
    let named = |(i, ty): (usize, SqlType)| (format!("C{i}"), ty);
    types().into_iter().chain([SqlType::Integer, SqlType::String, structure()]).enumerate().map(named).collect()
}

/// A JSON value of this type.
fn json(dice: &mut Dice, ty: &SqlType) -> String {
    let choice = dice.roll() as usize;
    let pick = |of: &[&str]| of[choice % of.len()].to_owned();
    match ty {
        SqlType::Boolean => pick(&["true", "false", "null"]),
        SqlType::Integer => pick(&["0", "1", "-1", "2", "5", "2147483647", "-2147483648", "null"]),
        SqlType::Bigint => pick(&["0", "1", "-3", "1614834367000", "9223372036854775807", "null"]),
        SqlType::Double => pick(&["0.0", "-0.0", "1.5", "-2.5", "1e300", "1e-7", "45.25", "null"]),
        SqlType::Decimal(9, _) => pick(&["0.00", "1.25", "-7.5", "9999999.99", "null"]),
        SqlType::Decimal(..) => pick(&["\"123456789012345678901.5\"", "\"-0.0000000001\"", "7", "null"]),
        SqlType::String if dice.one_in(7) => "null".to_owned(),
        SqlType::String => {
            serde_json::to_string(writer::TEXTS[dice.below(writer::TEXTS.len() as i64) as usize]).unwrap()
        }
        SqlType::Bytes => pick(&["\"\"", "\"AAECAw==\"", "\"aGVsbG8=\"", "\"AAAAAAAAAAE=\"", "null"]),
        SqlType::Date => pick(&["0", "18690", "-1", "null"]),
        SqlType::Time => pick(&["0", "36672000", "86399999", "null"]),
        SqlType::Timestamp => pick(&["0", "1614834367123", "-1", "null"]),
        _ if dice.one_in(7) => "null".to_owned(),
        SqlType::Array(item) => {
            let items: Vec<String> = (0..dice.below(4)).map(|_| json(dice, item)).collect();
            format!("[{}]", items.join(","))
        }
        SqlType::Map(_, value) => {
            let entries: Vec<String> = (0..dice.below(3)).map(|i| format!("\"k{i}\":{}", json(dice, value))).collect();
            format!("{{{}}}", entries.join(","))
        }
        SqlType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|(n, ty)| format!("\"{n}\":{}", json(dice, ty))).collect();
            format!("{{{}}}", fields.join(","))
        }
    }
}

/// Records and the batch that they are.
struct Table {
    engine: Engine,
    world: World,
    input: ChangeBatch,
}

impl Table {
    fn new(seed: u64) -> Table {
        let mut dice = Dice(seed ^ 0x7AB1E);
        let declared: Vec<String> = columns().iter().map(|(n, ty)| format!("{n} {}", written(ty))).collect();
        let create = format!(
            "CREATE STREAM s (k STRING KEY, {}) WITH (kafka_topic='s', partitions=1, value_format='JSON');",
            declared.join(", ")
        );
        let clock: SharedClock = ManualClock::at(0);
        let log = SimulatedLog::new(1, clock.clone());
        let config = Config::new(LogConfig::Temporary);
        let engine = Engine::over(log.clone(), config, clock, Drive::ByHand).unwrap();
        engine.run(&create, &mut Session::default()).unwrap();
        let value: Vec<Column> = columns().into_iter().map(|(n, ty)| Column::value(n, ty)).collect();
        let key = [Column::key("K", SqlType::String)];
        let all: Vec<usize> = (0..value.len()).collect();
        let mut keys = Decoder::new(Format::Kafka, &key, &[0], true).unwrap();
        let mut values = Decoder::new(Format::Json, &value, &all, false).unwrap();
        let (mut set, mut times) = (RecordSet::default(), Vec::new());
        for row in 0..ROWS {
            let fields: Vec<String> =
                columns().iter().map(|(n, ty)| format!("\"{n}\":{}", json(&mut dice, ty))).collect();
            let (record, name) = (format!("{{{}}}", fields.join(",")), format!("k{row}"));
            let time = dice.below(100);
            // Now and then a record has no value.
            let record = (!dice.one_in(9)).then_some(record.as_bytes());
            keys.push(Some(name.as_bytes())).unwrap();
            values.push(record).unwrap();
            times.push(time);
            set.push(0, time, Some(name.as_bytes()), record);
        }
        log.append("s", &set).unwrap();
        let (columns, present) = values.finish();
        let input = ChangeBatch {
            key: keys.finish().0,
            key_present: None,
            new: RowImage { columns, present },
            old: None,
            rowtime: times.into(),
            window: None,
            seq: (0..ROWS as u64).collect::<Vec<_>>().into(),
        };
        Table { engine, world: World::new(&create), input }
    }

    fn pipeline(&mut self, sql: &str) -> tidegate::error::Result<Pipeline> {
        match self.world.run(&format!("{sql} EMIT CHANGES;"))? {
            Done::Push(push) => compile::pipeline(&push.logical),
            other => panic!("{sql}: {other:?}"),
        }
    }

    /// The columns that a pipeline reads.
    fn read_by(&self, pipeline: &Pipeline) -> ChangeBatch {
        let scan = &pipeline.scans[0];
        let pick = |all: &[ArrayRef], which: &[usize]| which.iter().map(|i| all[*i].clone()).collect();
        let new =
            RowImage { columns: pick(&self.input.new.columns, &scan.value), present: self.input.new.present.clone() };
        ChangeBatch { key: pick(&self.input.key, &scan.key), new, ..self.input.clone() }
    }

    fn batch(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        let answers = self.engine.run(&format!("{sql};"), &mut Session::default());
        let Some(Answer::Rows(mut stream)) = answers.map_err(|e| format!("batch query: {e:?}"))?.pop() else {
            return Err("a batch query without rows".to_owned());
        };
        let mut rows = Vec::new();
        loop {
            match stream.next(Duration::from_secs(10)).map_err(|e| format!("batch query: {e:?}"))? {
                RowEvent::Rows { columns, .. } => rows.extend(cells(&columns)),
                RowEvent::Idle => {}
                RowEvent::Done(_) => return Ok(rows),
            }
        }
    }
}

fn cells(columns: &[ArrayRef]) -> Vec<Vec<String>> {
    let rows = columns.first().map_or(0, |c| c.len());
    let cell = |column: &ArrayRef, row| {
        let mut text = String::new();
        write_value(column, row, &mut text);
        // A text that says null is none.
        if column.is_valid(row) && text == "null" { "'null'".to_owned() } else { text }
    };
    (0..rows).map(|row| columns.iter().map(|c| cell(c, row)).collect()).collect()
}

type Entries = Vec<(u64, String)>;

/// Rows and entries when the input comes in these pieces.
fn pieces(pipeline: &Pipeline, input: &ChangeBatch, cuts: &[usize]) -> Result<(Vec<Vec<String>>, Entries), String> {
    let mut operator = FilterProjectOperator::new(&pipeline.rows);
    let mut out = OperatorOutput::default();
    for cut in cuts.windows(2) {
        let piece = input.slice(cut[0], cut[1] - cut[0]);
        operator.step(&[Some(&piece)], &mut out).map_err(|e| format!("rows {cut:?}: {e:?}"))?;
    }
    let rows = out.batches.iter().flat_map(|b| cells(&b.new.columns)).collect();
    let mut entries: Entries = out.bad.iter().map(|(seq, reason)| (seq, reason.to_owned())).collect();
    entries.sort();
    Ok((rows, entries))
}

/// Runs a SELECT in every way; returns the number of entries in the log, or what differs.
fn check(table: &mut Table, expressions: &[String], condition: &str, around: bool) -> Result<usize, String> {
    let items: Vec<String> = expressions.iter().enumerate().map(|(i, e)| format!("{e} AS x{i}")).collect();
    let sql = format!("SELECT {} FROM s{condition}", items.join(", "));
    let pipeline = table.pipeline(&sql).map_err(|e| format!("{e:?}"))?;
    let input = table.read_by(&pipeline);
    let (rows, log) = pieces(&pipeline, &input, &[0, ROWS])?;
    for how in [0, 3] {
        let (others, other_log) = pieces(&pipeline, &input, &cuts(&mut Dice(9), ROWS, how))?;
        if rows != others {
            return Err(format!("pieces {how}: {}", difference(expressions, &rows, &others)));
        }
        if let Some((a, b)) = log.iter().zip(&other_log).find(|(a, b)| a != b) {
            return Err(format!("pieces {how}, entries of the log: {a:?} and {b:?}"));
        }
        if log.len() != other_log.len() {
            return Err(format!("pieces {how}: {} and {} entries in the log", log.len(), other_log.len()));
        }
    }
    let history = table.batch(&sql)?;
    if rows != history {
        return Err(format!("batch query: {}", difference(expressions, &rows, &history)));
    }
    if around {
        same_inside_of_others(table, (expressions, &items), condition, rows)?;
    }
    Ok(log.len())
}

/// What is around a SELECT changes none of its rows.
fn same_inside_of_others(
    table: &Table,
    (expressions, items): (&[String], &[String]),
    condition: &str,
    mut rows: Vec<Vec<String>>,
) -> Result<(), String> {
    let (items, sql) = (items.join(", "), format!("SELECT {} FROM s{condition}", items.join(", ")));
    rows.sort();
    for whole in [
        format!("{sql} ORDER BY ROWOFFSET DESC, 1 IS NULL"),
        format!("SELECT * FROM ({sql}) AS q"),
        format!("WITH q AS ({sql}), r AS (SELECT * FROM q LIMIT 1000000) SELECT * FROM r OFFSET 0"),
        format!("{sql} UNION ALL SELECT {items} FROM s WHERE 1 = 0"),
        format!("(SELECT {items} FROM s WHERE 1 = 0) UNION ALL ({sql})"),
    ] {
        let mut others = table.batch(&whole).map_err(|why| format!("{whole}: {why}"))?;
        others.sort();
        if rows != others {
            return Err(format!("{}: {}", &whole[..40], difference(expressions, &rows, &others)));
        }
    }
    Ok(())
}

/// The first expression whose column differs, for the message.
fn difference(expressions: &[String], left: &[Vec<String>], right: &[Vec<String>]) -> String {
    for (row, (a, b)) in left.iter().zip(right).enumerate() {
        if let Some(column) = (0..a.len()).find(|c| a[*c] != b[*c]) {
            return format!("row {row}: {} is {} and {}", expressions[column], a[column], b[column]);
        }
    }
    format!("{} rows and {} rows", left.len(), right.len())
}

fn seeds() -> Range<u64> {
    let Some(text) = tidegate::config::environment("TIDEGATE_EXPRESSION_SEEDS") else { return SEEDS };
    let (from, to) = text.split_once("..").expect("TIDEGATE_EXPRESSION_SEEDS is a..b");
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
fn random_expressions_mean_the_same_by_row_in_a_batch_and_in_history() {
    let overloads = overloads();
    let scope: Vec<(String, SqlType)> =
        columns().into_iter().chain([("ROWTIME".to_owned(), SqlType::Bigint)]).collect();
    let mut called: BTreeMap<String, usize> = BTreeMap::new();
    let (mut next, mut refused, mut taken, mut entries) = (0, 0, 0, 0);
    let mut findings: Vec<String> = Vec::new();
    let mut table = Table::new(0);
    for seed in seeds() {
        if seed % 20 == 0 {
            table = Table::new(seed);
        }
        let mut dice = Dice(seed);
        let mut expressions: Vec<String> = Vec::new();
        while expressions.len() < EXPRESSIONS {
            let (entry, overload) = overloads[next % overloads.len()];
            next += 1;
            let mut writer = Writer::new(&mut dice, scope.clone(), &overloads);
            let depth = 1 + writer.dice.below(3) as u32;
            let text = match writer.dice.below(4) {
                0 => {
                    let ty = types()[writer.dice.below(types().len() as i64) as usize].clone();
                    writer.expr(&ty, depth + 1)
                }
                _ => writer.call(entry, overload, None, depth),
            };
            if text == "ROWTIME" {
                // Of a record without a value a reader of the stream is shown the key alone, history shows its time too.
                continue;
            }
            match table.pipeline(&format!("SELECT {text} AS x FROM s")) {
                Ok(_) => {
                    if text.starts_with(&format!("{}(", entry.name)) {
                        *called.entry(format!("{}({overload})", entry.name)).or_default() += 1;
                    }
                    expressions.push(text);
                }
                Err(_) => refused += 1,
            }
        }
        taken += expressions.len();
        let condition = loop {
            if seed % 3 > 0 {
                break String::new();
            }
            let condition = Writer::new(&mut dice, scope.clone(), &overloads).condition(3);
            if table.pipeline(&format!("SELECT c0 FROM s WHERE {condition}")).is_ok() {
                break format!(" WHERE {condition}");
            }
        };
        let around = seed % 4 == 0;
        match check(&mut table, &expressions, &condition, around) {
            Ok(logged) => entries += logged,
            Err(whole) => {
                // One of them alone, if it differs alone.
                let alone = expressions
                    .iter()
                    .filter_map(|e| Some((e, check(&mut table, std::slice::from_ref(e), &condition, around).err()?)));
                let alone: Vec<String> =
                    alone.take(2).map(|(e, why)| format!("SELECT {e}{condition}\n    {why}")).collect();
                findings.push(format!("seed {seed}: {}", if alone.is_empty() { whole } else { alone.join("\n") }));
            }
        }
    }
    let counts = format!("{taken} expressions, {refused} refused, {entries} entries in the log");
    let names: BTreeSet<&str> = overloads.iter().map(|(entry, _)| entry.name).collect();
    eprintln!("# {counts}, by {} overloads of {} functions", overloads.len(), names.len());
    assert!(findings.is_empty(), "{} findings in {counts}:\n{}", findings.len(), findings.join("\n"));
    if seeds() == SEEDS {
        let missing: Vec<String> =
            overloads.iter().map(|(e, o)| format!("{}({o})", e.name)).filter(|c| !called.contains_key(c)).collect();
        assert!(missing.is_empty(), "never called: {missing:?}");
        assert!(refused < taken && entries > taken / 10, "{refused} refused of {taken}, {entries} entries");
    }
}
