//! FROM with several sources: a left-deep tree of joins, and the rest of the SELECT over its flat columns.
//!
//! Column `A` of the source known as `L` is the column `L_A` of the joined rows, as in ksqlDB. The statement is rewritten
//! to these names once, here: what binds SELECT, WHERE and GROUP BY afterwards sees one source ([`Joined::source`] represents
//! for it) and knows nothing of joins.
//!
//! ```text
//! FROM l JOIN r WITHIN 1 HOUR ON l.a = r.b        key of the result: the joined value, known as L_A, else as R_B,
//! SELECT l.a, r.c WHERE r.c > 1                   else (FULL OUTER, or expressions on both sides) as ROWKEY
//!   -->  SELECT L_A AS A, R_C AS C WHERE R_C > 1
//! ```

mod criteria;
mod history;
mod names;
mod native;
mod tables;

use crate::catalog::{Format, KeyWindow, Source};
use crate::error::{Error, Result};
use crate::parse::statement::{Join as JoinClause, JoinKind, Relation as Named, Select, SourceKind};
use crate::plan::nodes::Compute;
use crate::plan::nodes::join::{HIDDEN, Join, KEY, Rule};
use crate::plan::nodes::table::{Origin, SourceTable};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::inner::relations::{Relations, Written};
use crate::plan::select::purpose::Purpose;
use crate::plan::select::scope::Names;
use crate::plan::{Settings, formats, nodes::call, select::expression};
use crate::types::{Column, Role, Schema, SqlType, pseudo, quoted};
use criteria::Criteria;
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, TableSource};
use names::Sources;
use sqlparser::ast::Expr;
use std::sync::Arc;

/// A FROM clause with joins, bound, and the statement over it.
#[derive(Debug)]
pub(super) struct Joined {
    /// The joins.
    pub plan: LogicalPlan,
    /// Represents what is joined: its key, formats, partitions.
    pub source: Arc<Source>,
    /// The flat columns.
    pub names: Names,
    /// The statement over the flat columns.
    pub select: Select,
    /// Streams and tables that are read.
    pub reads: Vec<String>,
    /// What written names mean.
    pub written: Written,
}

/// A source, or what some of them are joined to.
#[derive(Clone, Debug)]
struct Relation {
    plan: LogicalPlan,
    /// As errors name it.
    text: String,
    /// Flat names and types, and where `plan` has them.
    columns: Vec<(String, SqlType, usize)>,
    /// Expressions over the flat columns that equal the key of every row; the rows are where this key belongs.
    same: Vec<Expr>,
    /// Those, and what else may name the key of the result.
    viable: Vec<Expr>,
    table: bool,
    /// The key columns, by their flat names, where a foreign key was the last to join: those of the left table.
    own_key: Option<Vec<Column>>,
    source: Arc<Source>,
    key_format: Format,
    /// Streams and tables alone, joined as ksqlDB does.
    ksql: bool,
}

/// Binds the joins of a SELECT and rewrites the rest of it.
pub(super) fn bind(select: &Select, purpose: Purpose<'_>, relations: &Relations<'_>) -> Result<Joined> {
    if purpose == Purpose::Batch {
        let bound = history::bind(select, relations)?;
        let mut joined = finish(select, bound.relation, bound.sources, purpose)?;
        joined.select.filter = bound.later.into_iter().chain(joined.select.filter).reduce(expression::and);
        return Ok(joined);
    }
    let sources = Sources::of(select, relations)?;
    check_sources(&sources, purpose)?;
    for clause in &select.joins {
        criteria::check(clause, &sources).map_err(|e| at(e, &clause.right))?;
    }
    let mut left = leaf(&sources, 0, relations)?;
    for (i, clause) in select.joins.iter().enumerate() {
        let right = leaf(&sources, i + 1, relations)?;
        let name = format!("{}Join", "L_".repeat(select.joins.len() - 1 - i));
        left = join(left, right, clause, &sources, (name, relations.settings(), false))
            .map_err(|e| at(e, &clause.right))?;
    }
    finish(select, left, sources, purpose)
}

fn at(e: Error, relation: &Named) -> Error {
    if e.span().is_some() { e } else { e.at(relation.name.span) }
}

fn check_sources(sources: &Sources, purpose: Purpose<'_>) -> Result<()> {
    let kafka = sources.all.iter().filter(|s| s.source.value_format == Format::Kafka);
    let kafka: Vec<&str> = kafka.map(|s| s.alias.as_str()).collect();
    if purpose.is_persistent() && !kafka.is_empty() {
        return Err(formats::kafka_value(&kafka, "JOIN"));
    }
    Ok(())
}

/// One source, its columns under their flat names.
fn leaf(sources: &Sources, place: usize, relations: &Relations<'_>) -> Result<Relation> {
    let known = &sources.all[place];
    let source = known.source.clone();
    let table = SourceTable::new(source.clone());
    let fields = TableSource::schema(&table);
    let column = |(i, field): (usize, &Arc<arrow::datatypes::Field>)| {
        // Columns behind those of a query have no names.
        let hidden = source.is_derived() && !matches!(table.origins()[i], Origin::Value(_));
        let shown = !hidden && (source.is_derived() || !field.name().starts_with('#'));
        shown.then(|| (known.flat(field.name()), table.sql_type(i), i))
    };
    let columns = fields.fields().iter().enumerate().filter_map(column).collect();
    let same: Vec<Expr> = match source.schema.key.as_slice() {
        [key] => vec![expression::identifier(&known.flat(&key.name))],
        _ => vec![],
    };
    Ok(Relation {
        plan: relations.leaf(&source, &known.alias)?,
        text: known.alias.clone(),
        columns,
        viable: same.clone(),
        same,
        table: source.kind == SourceKind::Table,
        own_key: None,
        key_format: source.key_format,
        ksql: !source.is_derived(),
        source,
    })
}

fn join(
    left: Relation,
    right: Relation,
    clause: &JoinClause,
    sources: &Sources,
    (name, settings, anywhere): (String, &Settings, bool),
) -> Result<Relation> {
    let criteria = Criteria::of(clause, sources, &left.columns, &right.columns)?;
    let joined_source = sources.behind(&criteria.left).unwrap_or(&sources.all[0]);
    check_windows((&joined_source.alias, &left), (&right.text, &right))?;
    let names =
        [joined_source, sources.behind(&criteria.right).unwrap_or(joined_source)].map(|s| s.source.name.as_str());
    let tables = kind_of(&left, &right, clause, names)?;
    let rule = match tables {
        None => Rule::Within(clause.within.ok_or_else(|| Error::bug("a join of streams has no WITHIN"))?),
        Some(tables) => tables::rule((&left, &right), clause.kind, (&criteria, sources), names, tables)?,
    };
    let types = [side_key(&left, &criteria.left)?, side_key(&right, &criteria.right)?];
    if types[0].ty != types[1].ty {
        return Err(Error::statement(format!(
            "Invalid join condition: types don't match. Got {}.",
            criteria.text(sources, [&format!("{{{}}}", types[0].ty), &format!("{{{}}}", types[1].ty)])
        )));
    }
    let key = Column::key(key_name(&criteria, sources), types[0].ty.clone());
    let wanted = if left.key_format == Format::None { right.key_format } else { left.key_format };
    let key_format = formats::internal_key_format(wanted, settings.key_format, std::slice::from_ref(&key));
    formats::check_key(key_format, std::slice::from_ref(&key))?;
    let foreign = matches!(rule, Rule::Foreign { .. });
    // The right side of a foreign key is found by its own key bytes; the left one stays where it is.
    let key_format = if foreign { right.key_format } else { key_format };
    if !foreign && !anywhere {
        check_partitions(&left, &right)?;
    }
    let apart = left.source.partitions != right.source.partitions;
    let rekeyed = |side: &Relation, expr: &Expr| {
        !foreign && (apart || !side.same.contains(expr) || side.key_format != key_format)
    };
    let sides_rekeyed = [rekeyed(&left, &criteria.left), rekeyed(&right, &criteria.right)];
    for (rekeyed, side) in sides_rekeyed.into_iter().zip([&left, &right]) {
        if rekeyed && side.source.window.is_some() {
            return Err(Error::statement(
                "Implicit repartitioning of windowed sources is not supported. See https://github.com/confluentinc/ksql/issues/4385.",
            ));
        }
    }
    // Keys of a format with a registry have the writer's schema in their bytes: equal keys may be in different partitions.
    let scattered = |side: &Relation| !foreign && side.key_format.schema_type().is_some();
    let hops = [sides_rekeyed[0] || scattered(&left), sides_rekeyed[1] || scattered(&right)];
    let sides = [side(&left, &types[0])?, side(&right, &types[1])?];
    let partitions = left.source.partitions;
    let own_key = match &rule {
        Rule::Foreign { key, .. } => Some(key.clone()),
        _ => None,
    };
    let key_format_out = if foreign { left.key_format } else { key_format };
    let window = left.source.window;
    let plan = Join::plan(name, clause.kind, rule, key, key_format, partitions, hops, window, sides)?;
    let joined = joined(left, right, clause.kind, (criteria, foreign), plan, key_format_out);
    Ok(Relation { own_key, ..joined })
}

const WITHOUT_WITHIN: &str = "Stream-Stream joins must have a WITHIN clause specified. None was provided. To learn about how \
     to specify a WITHIN clause with a stream-stream join, please visit: \
     https://docs.confluent.io/current/ksql/docs/syntax-reference.html#create-stream-as-select";

/// Two streams (`None`), a stream with a table (`Some(false)`), or two tables.
fn kind_of(left: &Relation, right: &Relation, clause: &JoinClause, names: [&str; 2]) -> Result<Option<bool>> {
    match (left.table, right.table, clause.within) {
        (true, false, _) => Err(Error::statement(format!(
            "Invalid join order: table-stream joins are not supported; only stream-table joins. Got {} {} {}.",
            names[0],
            words(clause.kind),
            names[1]
        ))),
        (false, true, Some(_)) => Err(Error::statement(
            "A window definition was provided for a Stream-Table join. These joins are not windowed. Please drop the window \
             definition (ie. the WITHIN clause) and try to execute your join again.",
        )),
        (true, true, Some(_)) => Err(Error::statement(
            "A window definition was provided for a Table-Table join. These joins are not windowed. Please drop the window \
             definition (i.e. the WITHIN clause) and try to execute your Table-Table join again.",
        )),
        (tables, true, None) => Ok(Some(tables)),
        (false, false, None) => Err(Error::statement(WITHOUT_WITHIN)
            .with_hint("JOIN ... WITHIN 1 HOUR ON ... joins rows that are at most an hour apart")),
        (false, false, Some(_)) => Ok(None),
    }
}

/// The join as ksqlDB's errors write it.
fn words(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "[INNER] JOIN",
        JoinKind::Left => "LEFT [OUTER] JOIN",
        JoinKind::Right => "RIGHT [OUTER] JOIN",
        JoinKind::Full => "[FULL] OUTER JOIN",
    }
}

/// Both sides are windowed in ways that can meet, or neither is; each side with the name of the source that ON names.
fn check_windows((left_name, left): (&str, &Relation), (right_name, right): (&str, &Relation)) -> Result<()> {
    let session = |r: &Relation| r.source.window.map(|w| w.kind.name() == "SESSION");
    let shown = |name: &str, r: &Relation| match r.source.window {
        Some(window) => format!("{} is {} windowed", quoted(name), window.kind.name()),
        None => format!("{} is not windowed", quoted(name)),
    };
    match (session(left), session(right)) {
        (None, Some(_)) | (Some(_), None) => Err(Error::statement(format!(
            "Can not join windowed source to non-windowed source.\n{}\n{}",
            shown(left_name, left),
            shown(right_name, right)
        ))),
        (Some(a), Some(b)) if a != b => {
            let kind = |r: &Relation| r.source.window.map_or("", |w| w.kind.name());
            Err(Error::statement(format!(
                "Incompatible windowed sources.\nLeft source: {}\nRight source: {}\nSession windowed sources can only be \
                 joined to other session windowed sources, and may still not result in expected behaviour as session bounds \
                 must be an exact match for the join to work\nHopping and tumbling windowed sources can only be joined to \
                 other hopping and tumbling windowed sources",
                kind(left),
                kind(right)
            )))
        }
        _ => Ok(()),
    }
}

fn check_partitions(left: &Relation, right: &Relation) -> Result<()> {
    let (l, r) = (left.source.partitions, right.source.partitions);
    if l == r {
        return Ok(());
    }
    Err(Error::statement(format!(
        "Can't join {} with {} since the number of partitions don't match. {} partitions = {l}; {} partitions = {r}. Please \
         repartition either one so that the number of partitions match.",
        quoted(left.first()),
        quoted(&right.text),
        quoted(left.first()),
        quoted(&right.text)
    )))
}

fn key_name(criteria: &Criteria, sources: &Sources) -> String {
    let column = [&criteria.left, &criteria.right].into_iter().find_map(|e| expression::as_name(e));
    column.map_or_else(|| sources.synthetic(), str::to_owned)
}

/// The expression that a side is joined by.
fn side_key(side: &Relation, expr: &Expr) -> Result<Typed> {
    let mut names = Names::new("JOIN ON", "");
    for (name, ty, place) in &side.columns {
        names.add(name, *place, ty.clone());
    }
    scalar::bind(expr, &names, Boundary::PartitionBy)
}

/// A side's plan: the key, all flat columns, what every row carries.
fn side(relation: &Relation, key: &Typed) -> Result<LogicalPlan> {
    let input = relation.plan.schema();
    let all = input.columns();
    let mut columns = vec![(KEY.to_owned(), call::call(&key.program, &key.ty, input))];
    for (name, _, place) in &relation.columns {
        columns.push((name.clone(), PlanExpr::Column(all[*place].clone())));
    }
    for hidden in HIDDEN {
        let column = all.iter().find(|c| c.name == hidden).cloned();
        let column = column.ok_or_else(|| Error::bug(format!("a side of a join has no {hidden}")))?;
        columns.push((hidden.to_owned(), PlanExpr::Column(column)));
    }
    Ok(Compute::plan(columns, relation.plan.clone())?)
}

/// What two relations are joined to.
fn joined(
    left: Relation,
    right: Relation,
    kind: JoinKind,
    (criteria, foreign): (Criteria, bool),
    plan: LogicalPlan,
    key_format: Format,
) -> Relation {
    let columns = left.columns.iter().chain(&right.columns).enumerate();
    let columns = columns.map(|(i, (name, ty, _))| (name.clone(), ty.clone(), i + 1)).collect();
    let known = |set: &[Expr], expr: &Expr| if set.contains(expr) { set.to_vec() } else { vec![expr.clone()] };
    let (mut same, mut viable) = match kind {
        // The left table's key stays the key, whatever the foreign key is.
        _ if foreign => (left.same, left.viable),
        JoinKind::Full => (vec![], vec![]),
        JoinKind::Right => (vec![], known(&left.viable, &criteria.left)),
        _ => (known(&left.same, &criteria.left), known(&left.viable, &criteria.left)),
    };
    if !foreign && matches!(kind, JoinKind::Inner | JoinKind::Right) {
        same.push(criteria.right.clone());
    }
    if !foreign && kind != JoinKind::Full {
        viable.push(criteria.right);
    }
    let text = format!("{} {}", left.text, right.text);
    let (table, source) = (left.table, left.source);
    Relation { plan, text, columns, same, viable, table, own_key: None, source, key_format, ksql: true }
}

impl Relation {
    /// As errors name the first of what is joined.
    fn first(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }
}

/// The whole statement over the joined columns.
fn finish(select: &Select, relation: Relation, sources: Sources, purpose: Purpose<'_>) -> Result<Joined> {
    let aliases = sources.all.iter().map(|known| known.alias.clone()).collect();
    let mut names = Names::new("SELECT", "").with_sources(aliases);
    for (name, ty, place) in &relation.columns {
        names.add(name, *place, ty.clone());
    }
    let viable: Vec<&str> = relation.viable.iter().filter_map(expression::as_name).collect();
    let Some(join) = crate::plan::nodes::downcast::<Join>(&relation.plan) else {
        return finish_natively(select, relation, sources, names);
    };
    let key_type = join.key.ty.clone();
    let synthetic = (viable.is_empty() && relation.own_key.is_none()).then(|| sources.synthetic());
    if let Some(name) = &synthetic {
        names.add(name, 0, key_type.clone());
    }
    names.add(KEY, 0, key_type.clone());
    let mut rewritten = sources.rewrite(select, synthetic.as_deref(), purpose.is_persistent())?;
    let keyed = purpose.is_persistent() && select.group_by.is_empty() && select.partition_by.is_empty();
    let chosen = match &synthetic {
        Some(name) => Some(name.clone()),
        None => viable.iter().find(|name| names::selects(&rewritten.items, name)).map(|n| (*n).to_owned()),
    };
    if keyed && let Some(own) = &relation.own_key {
        tables::check_own_key(own, &rewritten.items, &sources)?;
    } else if keyed && !chosen.as_ref().is_some_and(|name| names::selects(&rewritten.items, name)) {
        return Err(sources.missing_key(purpose, &viable, synthetic.as_deref()));
    }
    let chosen = chosen.or_else(|| viable.first().map(|n| (*n).to_owned())).unwrap_or_else(|| KEY.to_owned());
    // A column of a side that may be missing is NULL where the key is not: the key then has a name of its own.
    let is_key = synthetic.is_some() || relation.same.contains(&expression::identifier(&chosen));
    if !is_key && keyed && relation.own_key.is_none() {
        names::replace_item(&mut rewritten.items, &chosen, KEY);
    }
    let key = match relation.own_key.clone() {
        Some(own) => own,
        None => vec![Column::key(if is_key { chosen } else { KEY.to_owned() }, key_type)],
    };
    let source = represents(&relation, key, relation.source.window, &sources);
    let reads = sources.all.iter().map(|s| s.source.name.clone()).collect();
    Ok(Joined { plan: relation.plan, source, names, select: rewritten, reads, written: meaning(sources) })
}

fn meaning(sources: Sources) -> Written {
    Written(Arc::new(move |expr: &Expr| sources.flat(expr).ok()))
}

/// The same over what DataFusion joins: its rows have no key.
fn finish_natively(select: &Select, relation: Relation, sources: Sources, names: Names) -> Result<Joined> {
    let rewritten = sources.rewrite(select, None, false)?;
    let source = represents(&relation, vec![], None, &sources);
    let reads = sources.all.iter().map(|s| s.source.name.clone()).collect();
    Ok(Joined { plan: relation.plan, source, names, select: rewritten, reads, written: meaning(sources) })
}

/// What represents all that is joined.
fn represents(relation: &Relation, key: Vec<Column>, window: Option<KeyWindow>, sources: &Sources) -> Arc<Source> {
    let plain = sources.all.iter().flat_map(|s| s.source.schema.columns());
    let value = plain.map(|c| Column { role: Role::Value, ..c.clone() }).collect();
    Arc::new(Source {
        name: sources.all.iter().map(|s| s.source.name.as_str()).collect::<Vec<_>>().join(", "),
        kind: if relation.table { SourceKind::Table } else { SourceKind::Stream },
        schema: Schema { key, value },
        key_format: relation.key_format,
        timestamp: None,
        window,
        ..Source::clone(&relation.source)
    })
}

/// Pseudo columns that every source has.
const PSEUDO: [&str; 3] = [pseudo::ROWTIME, pseudo::ROWPARTITION, pseudo::ROWOFFSET];
