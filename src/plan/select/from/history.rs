//! FROM of a query over history: ksqlDB's joins where it has them, and any other join beside them.
//!
//! ```text
//! orders o JOIN customers c ON o.cust = c.id AND o.n > 1     as of the order's row: ksqlDB's join, then the rest of ON
//! orders o JOIN (SELECT * FROM customers) c ON ...           the final table: DataFusion's join
//! a, orders o JOIN customers c ON o.cust = c.id              a × (orders with customers)
//! ```
//!
//! Relations are collected in units: what ksqlDB's operators join is one, whatever is between its sources. The units are
//! then joined natively from left to right.

use super::names::{JoinSource, Sources};
use super::{Relation, native};
use crate::error::{Error, Result};
use crate::parse::span_of;
use crate::parse::statement::{Condition, Derived, Join, JoinKind, Relation as Named, Select};
use crate::plan::nodes::{Compute, Keep, call};
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::expression;
use crate::plan::select::inner::relations::{FOR, Relations, has_time};
use crate::plan::select::inner::subquery;
use crate::types::{SqlType, pseudo};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, when};
use sqlparser::ast::{BinaryOperator, Expr, Value, ValueWithSpan};
use sqlparser::tokenizer::Span as TokenSpan;
use std::sync::Arc;

/// Relations that ksqlDB joins, and how they are joined to those on their left.
struct Unit {
    relation: Relation,
    kind: JoinKind,
    conditions: Vec<Expr>,
    /// What ON says beyond ksqlDB's one equality, asked when all of its joins are done.
    after: Vec<After>,
}

/// The rest of ON.
struct After {
    /// Of a LEFT join: the columns that are NULL where it does not hold. Of an inner one rows are left out.
    nulls: Option<Vec<String>>,
    conditions: Vec<Expr>,
}

/// FROM, bound.
pub(super) struct Bound {
    pub relation: Relation,
    pub sources: Sources,
    /// Conditions of inner joins that hold subqueries: they are asked of the joined rows.
    pub later: Vec<Expr>,
}

struct From<'f, 'r> {
    select: &'f Select,
    relations: &'f Relations<'r>,
    sources: Sources,
    units: Vec<Unit>,
    later: Vec<Expr>,
}

/// A condition as it was written and over flat columns.
struct Part {
    written: Expr,
    flat: Expr,
}

/// Binds FROM.
pub(super) fn bind(select: &Select, relations: &Relations<'_>) -> Result<Bound> {
    let mut from = From { select, relations, sources: Sources::empty(), units: Vec::new(), later: Vec::new() };
    from.add(&select.from, None)?;
    for join in &select.joins {
        from.add(&join.right, Some(join)).map_err(|e| e.at(join.right.known_as().span))?;
    }
    from.fold()?;
    let relation = from.units.pop().ok_or_else(|| Error::bug("FROM without a source"))?.relation;
    Ok(Bound { relation, sources: from.sources, later: from.later })
}

impl From<'_, '_> {
    fn add(&mut self, named: &Named, join: Option<&Join>) -> Result<()> {
        let lateral = match named.derived.as_deref() {
            Some(Derived::Query { lateral: true, query }) if !self.units.is_empty() => Some(query),
            _ => None,
        };
        let (relation, mut conditions) = match lateral {
            Some(query) => self.lateral(named, query)?,
            None => {
                let source = self.relations.require(&named.name)?;
                (self.leaf(named, source)?, Vec::new())
            }
        };
        let Some(join) = join else {
            self.units.push(Unit { relation, kind: JoinKind::Inner, conditions, after: Vec::new() });
            return Ok(());
        };
        self.check_kind(join)?;
        let (kind, parts) = self.parts(join)?;
        if let Some(within) = &join.within {
            return self.within(relation, (join, within.before_ms, within.after_ms), parts);
        }
        if self.looks_up(&relation, kind, &parts)? {
            return Ok(());
        }
        if let Some(joined) = self.tables(&relation, join, kind, &parts) {
            self.units[0].relation = joined;
            return Ok(());
        }
        for part in parts {
            if !subquery::has_queries(&part.flat) {
                conditions.push(part.flat);
            } else if kind == JoinKind::Inner {
                self.later.push(part.flat);
            } else {
                let error = Error::statement("ON of an outer join cannot hold a subquery");
                let error =
                    error.with_hint("join a query in FROM: LEFT JOIN (SELECT ... WHERE ... IN (SELECT ...)) AS x");
                return Err(error.at_some(span_of(&part.written)));
            }
        }
        self.units.push(Unit { relation, kind, conditions, after: Vec::new() });
        Ok(())
    }

    /// A comma binds less than JOIN, which makes a difference to joins that keep the rows of the right side.
    fn check_kind(&self, join: &Join) -> Result<()> {
        let keeps_right = matches!(join.kind, JoinKind::Right | JoinKind::Full);
        let commas = self.select.joins.iter().take_while(|other| !std::ptr::eq(*other, join));
        if keeps_right && commas.into_iter().any(|other| other.on == Condition::Comma) {
            return Err(Error::statement("RIGHT and FULL JOIN cannot follow a comma, nor columns of a query around")
                .with_hint("write it as a LEFT JOIN, or join in a query in FROM"));
        }
        Ok(())
    }

    /// The leaf of a source, which conditions know from here on.
    fn leaf(&mut self, named: &Named, source: Arc<crate::catalog::Source>) -> Result<Relation> {
        let alias = named.known_as();
        if self.sources.knows(&alias.value) {
            return Err(Error::statement(format!("two sources are named {}", alias.value))
                .at(alias.span)
                .with_hint("AS gives one of them another name"));
        }
        self.sources.all.push(JoinSource { alias: alias.value.clone(), source });
        super::leaf(&self.sources, self.sources.all.len() - 1, self.relations)
    }

    /// A query that sees the sources to its left: it is joined to them by what it names of them.
    fn lateral(&mut self, named: &Named, query: &crate::parse::query::Relational) -> Result<(Relation, Vec<Expr>)> {
        self.fold()?;
        let left = &self.units[0].relation;
        let outside = |written: &Expr| {
            let flat = self.sources.flat(written).ok()?;
            expression::as_name(&flat).is_some_and(|n| left.columns.iter().any(|(c, ..)| c == n)).then_some(flat)
        };
        let bound = subquery::lateral(query, (&left.names(), &left.plan), self.relations, &outside)?;
        let mut relations = self.relations.clone();
        let mut rows = bound.rows;
        let given = rows.columns.len() - usize::from(bound.id.is_some());
        if let Some(extra) = named.columns.get(given) {
            return Err(Error::statement(format!("the query has {given} columns")).at(extra.span));
        }
        for (column, name) in rows.columns.iter_mut().zip(&named.columns) {
            column.name.clone_from(&name.value);
        }
        let key = self.relations.numbered("#for_");
        if bound.id.is_some()
            && let Some(last) = rows.columns.last_mut()
        {
            debug_assert_eq!(last.name, FOR);
            last.name.clone_from(&key);
        }
        relations.define(&named.name.value, rows);
        let mut conditions = Vec::new();
        let sought = self.relations.numbered("#id_");
        if let Some(id) = bound.id {
            let left = &mut self.units[0].relation;
            let all = left.plan.schema().columns();
            let mut columns: Vec<(String, PlanExpr)> =
                all.into_iter().map(|c| (c.name.clone(), PlanExpr::Column(c))).collect();
            left.columns.push((sought.clone(), SqlType::Bytes, columns.len()));
            columns.push((sought.clone(), id));
            left.plan = Compute::plan(columns, left.plan.clone())?;
            left.ksql = false;
        }
        let source = relations.require(&named.name)?;
        let alias = named.known_as().value.clone();
        if self.sources.knows(&alias) {
            return Err(Error::statement(format!("two sources are named {alias}")).at(named.known_as().span));
        }
        self.sources.all.push(JoinSource { alias, source });
        let relation = super::leaf(&self.sources, self.sources.all.len() - 1, &relations)?;
        if let Some((found, ..)) = relation.columns.iter().find(|(name, ..)| name.ends_with(&key)) {
            let equal = Box::new(expression::identifier(found));
            let left = Box::new(expression::identifier(&sought));
            conditions.push(Expr::BinaryOp { left, op: BinaryOperator::Eq, right: equal });
        }
        Ok((relation, conditions))
    }

    /// What rows meet by. USING and NATURAL are equalities of columns, which then are one.
    fn parts(&mut self, join: &Join) -> Result<(JoinKind, Vec<Part>)> {
        let on = match &join.on {
            Condition::Cross | Condition::Comma => return Ok((JoinKind::Inner, Vec::new())),
            Condition::On(on) => vec![on.clone()],
            Condition::Using(columns) => {
                let one = |name: &crate::parse::statement::Name| {
                    self.sources.merge(&name.value, join.kind).map_err(|e| e.at(name.span))
                };
                columns.iter().map(one).collect::<Result<_>>()?
            }
            Condition::Natural => {
                let names = self.sources.common();
                names.iter().map(|name| self.sources.merge(name, join.kind)).collect::<Result<_>>()?
            }
        };
        let mut parts = Vec::new();
        for on in &on {
            for written in expression::conjuncts(on) {
                let at = |e: Error| e.at_some(span_of(written));
                let flat = self.sources.flat(written).map_err(at)?;
                parts.push(Part { written: written.clone(), flat });
            }
        }
        Ok((join.kind, parts))
    }

    /// The unit that these columns belong to alone, if ksqlDB's operators made it.
    fn unit_of(&self, expr: &Expr) -> Option<usize> {
        self.units.iter().position(|unit| unit.relation.names_only(expr)).filter(|at| self.units[*at].relation.ksql)
    }

    /// Sides of an equality: of one unit, and of the right relation.
    fn equality<'p>(&self, part: &'p Part, right: &Relation) -> Option<(usize, &'p Expr)> {
        let Expr::BinaryOp { left: one, op: BinaryOperator::Eq, right: other } = &part.flat else { return None };
        let sides = [(one, other), (other, one)];
        sides.into_iter().find_map(|(l, r)| right.names_only(r).then(|| Some((self.unit_of(l)?, &**r))).flatten())
    }

    /// A table that is looked up as of each row of a stream: it joins the unit of the stream, wherever that is.
    fn looks_up(&mut self, right: &Relation, kind: JoinKind, parts: &[Part]) -> Result<bool> {
        let is_table = right.ksql && right.table && matches!(kind, JoinKind::Inner | JoinKind::Left);
        if !is_table {
            return Ok(false);
        }
        let by_key =
            |part: &Part| self.equality(part, right).filter(|(_, key)| right.same.contains(key)).map(|(unit, _)| unit);
        let found = parts.iter().enumerate().find_map(|(place, part)| Some((place, by_key(part)?)));
        let Some((place, unit)) = found else { return Ok(false) };
        if self.units[unit].relation.table {
            return Ok(false);
        }
        self.check_moves(unit, kind, right)?;
        self.check_after(unit, &parts[place].flat)?;
        let joined = self.joined(unit, right, kind, (&parts[place], None))?;
        let rest: Vec<&Expr> = parts.iter().enumerate().filter(|(i, _)| *i != place).map(|(_, p)| &p.flat).collect();
        self.restricted(unit, joined, (right, kind), &rest);
        Ok(true)
    }

    /// May the table be joined before what is between it and its stream?
    fn check_moves(&self, unit: usize, kind: JoinKind, right: &Relation) -> Result<()> {
        let kinds = self.units.iter().skip(1).map(|unit| unit.kind);
        let (mut inner, mut left) = (true, true);
        for kind in kinds {
            inner &= kind == JoinKind::Inner;
            left &= matches!(kind, JoinKind::Inner | JoinKind::Left);
        }
        let alone = self.units.len() == 1 && unit == 0;
        if alone || if kind == JoinKind::Inner { inner } else { left } {
            return Ok(());
        }
        Err(Error::statement(format!(
            "{} is joined as of the rows of a stream, which another join has changed",
            right.text
        ))
        .with_hint(format!(
            "join it next to its stream, or join (SELECT * FROM {0}) for the final table",
            right.source.name
        )))
    }

    /// ksqlDB's join of a unit by one of the conditions.
    fn joined(
        &self,
        unit: usize,
        right: &Relation,
        kind: JoinKind,
        (part, within): (&Part, Option<crate::parse::statement::Within>),
    ) -> Result<Relation> {
        let named = Named {
            name: crate::parse::statement::Name { value: right.text.clone(), span: Default::default() },
            alias: None,
            columns: Vec::new(),
            derived: None,
        };
        let clause = Join { kind, right: named, within, on: Condition::On(part.written.clone()) };
        let left = self.units[unit].relation.clone();
        super::join(left, right.clone(), &clause, &self.sources, ("Join".to_owned(), self.relations.settings(), true))
            .map_err(|e| e.at_some(span_of(&part.written)))
    }

    /// Keeps the rest of ON for later, and returns the joined rows.
    fn restricted(&mut self, unit: usize, joined: Relation, (right, kind): (&Relation, JoinKind), rest: &[&Expr]) {
        let mut conditions = Vec::new();
        for part in rest {
            match kind == JoinKind::Inner && (subquery::has_queries(part) || !joined.names_only(part)) {
                true => self.later.push((*part).clone()),
                false => conditions.push((*part).clone()),
            }
        }
        let of_right = || right.columns.iter().map(|(name, ..)| name.clone()).collect();
        let nulls = (kind != JoinKind::Inner).then(of_right);
        self.units[unit].relation = joined;
        if !conditions.is_empty() {
            self.units[unit].after.push(After { nulls, conditions });
        }
    }

    /// A join by columns that a LEFT join has yet to make NULL would see them as they are not.
    fn check_after(&self, unit: usize, key: &Expr) -> Result<()> {
        let named = expression::columns_outside_aggregates(key);
        let waiting = self.units[unit].after.iter().filter_map(|after| after.nulls.as_ref()).flatten();
        match waiting.into_iter().any(|column| named.contains(column)) {
            false => Ok(()),
            true => Err(Error::statement(
                "a table is joined by a column of a LEFT JOIN whose ON says more than an equality",
            )
            .with_hint("put that LEFT JOIN into a query in FROM")),
        }
    }

    /// Two streams within a time.
    fn within(
        &mut self,
        right: Relation,
        (join, before_ms, after_ms): (&Join, i64, i64),
        mut parts: Vec<Part>,
    ) -> Result<()> {
        if !has_time(&right.source) || self.units.iter().any(|unit| !has_time(&unit.relation.source)) {
            return Err(Error::statement("WITHIN joins rows by their time, which a query in FROM has not")
                .with_hint("join the streams themselves, or compare columns that hold times"));
        }
        let place = parts.iter().position(|part| self.equality(part, &right).is_some_and(|(unit, _)| unit == 0));
        let native = self.units.len() > 1 || (parts.len() > 1 && join.kind != JoinKind::Inner);
        let Some(place) = place.filter(|_| !native) else {
            return self.within_natively(right, (join, before_ms, after_ms), parts);
        };
        let part = parts.remove(place);
        self.check_after(0, &part.flat)?;
        let joined = self.joined(0, &right, join.kind, (&part, join.within))?;
        let rest: Vec<&Expr> = parts.iter().map(|part| &part.flat).collect();
        self.restricted(0, joined, (&right, join.kind), &rest);
        Ok(())
    }

    /// The same by conditions on the rows' times, where ON says more than ksqlDB's operators know.
    fn within_natively(
        &mut self,
        right: Relation,
        (join, before_ms, after_ms): (&Join, i64, i64),
        parts: Vec<Part>,
    ) -> Result<()> {
        let mut conditions: Vec<Expr> = parts.into_iter().map(|part| part.flat).collect();
        let time = |relation: &Relation| {
            let alias = relation.text.split(' ').next_back().unwrap_or_default();
            expression::identifier(&format!("{alias}_{}", pseudo::ROWTIME))
        };
        let Some(left) = self.units.last() else { return Err(Error::bug("WITHIN without a left side")) };
        let (of_left, of_right) = (time(&left.relation), time(&right));
        let shifted = |op: BinaryOperator, ms: i64| {
            let number = Value::Number(ms.to_string(), false);
            let number = Expr::Value(ValueWithSpan { value: number, span: TokenSpan::empty() });
            Expr::BinaryOp { left: Box::new(of_left.clone()), op, right: Box::new(number) }
        };
        let compared = |op: BinaryOperator, with: Expr| Expr::BinaryOp {
            left: Box::new(of_right.clone()),
            op,
            right: Box::new(with),
        };
        conditions.push(compared(BinaryOperator::GtEq, shifted(BinaryOperator::Minus, before_ms)));
        conditions.push(compared(BinaryOperator::LtEq, shifted(BinaryOperator::Plus, after_ms)));
        self.units.push(Unit { relation: right, kind: join.kind, conditions, after: Vec::new() });
        Ok(())
    }

    /// ksqlDB's join of two tables, where it has it; `None` = the native one, which means the same.
    fn tables(&self, right: &Relation, join: &Join, kind: JoinKind, parts: &[Part]) -> Option<Relation> {
        let [unit] = self.units.as_slice() else { return None };
        let tables = unit.relation.ksql && unit.relation.table && right.ksql && right.table;
        let [part] = parts else { return None };
        let plain = matches!(join.on, Condition::On(_)) && tables;
        plain.then(|| self.joined(0, right, kind, (part, None)).ok()).flatten()
    }

    /// All units as one.
    fn fold(&mut self) -> Result<()> {
        for unit in &mut self.units {
            unit.finish()?;
        }
        if self.units.len() < 2 {
            return Ok(());
        }
        let units = std::mem::take(&mut self.units);
        // What WHERE demands may be asked before, as long as no later join adds rows without a partner.
        let keeps = |units: &[Unit]| units.iter().all(|u| matches!(u.kind, JoinKind::Inner | JoinKind::Left));
        let hints: Vec<Expr> = match (keeps(&units[1..]), &self.select.filter) {
            (true, Some(filter)) => {
                let parts = expression::conjuncts(filter).into_iter();
                parts.filter_map(|part| self.sources.flat(part).ok()).filter(|e| !subquery::has_queries(e)).collect()
            }
            _ => Vec::new(),
        };
        let mut units = units.into_iter();
        let first = units.next().ok_or_else(|| Error::bug("FROM without a source"))?;
        let mut all = first.relation;
        for unit in units {
            all = native::join(all, unit.relation, unit.kind, &unit.conditions, &hints)?;
        }
        self.units.push(Unit { relation: all, kind: JoinKind::Inner, conditions: first.conditions, after: Vec::new() });
        Ok(())
    }
}

impl Unit {
    /// Asks the rest of ON.
    fn finish(&mut self) -> Result<()> {
        for After { nulls, conditions } in std::mem::take(&mut self.after) {
            let names = self.relation.names();
            let mut flags = Vec::new();
            for part in &conditions {
                let bound = scalar::bind(part, &names, Boundary::Where);
                let Typed { program, ty } = bound.map_err(|e| e.at_some(span_of(part)))?;
                flags.push(call::call(&program, &ty, self.relation.plan.schema()));
            }
            let plan = self.relation.plan.clone();
            self.relation.plan = match nulls {
                None => flags.into_iter().fold(plan, |plan, flag| Keep::plan(flag, "ON", plan)),
                Some(nulls) => with_nulls(plan, flags, &nulls)?,
            };
        }
        Ok(())
    }
}

/// The rows with these columns NULL where the conditions do not hold.
fn with_nulls(plan: LogicalPlan, flags: Vec<PlanExpr>, nulls: &[String]) -> Result<LogicalPlan> {
    let mut columns: Vec<(String, PlanExpr)> =
        plan.schema().columns().into_iter().map(|c| (c.name.clone(), PlanExpr::Column(c))).collect();
    let width = columns.len();
    columns.extend(flags.into_iter().enumerate().map(|(n, flag)| (format!("#on_{n}"), flag)));
    let plan = Compute::plan(columns, plan)?;
    let all = plan.schema().columns();
    let holds = all[width..].iter().map(|c| PlanExpr::Column(c.clone())).reduce(PlanExpr::and);
    let holds = holds.ok_or_else(|| Error::bug("no condition is left"))?;
    let mut out = Vec::new();
    for (place, column) in all[..width].iter().enumerate() {
        let value = PlanExpr::Column(column.clone());
        out.push(match nulls.contains(&column.name) {
            false => value,
            true => {
                let null = ScalarValue::try_from(plan.schema().field(place).data_type())?;
                when(holds.clone(), value).otherwise(PlanExpr::Literal(null, None))?.alias(&column.name)
            }
        });
    }
    Ok(LogicalPlanBuilder::from(plan).project(out)?.build()?)
}
