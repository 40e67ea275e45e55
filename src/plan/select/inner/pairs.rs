//! What is sought in a query: `x [NOT] IN (query)`, and rows of values beside the rows of a query.
//!
//! ```text
//! (a, b) IN (SELECT x, y ...)        true if a row has both values, and none of them is NULL
//!                                    else NULL if a row differs in nothing but NULLs: (1, NULL) beside (1, 2)
//!                                    else false: (1, NULL) beside (2, 2)
//! (a, b) < ANY (SELECT x, y ...)     true if a row meets the comparison, else false
//! ```
//!
//! Equal rows are found by a hash join, and so are those that are equal beside NULLs. The others are pairs of distinct rows under a
//! condition that names the values sought `#l0, #l1, ...` and those of the query `#r0, #r1, ...`.

use super::asked::{Attached, Inner, Outer, by_name, grouped};
use super::relations::FOR;
use super::sides::{Side, at};
use crate::error::{Error, Result};
use crate::mutant::{self, Mutant};
use crate::parse::statement::JoinKind;
use crate::plan::nodes::{Compute, Keep, call, tuple};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::expression;
use crate::plan::select::scope::Names;
use crate::types::SqlType;
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, lit, when};
use sqlparser::ast::{BinaryOperator, Expr, Value};

/// The column that says which of the distinct rows of values a row is about.
const ROW: &str = "#row";
/// Whether a pair is one of a row of values with a NULL, or what of a pair has to be equal beside its NULLs.
const OPEN: &str = "#open";
/// Values of a row for which every set of places may be open: each row is there two to that power times. Of longer rows the sets are
/// those of the rows that are there, for which both sides are read once more.
const OPEN_PLACES_MAX: usize = 4;

/// `row [NOT] IN (query)` as a column `name`; `negated` is `None` where NULL means as much as false.
pub(super) fn found(
    outer: &Outer,
    inner: &Inner,
    (value, negated): (&Expr, Option<bool>),
    attached: &Attached,
    name: &str,
) -> Result<LogicalPlan> {
    match value {
        Expr::Tuple(values) => row_found(outer, inner, (values, negated), attached, name),
        value => value_found(outer, inner, (value, negated), attached, name),
    }
}

/// `value [NOT] IN (query)`: true if the query returns it; else NULL if it is NULL or the query returns NULL, and false
/// otherwise. Nothing is in a query without rows, not even NULL.
fn value_found(
    outer: &Outer,
    inner: &Inner,
    (value, negated): (&Expr, Option<bool>),
    attached: &Attached,
    name: &str,
) -> Result<LogicalPlan> {
    inner.one(None)?;
    let Pair { sought, listed, .. } = pair(value, inner, 0, attached)?;
    let values = inner.computed(vec![("#value".to_owned(), listed)])?;
    // First what the value is, once for each row, then the two joins.
    let width = outer.width;
    let outer = outer.wider(vec![("#sought".to_owned(), sought)])?;
    let outer = matched(&outer, width, values.clone())?;
    let Some(negated) = negated else { return only(outer.plan, width, name) };
    let group = grouped(&values);
    let first = PlanExpr::Column(values.schema().columns()[0].clone());
    let counts = vec![count(lit(1_i64)).alias("#rows"), count(first).alias("#known")];
    let counts = LogicalPlanBuilder::from(values).aggregate(group, counts)?.build()?;
    let answer = |side: &Side| {
        let (rows, known) = (side.right("#rows"), side.right("#known"));
        let none = rows.clone().is_null().or(rows.clone().eq(lit(0_i64)));
        let unknown = side.left_at(width).is_null().or(rows.gt(known));
        Ok(when(side.left_at(width + 1), lit(!negated))
            .when(none, lit(negated))
            .when(unknown, unknown_value())
            .otherwise(lit(negated))?)
    };
    only(outer.with(counts, Vec::new(), name, &answer)?, width, name)
}

/// The same of a row of values.
fn row_found(
    outer: &Outer,
    inner: &Inner,
    (values, negated): (&[Expr], Option<bool>),
    attached: &Attached,
    name: &str,
) -> Result<LogicalPlan> {
    let pairs = Pairs::of(values, inner, attached)?;
    let listed = inner.computed(vec![("#value".to_owned(), tuple::whole_tuple(pairs.listed.clone()))])?;
    let width = outer.width;
    let sought = vec![
        ("#sought".to_owned(), tuple::whole_tuple(pairs.sought.clone())),
        (ROW.to_owned(), tuple::tuple(pairs.sought.clone())),
    ];
    let wider = outer.wider(sought)?;
    let matched = matched(&wider, width, listed)?;
    let Some(negated) = negated else { return only(matched.plan, width, name) };
    let open = pairs.open(outer, inner)?;
    let row = PlanExpr::Column(matched.plan.schema().columns()[width + 1].clone());
    let answer = |side: &Side| {
        Ok(when(side.left_at(width + 2), lit(!negated))
            .when(side.right(ROW).is_not_null(), unknown_value())
            .otherwise(lit(negated))?)
    };
    only(matched.with(open, vec![(row, ROW)], name, &answer)?, width, name)
}

/// Whether a row of the query meets the condition, as a column `name`.
pub(super) fn some(
    outer: &Outer,
    inner: &Inner,
    (row, condition): (&[Expr], &Expr),
    attached: &Attached,
    name: &str,
) -> Result<LogicalPlan> {
    let pairs = Pairs::of(row, inner, attached)?;
    let meeting = pairs.meeting(outer, inner, condition)?;
    let answer = |side: &Side| Ok(side.right(ROW).is_not_null());
    outer.with(meeting, vec![(tuple::tuple(pairs.sought), ROW)], name, &answer)
}

/// The condition of a comparison of two rows of as many values.
pub(super) fn comparison(width: usize, op: &BinaryOperator) -> Result<Expr> {
    let side = |name: fn(usize) -> String| -> Vec<Expr> {
        (0..width).map(|place| expression::identifier(&name(place))).collect()
    };
    scalar::compared_rows(&side(left), op, &side(right))
}

/// A query has not as many columns as the row of values.
pub(super) fn other_width(values: usize, width: usize) -> Error {
    Error::statement(format!("a row of {values} values is sought in a query that returns {width}"))
}

fn left(place: usize) -> String {
    format!("#l{place}")
}

/// Whether the other row leaves a place open.
fn other(place: usize) -> String {
    format!("#other_{place}")
}

fn right(place: usize) -> String {
    format!("#r{place}")
}

fn unknown_value() -> PlanExpr {
    match mutant::on(Mutant::UnknownIsTrue) {
        true => lit(true),
        false => PlanExpr::Literal(ScalarValue::Boolean(None), None),
    }
}

/// The rows with a column behind them: whether what they have at `place` is among the values.
fn matched(outer: &Outer, place: usize, values: LogicalPlan) -> Result<Outer> {
    let sought = PlanExpr::Column(outer.plan.schema().columns()[place].clone());
    let distinct = LogicalPlanBuilder::from(values).distinct()?.build()?;
    let there = |side: &Side| Ok(side.right("#value").is_not_null());
    let plan = outer.with(distinct, vec![(sought, "#value")], "#matched", &there)?;
    let around = outer.around.iter().map(|e| by_name(e, &outer.plan, &plan)).collect::<Result<Vec<_>>>()?;
    Ok(Outer { plan, width: outer.width + 1, around })
}

/// The first columns of a plan, and its last one.
fn only(plan: LogicalPlan, width: usize, name: &str) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let last = columns.len() - 1;
    let kept = (0..width).map(|i| PlanExpr::Column(columns[i].clone()));
    let answer = PlanExpr::Column(columns[last].clone()).alias(name);
    Ok(LogicalPlanBuilder::from(plan).project(kept.chain([answer]))?.build()?)
}

/// A value of the rows around and a column of the query, in one type.
struct Pair {
    sought: PlanExpr,
    listed: PlanExpr,
    ty: SqlType,
}

fn pair(value: &Expr, inner: &Inner, place: usize, attached: &Attached) -> Result<Pair> {
    let (_, listed) = inner.at(place, None)?;
    let common = match value {
        // NULL has the type of what it is compared with.
        Expr::Value(v) if v.value == Value::Null => listed,
        value => {
            let Typed { ty, .. } = scalar::bind(value, &attached.names, Boundary::SelectItem)?;
            ty.common(&listed).ok_or_else(|| {
                let text = expression::text(value);
                Error::statement(format!("Cannot compare {text} ({ty}) to the values of a query ({listed})"))
                    .with_hint("CAST one of them")
            })?
        }
    };
    let (listed, _) = inner.at(place, Some(&common))?;
    let Typed { program, .. } = scalar::bind_to(value, &attached.names, Boundary::SelectItem, &common)?;
    let sought = call::call(&program, &common, attached.plan.schema());
    Ok(Pair { sought, listed, ty: common })
}

/// A row of values, and the columns of a query beside them.
struct Pairs {
    sought: Vec<PlanExpr>,
    listed: Vec<PlanExpr>,
    types: Vec<SqlType>,
}

impl Pairs {
    fn of(values: &[Expr], inner: &Inner, attached: &Attached) -> Result<Pairs> {
        if inner.width() != values.len() {
            return Err(other_width(values.len(), inner.width()));
        }
        let mut pairs = Pairs { sought: Vec::new(), listed: Vec::new(), types: Vec::new() };
        for (place, value) in values.iter().enumerate() {
            let Pair { sought, listed, ty } = pair(value, inner, place, attached)?;
            if !tuple::is_possible(&ty) {
                return Err(Error::statement(format!("a row of values has none of type {ty}")));
            }
            pairs.sought.push(sought);
            pairs.listed.push(listed);
            pairs.types.push(ty);
        }
        Ok(pairs)
    }

    /// Which rows of values differ from a row of the query in nothing but NULLs.
    ///
    /// Equal keys are found by hash, but which places count is a matter of both rows. So each row is there once for every set of
    /// places that the other one may leave open, and its key has what both leave open, and the values of the other places:
    ///
    /// ```text
    /// sought (1, NULL)     the other one leaves none open     key: second, none, 1
    /// listed (1, 2)        the other one the second           key: second, none, 1
    /// ```
    fn open(&self, outer: &Outer, inner: &Inner) -> Result<LogicalPlan> {
        let mut columns = named(left, &self.sought);
        columns.push((ROW.to_owned(), tuple::tuple(self.sought.clone())));
        if !outer.around.is_empty() {
            columns.push((FOR.to_owned(), tuple::tuple(outer.around.clone())));
        }
        let sought = distinct(Compute::plan(columns, outer.plan.clone())?)?;
        let listed = distinct(inner.computed(named(right, &self.listed))?)?;
        let (left_open, right_open) = match self.types.len() > OPEN_PLACES_MAX {
            true => (self.open_places(&sought, left)?, self.open_places(&listed, right)?),
            false => (self.all_sets()?, self.all_sets()?),
        };
        let sought = self.with_open_key(sought, (left, true), right_open)?;
        let listed = distinct(self.with_open_key(listed, (right, false), left_open)?)?;
        let mut keys = vec![(column(&sought, OPEN)?, OPEN.to_owned())];
        let mut columns = vec![(ROW.to_owned(), PlanExpr::Column(at(0, ROW)))];
        if !outer.around.is_empty() {
            keys.push((column(&sought, FOR)?, FOR.to_owned()));
            columns.push((FOR.to_owned(), PlanExpr::Column(at(0, FOR))));
        }
        let met = Side::join(sought, listed, JoinKind::Inner, keys, None)?.plan;
        distinct(Compute::plan(columns, met)?)
    }

    /// Every set of places that a row may leave open, a column for each place.
    fn all_sets(&self) -> Result<LogicalPlan> {
        let places = 0..self.types.len();
        let set = |bits: usize| places.clone().map(|place| lit(bits >> place & 1 == 1)).collect();
        let sets = LogicalPlanBuilder::values((0..1_usize << places.len()).map(set).collect())?.build()?;
        let columns = sets.schema().columns().into_iter().zip(places);
        let columns: Vec<PlanExpr> =
            columns.map(|(column, place)| PlanExpr::Column(column).alias(other(place))).collect();
        Ok(LogicalPlanBuilder::from(sets).project(columns)?.build()?)
    }

    /// The sets that these rows do leave open: there are no more of them than rows, however long those are.
    fn open_places(&self, rows: &LogicalPlan, name: fn(usize) -> String) -> Result<LogicalPlan> {
        let is_open = |place: usize| Ok(column(rows, &name(place))?.is_null().alias(other(place)));
        let columns = (0..self.types.len()).map(is_open).collect::<Result<Vec<_>>>()?;
        Ok(LogicalPlanBuilder::from(rows.clone()).project(columns)?.distinct()?.build()?)
    }

    /// The rows, each for every set of places that the other row may leave open, with the key of [`Pairs::open`]. Without an open
    /// place rows are equal or not, which is known.
    fn with_open_key(
        &self,
        rows: LogicalPlan,
        (name, is_sought): (fn(usize) -> String, bool),
        sets: LogicalPlan,
    ) -> Result<LogicalPlan> {
        let places = 0..self.types.len();
        let all = LogicalPlanBuilder::from(sets).cross_join(rows)?.build()?;
        let of = |name: String| column(&all, &name);
        let own = places.clone().map(|place| Ok(of(name(place))?.is_null())).collect::<Result<Vec<_>>>()?;
        let other = places.clone().map(|place| of(other(place))).collect::<Result<Vec<_>>>()?;
        let some_open = own.iter().chain(&other).cloned().reduce(PlanExpr::or).unwrap_or_else(|| lit(false));
        let mut key = if is_sought { [own, other.clone()] } else { [other.clone(), own] }.concat();
        for ((place, ty), other) in places.zip(&self.types).zip(other) {
            let nothing = PlanExpr::Literal(ScalarValue::try_from(&ty.arrow())?, None);
            key.push(when(other, nothing).otherwise(of(name(place))?)?);
        }
        let kept = all.schema().columns().into_iter().filter(|column| [ROW, FOR].contains(&column.name.as_str()));
        let columns = kept.map(PlanExpr::Column).chain([tuple::tuple(key).alias(OPEN)]).collect::<Vec<_>>();
        Ok(LogicalPlanBuilder::from(all.clone()).filter(some_open)?.project(columns)?.build()?)
    }

    /// Which rows of values meet a row of the query under the condition.
    fn meeting(&self, outer: &Outer, inner: &Inner, condition: &Expr) -> Result<LogicalPlan> {
        let mut columns = named(left, &self.sought);
        columns.push((ROW.to_owned(), tuple::tuple(self.sought.clone())));
        if !outer.around.is_empty() {
            columns.push((FOR.to_owned(), tuple::tuple(outer.around.clone())));
        }
        let sought = LogicalPlanBuilder::from(Compute::plan(columns, outer.plan.clone())?).distinct()?.build()?;
        let mut keys = Vec::new();
        let listed = distinct(inner.computed(named(right, &self.listed))?)?;
        if !outer.around.is_empty() {
            keys.push((column(&sought, FOR)?, FOR.to_owned()));
        }
        let pairs = Side::join(sought, listed, JoinKind::Inner, keys, None)?.plan;
        let met = self.kept(condition, pairs)?;
        let mut columns = vec![(ROW.to_owned(), PlanExpr::Column(at(0, ROW)))];
        if !outer.around.is_empty() {
            columns.push((FOR.to_owned(), PlanExpr::Column(at(0, FOR))));
        }
        distinct(Compute::plan(columns, met)?)
    }

    fn kept(&self, condition: &Expr, pairs: LogicalPlan) -> Result<LogicalPlan> {
        let mut names = Names::new("WHERE", "");
        for (index, column) in pairs.schema().columns().iter().enumerate() {
            let place = (0..self.types.len()).find(|place| [left(*place), right(*place)].contains(&column.name));
            if let Some(place) = place {
                names.add(&column.name, index, self.types[place].clone());
            }
        }
        let Typed { program, ty } = scalar::bind(condition, &names, Boundary::Where).map_err(|_| {
            let types: Vec<String> = self.types.iter().map(SqlType::to_string).collect();
            Error::statement(format!("rows of the types {} are neither less nor greater", types.join(", ")))
        })?;
        Ok(Keep::plan(call::call(&program, &ty, pairs.schema()), "WHERE", pairs))
    }
}

fn named(name: fn(usize) -> String, values: &[PlanExpr]) -> Vec<(String, PlanExpr)> {
    values.iter().enumerate().map(|(place, value)| (name(place), value.clone())).collect()
}

fn column(plan: &LogicalPlan, name: &str) -> Result<PlanExpr> {
    let found = plan.schema().columns().into_iter().find(|column| column.name == name);
    found.map(PlanExpr::Column).ok_or_else(|| Error::bug(format!("there is no column {name}")))
}

fn distinct(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(LogicalPlanBuilder::from(plan).distinct()?.build()?)
}
