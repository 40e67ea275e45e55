//! The model: a naive interpreter, one row at a time, on BTreeMaps. No Arrow, no columns, no state but lists of the values
//! seen; every result is worked out again from its list. Operators in `Each` must equal it record for record.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use tidegate::functions::aggregate::{Aggregate, Comparable, Number};
use tidegate::types::SqlType;

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Val {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    /// Unscaled.
    Decimal(i128),
    Text(String),
    List(Vec<Val>),
}

impl Val {
    /// Java's order within a type; NULL first.
    pub(crate) fn order(&self, other: &Val) -> Ordering {
        match (self, other) {
            (Val::Bool(a), Val::Bool(b)) => a.cmp(b),
            (Val::Int(a), Val::Int(b)) => a.cmp(b),
            (Val::Long(a), Val::Long(b)) => a.cmp(b),
            (Val::Decimal(a), Val::Decimal(b)) => a.cmp(b),
            (Val::Text(a), Val::Text(b)) => a.encode_utf16().cmp(b.encode_utf16()),
            (Val::List(a), Val::List(b)) => {
                let unequal = a.iter().zip(b).map(|(a, b)| a.order(b)).find(|o| o.is_ne());
                unequal.unwrap_or(a.len().cmp(&b.len()))
            }
            (Val::Double(a), Val::Double(b)) if a.is_nan() || b.is_nan() => a.is_nan().cmp(&b.is_nan()),
            (Val::Double(a), Val::Double(b)) => a.total_cmp(b),
            (Val::Null, Val::Null) => Ordering::Equal,
            (Val::Null, _) => Ordering::Less,
            (_, Val::Null) => Ordering::Greater,
            _ => panic!("values of two types are compared: {self:?}, {other:?}"),
        }
    }

    fn double(&self) -> f64 {
        match self {
            Val::Int(v) => f64::from(*v),
            Val::Long(v) => *v as f64,
            Val::Double(v) => *v,
            other => panic!("not a number: {other:?}"),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Val::Null)
    }

    fn json(&self) -> String {
        match self {
            Val::Null => "null".into(),
            Val::Bool(v) => v.to_string(),
            Val::Int(v) => v.to_string(),
            Val::Long(v) => v.to_string(),
            Val::Text(v) => format!("\"{v}\""),
            other => panic!("the model writes no {other:?} in a JSON key"),
        }
    }
}

impl PartialEq for Val {
    fn eq(&self, other: &Val) -> bool {
        self.order(other).is_eq()
    }
}

/// One record: an input row or an output row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rec {
    /// `None` = no key.
    pub(crate) key: Option<Vec<Val>>,
    pub(crate) window: Option<(i64, i64)>,
    /// `None` = not asked for, or no old image.
    pub(crate) old: Option<Vec<Val>>,
    /// `None` = null value.
    pub(crate) new: Option<Vec<Val>>,
    pub(crate) time: i64,
    pub(crate) seq: u64,
}

/// Time windows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) size: i64,
    pub(crate) advance: i64,
    pub(crate) grace: i64,
    /// EMIT FINAL loses a window that starts more than this before the newest one; [`KEPT`] = none.
    pub(crate) retention: i64,
}

/// A retention that keeps every window.
pub(crate) const KEPT: i64 = i64::MAX;

/// A grouping.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    pub(crate) windows: Option<Windows>,
    /// Sessions in the place of windows: gap and grace.
    pub(crate) sessions: Option<(i64, i64)>,
    pub(crate) final_only: bool,
    pub(crate) with_old: bool,
    /// Function and its arguments' places in the value.
    pub(crate) calls: Vec<(Aggregate, Vec<usize>)>,
}

/// What a grouping gives.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) records: Vec<Rec>,
    pub(crate) late: u64,
    /// `seq` of rows with an error, ascending; a row may have several.
    pub(crate) bad: Vec<u64>,
}

/// Key bytes as the internal key format writes them: KAFKA for one column, JSON for several.
pub(crate) fn key_bytes(key: &[Val]) -> Vec<u8> {
    match key {
        [Val::Int(v)] => v.to_be_bytes().to_vec(),
        [Val::Long(v)] => v.to_be_bytes().to_vec(),
        [Val::Text(v)] => v.clone().into_bytes(),
        [one] => one.json().into_bytes(),
        several => {
            let fields: Vec<String> =
                several.iter().enumerate().map(|(i, v)| format!("\"K{i}\":{}", v.json())).collect();
            format!("{{{}}}", fields.join(",")).into_bytes()
        }
    }
}

#[derive(Default)]
struct Group {
    key: Vec<Val>,
    rows: Vec<Vec<Val>>,
    time: i64,
}

/// Runs a grouping over a stream.
pub(crate) fn group(rows: &[Rec], spec: &Grouping) -> Answer {
    if let Some((gap, grace)) = spec.sessions {
        return crate::session_model::group(rows, spec, gap, grace);
    }
    let mut groups: BTreeMap<(i64, Vec<u8>), Group> = BTreeMap::new();
    let mut answer = Answer::default();
    let (mut stream_time, mut newest, mut lost) = (i64::MIN, 0, Vec::new());
    for row in rows {
        let (Some(key), Some(value)) = (&row.key, &row.new) else {
            answer.bad.push(row.seq);
            continue;
        };
        if key.iter().any(Val::is_null) {
            answer.bad.push(row.seq);
            continue;
        }
        stream_time = stream_time.max(row.time);
        for start in starts(spec.windows, row.time) {
            if closed(spec.windows, start, stream_time) {
                answer.late += 1;
                continue;
            }
            newest = newest.max(start);
            let group = groups.entry((start, key_bytes(key))).or_default();
            let old = (!group.rows.is_empty() && spec.with_old).then(|| results(spec, &group.rows));
            group.time = if group.rows.is_empty() { row.time } else { group.time.max(row.time) };
            group.key = key.clone();
            group.rows.push(value.clone());
            if !spec.final_only {
                answer.records.push(record(spec, start, group, old, row.seq));
            }
        }
        while let Some(entry) = groups.first_entry().filter(|e| closed(spec.windows, e.key().0, stream_time)) {
            let ((start, _), group) = entry.remove_entry();
            if spec.final_only && spec.windows.is_some_and(|w| start < newest - w.retention) {
                // Told once for a window.
                if !lost.contains(&start) {
                    lost.push(start);
                    answer.bad.push(row.seq);
                }
            } else if spec.final_only {
                answer.records.push(record(spec, start, &group, None, row.seq));
            }
        }
    }
    answer
}

fn record(spec: &Grouping, start: i64, group: &Group, old: Option<Vec<Val>>, seq: u64) -> Rec {
    Rec {
        key: Some(group.key.clone()),
        window: spec.windows.map(|w| (start, start + w.size)),
        old,
        new: Some(results(spec, &group.rows)),
        time: group.time,
        seq,
    }
}

/// Starts of all windows that cover `time`, ascending.
fn starts(windows: Option<Windows>, time: i64) -> Vec<i64> {
    match windows {
        None => vec![0],
        Some(w) => {
            let mut starts = Vec::new();
            let mut start = time / w.advance * w.advance;
            while start >= 0 && start + w.size > time {
                starts.insert(0, start);
                start -= w.advance;
            }
            starts
        }
    }
}

fn closed(windows: Option<Windows>, start: i64, stream_time: i64) -> bool {
    windows.is_some_and(|w| start + w.size + w.grace <= stream_time)
}

pub(crate) fn results(spec: &Grouping, rows: &[Vec<Val>]) -> Vec<Val> {
    spec.calls.iter().map(|(function, places)| result(function, &arguments(rows, places))).collect()
}

/// The argument of every row; `true` where there is none.
pub(crate) fn arguments(rows: &[Vec<Val>], places: &[usize]) -> Vec<Val> {
    match places {
        [] => vec![Val::Bool(true); rows.len()],
        [at] => rows.iter().map(|r| r[*at].clone()).collect(),
        several => rows.iter().map(|r| Val::List(several.iter().map(|at| r[*at].clone()).collect())).collect(),
    }
}

fn decimal_sum(values: &[Val]) -> i128 {
    let unscaled = |value: &Val| if let Val::Decimal(v) = value { *v } else { panic!("not a decimal") };
    values.iter().map(unscaled).sum()
}

/// An aggregate of these values, in order.
pub(crate) fn result(function: &Aggregate, all: &[Val]) -> Val {
    let values: Vec<Val> = all.iter().filter(|v| !v.is_null()).cloned().collect();
    match function {
        Aggregate::CountRows | Aggregate::Count => Val::Long(values.len() as i64),
        Aggregate::SumInteger
        | Aggregate::SumBigint
        | Aggregate::SumDouble
        | Aggregate::AvgInteger
        | Aggregate::AvgBigint
        | Aggregate::AvgDouble => sum_or_mean(function, &values),
        Aggregate::SumDecimal(..) => Val::Decimal(decimal_sum(&values)),
        Aggregate::Min(_) => values.iter().min_by(|a, b| a.order(b)).cloned().unwrap_or(Val::Null),
        Aggregate::Max(_) => values.iter().max_by(|a, b| a.order(b)).cloned().unwrap_or(Val::Null),
        other => kept(other, all, &values),
    }
}

fn sum_or_mean(function: &Aggregate, values: &[Val]) -> Val {
    let int = |v: &Val| if let Val::Int(v) = v { *v } else { panic!("not an integer") };
    let long = |v: &Val| if let Val::Long(v) = v { *v } else { panic!("not a bigint") };
    let mean = |sum: f64| Val::Double(if values.is_empty() { 0.0 } else { sum / values.len() as f64 });
    let int_sum = || values.iter().map(int).fold(0, i32::wrapping_add);
    let long_sum = || values.iter().map(long).fold(0, i64::wrapping_add);
    let double_sum = || values.iter().map(Val::double).fold(0.0, |a, b| a + b);
    match function {
        Aggregate::SumInteger => Val::Int(int_sum()),
        Aggregate::SumBigint => Val::Long(long_sum()),
        Aggregate::SumDouble => Val::Double(double_sum()),
        Aggregate::AvgInteger => mean(f64::from(int_sum())),
        Aggregate::AvgBigint => mean(long_sum() as f64),
        _ => mean(double_sum()),
    }
}

/// Aggregates that look at each value; `values` are those of `all` that are not NULL.
fn kept(function: &Aggregate, all: &[Val], values: &[Val]) -> Val {
    let distinct = |values: &[Val]| {
        let mut seen: Vec<Val> = Vec::new();
        values.iter().for_each(|v| {
            if !seen.contains(v) {
                seen.push(v.clone())
            }
        });
        seen
    };
    match function {
        Aggregate::CollectList { limit, .. } => Val::List(all.iter().take(*limit).cloned().collect()),
        Aggregate::CollectSet { limit, .. } => Val::List(distinct(all).into_iter().take(*limit).collect()),
        Aggregate::Offset { latest, ignore_nulls, count, .. } => {
            let from = if *ignore_nulls { values } else { all };
            match count {
                None => (if *latest { from.last() } else { from.first() }).cloned().unwrap_or(Val::Null),
                Some(n) if *latest => Val::List(from[from.len().saturating_sub(*n)..].to_vec()),
                Some(n) => Val::List(from.iter().take(*n).cloned().collect()),
            }
        }
        Aggregate::Top { k, distinct: once, .. } => {
            let mut ranked = if *once { distinct(values) } else { values.to_vec() };
            ranked.sort_by(|a, b| b.order(a));
            ranked.truncate(*k);
            Val::List(ranked)
        }
        Aggregate::Histogram => {
            let count = |v: &Val| values.iter().filter(|w| *w == v).count() as i64;
            let mut counts: Vec<Val> =
                distinct(values).into_iter().map(|v| Val::List(vec![v.clone(), Val::Long(count(&v))])).collect();
            counts.sort_by(Val::order);
            Val::List(counts)
        }
        Aggregate::Attr(_) => match &distinct(all)[..] {
            [only] => only.clone(),
            _ => Val::Null,
        },
        Aggregate::CountDistinct(_) => Val::Long(distinct(values).len() as i64),
        Aggregate::SumList(_) => {
            let items = values.iter().flat_map(|v| if let Val::List(items) = v { &items[..] } else { &[] });
            let items: Vec<Val> = items.filter(|v| !v.is_null()).cloned().collect();
            sum_or_mean(&Aggregate::SumInteger, &items)
        }
        Aggregate::Deviation { root, .. } => deviation(values, *root),
        Aggregate::Correlation => correlation(values),
        other => panic!("the model does not know {other:?}"),
    }
}

/// By the recurrence of Youngs and Cramer, whose rounding is part of ksqlDB's answer.
fn deviation(values: &[Val], root: bool) -> Val {
    let (mut n, mut sum, mut square) = (0.0, 0.0, 0.0);
    for value in values.iter().map(Val::double) {
        n += 1.0;
        sum += value;
        if n > 1.0 {
            square += (n * value - sum) * (n * value - sum) / (n * (n - 1.0));
        }
    }
    let variance = if n < 2.0 { 0.0 } else { square / (n - 1.0) };
    Val::Double(if root { variance.sqrt() } else { variance })
}

fn correlation(values: &[Val]) -> Val {
    let mut s = [0.0; 6];
    for value in values {
        let Val::List(pair) = value else { panic!("not a pair") };
        if pair.iter().any(Val::is_null) {
            continue;
        }
        let (x, y) = (pair[0].double(), pair[1].double());
        s.iter_mut().zip([1.0, x, y, x * x, y * y, x * y]).for_each(|(s, v)| *s += v);
    }
    let below = (s[0] * s[3] - s[1] * s[1]) * (s[0] * s[4] - s[2] * s[2]);
    Val::Double((s[0] * s[5] - s[1] * s[2]) / below.sqrt())
}

/// `Last` of one emission: per (key, window) the first old and the last new, where its first row stood, with the highest
/// `seq`; nothing before and nothing after = no row.
pub(crate) fn fold(records: &[Rec], seq: u64) -> Vec<Rec> {
    let mut folded: Vec<Rec> = Vec::new();
    for record in records {
        match folded.iter_mut().find(|f| f.key == record.key && f.window == record.window) {
            Some(known) => {
                known.new = record.new.clone();
                known.time = record.time;
            }
            None => folded.push(record.clone()),
        }
    }
    folded.iter_mut().for_each(|f| f.seq = seq);
    folded.retain(|f| f.old.is_some() || f.new.is_some());
    folded
}

/// All aggregates over the test rows' value columns: INTEGER, BIGINT, DOUBLE, DECIMAL(3, 1), STRING, ARRAY<INTEGER>.
pub(crate) fn all_calls() -> Vec<(Aggregate, Vec<usize>)> {
    let list = || SqlType::Array(Box::new(SqlType::Integer));
    let offset = |latest, ignore_nulls, count| Aggregate::Offset { item: SqlType::String, latest, ignore_nulls, count };
    let top = |ranked: SqlType, k, distinct| Aggregate::Top { item: ranked.clone(), ranked, columns: 1, k, distinct };
    let mut calls = vec![
        (Aggregate::CountRows, vec![]),
        (Aggregate::Count, vec![0]),
        (Aggregate::SumInteger, vec![0]),
        (Aggregate::AvgInteger, vec![0]),
        (Aggregate::SumBigint, vec![1]),
        (Aggregate::AvgBigint, vec![1]),
        (Aggregate::SumDouble, vec![2]),
        (Aggregate::AvgDouble, vec![2]),
        (Aggregate::SumDecimal(38, 1), vec![3]),
        (Aggregate::SumList(Number::Integer), vec![5]),
        (Aggregate::CollectList { item: list(), limit: 9 }, vec![5]),
        (Aggregate::CollectSet { item: SqlType::String, limit: 4 }, vec![4]),
        (offset(false, true, None), vec![4]),
        (offset(false, false, None), vec![4]),
        (offset(true, true, None), vec![4]),
        (offset(true, false, None), vec![4]),
        (offset(false, false, Some(3)), vec![4]),
        (offset(true, true, Some(3)), vec![4]),
        (top(SqlType::String, 3, false), vec![4]),
        (top(SqlType::Integer, 2, true), vec![0]),
        (Aggregate::Histogram, vec![4]),
        (Aggregate::Attr(SqlType::String), vec![4]),
        (Aggregate::CountDistinct(SqlType::String), vec![4]),
        (Aggregate::Deviation { of: Number::Double, root: true }, vec![2]),
        (Aggregate::Deviation { of: Number::Double, root: false }, vec![2]),
        (Aggregate::Correlation, vec![2, 2]),
    ];
    let comparable =
        [Comparable::Integer, Comparable::Bigint, Comparable::Double, Comparable::Decimal(3, 1), Comparable::String];
    for (i, ty) in comparable.into_iter().enumerate() {
        calls.push((Aggregate::Min(ty), vec![i]));
        calls.push((Aggregate::Max(ty), vec![i]));
    }
    calls
}

/// An expression over BIGINT; booleans come from comparisons.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    Key(usize),
    Value(usize),
    Time,
    Lit(i64),
    Add(Box<Expr>, Box<Expr>),
    Div(Box<Expr>, Box<Expr>),
    Greater(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
}

/// The error state beside NULL.
#[derive(Debug)]
pub(crate) struct Thrown;

impl Expr {
    /// Reads more than the key.
    pub(crate) fn needs_value(&self) -> bool {
        match self {
            Expr::Value(_) | Expr::Time => true,
            Expr::Key(_) | Expr::Lit(_) => false,
            Expr::Not(a) => a.needs_value(),
            Expr::Add(a, b) | Expr::Div(a, b) | Expr::Greater(a, b) | Expr::And(a, b) => {
                a.needs_value() || b.needs_value()
            }
        }
    }

    /// Its value for a record with this image.
    pub(crate) fn eval(&self, row: &Rec, image: &[Val]) -> Result<Val, Thrown> {
        let number = |e: &Expr| match e.eval(row, image)? {
            Val::Long(v) => Ok(v),
            _ => Err(Thrown),
        };
        let truth = |e: &Expr| match e.eval(row, image)? {
            Val::Bool(v) => Ok(v),
            _ => Err(Thrown),
        };
        Ok(match self {
            Expr::Key(i) => row.key.as_ref().map_or(Val::Null, |k| k[*i].clone()),
            Expr::Value(i) => image[*i].clone(),
            Expr::Time => Val::Long(row.time),
            Expr::Lit(v) => Val::Long(*v),
            Expr::Add(a, b) => Val::Long(number(a)?.wrapping_add(number(b)?)),
            Expr::Div(a, b) => match (number(a)?, number(b)?) {
                (_, 0) => return Err(Thrown),
                (a, b) => Val::Long(a.wrapping_div(b)),
            },
            Expr::Greater(a, b) => match (a.eval(row, image)?, b.eval(row, image)?) {
                (Val::Long(a), Val::Long(b)) => Val::Bool(a > b),
                _ => Val::Bool(false),
            },
            Expr::Not(a) => Val::Bool(!truth(a)?),
            Expr::And(a, b) => Val::Bool(truth(a)? && truth(b)?),
        })
    }
}

/// Filters, then a projection.
#[derive(Clone, Debug)]
pub(crate) struct Projection {
    pub(crate) keep: Vec<Expr>,
    /// `None` = the key as it is.
    pub(crate) key: Option<Vec<Expr>>,
    pub(crate) value: Vec<Expr>,
    pub(crate) drop_null_keys: bool,
    pub(crate) drop_null_values: bool,
    /// The input is a table's changes, with old images.
    pub(crate) table: bool,
}

/// Runs filters and a projection.
pub(crate) fn project(rows: &[Rec], spec: &Projection) -> Answer {
    let mut answer = Answer::default();
    rows.iter().for_each(|row| project_row(row, spec, &mut answer));
    answer
}

fn project_row(row: &Rec, spec: &Projection, answer: &mut Answer) {
    let mut errors = 0;
    let kept = |image: &Vec<Val>, errors: &mut usize| {
        spec.keep.iter().all(|condition| match condition.eval(row, image) {
            Ok(value) => value == Val::Bool(true),
            Err(Thrown) => {
                *errors += 1;
                false
            }
        })
    };
    let new = row.new.as_ref().filter(|image| kept(image, &mut errors));
    let old = row.old.as_ref().filter(|image| kept(image, &mut 0));
    answer.bad.extend(std::iter::repeat_n(row.seq, errors));
    let passes = match spec.table {
        true => new.is_some() || old.is_some(),
        false => new.is_some() || (row.new.is_none() && !spec.drop_null_values),
    };
    if !passes {
        return;
    }
    let mut bad = 0;
    let mut value = |e: &Expr, image: &Vec<Val>| {
        e.eval(row, image).unwrap_or_else(|Thrown| {
            bad += 1;
            Val::Null
        })
    };
    let new: Option<Vec<Val>> = new.map(|image| spec.value.iter().map(|e| value(e, image)).collect());
    answer.bad.extend(std::iter::repeat_n(row.seq, bad));
    let old = old.map(|image| spec.value.iter().map(|e| e.eval(row, image).unwrap_or(Val::Null)).collect());
    let mut failed = 0;
    let key = match &spec.key {
        None => row.key.clone(),
        Some(exprs) => {
            let nothing = vec![Val::Null; 8];
            let mut one = |e: &Expr| {
                // What is read of a value that is not there, its time included, has no value.
                if row.new.is_none() && e.needs_value() {
                    return Val::Null;
                }
                e.eval(row, row.new.as_ref().unwrap_or(&nothing)).unwrap_or_else(|Thrown| {
                    failed += usize::from(row.new.is_some());
                    Val::Null
                })
            };
            let key: Vec<Val> = exprs.iter().map(&mut one).collect();
            if key.len() == 1 && key[0].is_null() { None } else { Some(key) }
        }
    };
    answer.bad.extend(std::iter::repeat_n(row.seq, failed));
    if spec.drop_null_keys && key.as_ref().is_none_or(|k| k.iter().any(Val::is_null)) {
        answer.bad.extend((failed == 0).then_some(row.seq));
        return;
    }
    answer.records.push(Rec { key, window: row.window, old, new, time: row.time, seq: row.seq });
}
