//! The groups of a SELECT: what is computed below the native Aggregate, the node itself, and what replaces keys and
//! aggregates above it.

use crate::error::{Error, Result};
use crate::functions::aggregate::Aggregate as Function;
use crate::mutant::{self, Mutant};
use crate::parse::span_of;
use crate::parse::statement::Emit;
use crate::plan::formats;
use crate::plan::nodes::table::{ORDINAL, PRESENT};
use crate::plan::nodes::{Compute, Keep, Rekey, TimeWindow, call};
use crate::plan::scalar::{self, Boundary, Program, Typed};
use crate::plan::select::callee::{self, Called, Computed, Place};
use crate::plan::select::context::Purpose;
use crate::plan::select::context::{self, Clauses, Columns, Context, Key};
use crate::plan::select::inner::{around, subquery};
use crate::plan::select::projection::Item;
use crate::plan::select::scope::Names;
use crate::plan::select::{expression, over, sets};
use crate::types::time::Window;
use crate::types::{Column, SqlType, pseudo};
use datafusion::common::{Column as PlanColumn, ScalarValue};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Aggregate, Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, lit};
use sqlparser::ast::Expr;
use std::sync::Arc;

/// A key column below the Aggregate: an expression of GROUP BY.
#[derive(Clone)]
pub(super) struct GroupKey {
    pub expr: Expr,
    /// Its name inside of the plan.
    pub name: String,
    pub program: Program,
    pub ty: SqlType,
}

/// An aggregate call.
#[derive(Clone)]
struct Call {
    expr: Expr,
    called: Called,
}

/// What a SELECT groups by, and its aggregates.
pub(super) struct Grouped {
    keys: Vec<GroupKey>,
    /// Places of keys that are grouped by together; `None` = all of them.
    sets: Option<Vec<Vec<usize>>>,
    calls: Vec<Call>,
    computed: Computed,
}

impl Grouped {
    /// These keys, in one group or in these sets of them.
    pub(super) fn new(keys: Vec<GroupKey>, sets: Option<Vec<Vec<usize>>>) -> Grouped {
        Grouped { keys, sets, calls: Vec::new(), computed: Computed::default() }
    }

    /// With the aggregates of the items, HAVING and QUALIFY.
    pub(super) fn with_calls(mut self, context: &Context<'_>, items: &[Item]) -> Result<Grouped> {
        let names = context.names.of("SELECT");
        let place = Place { names: &names, settings: context.settings, purpose: context.purpose };
        let Clauses { having, qualify, .. } = &context.clauses;
        for expr in items.iter().map(|i| &i.expr).chain(having).chain(qualify) {
            for function in expression::aggregates(expr) {
                let whole = Expr::Function(function.clone());
                if self.calls.iter().any(|c| c.expr == whole) {
                    continue;
                }
                let name = expression::function_name(&function);
                let parts = expression::parts_of_call(&function);
                if let Some(inner) = parts.iter().flat_map(expression::aggregates).next() {
                    let inner = expression::function_name(&inner);
                    return Err(Error::statement(format!("Aggregate functions can not be nested: {name}({inner}())")));
                }
                if let Some(part) = parts.iter().find(|part| !expression::over_calls(part).is_empty()) {
                    over::check_clause(part, "an argument of an aggregate")?;
                }
                if let Some(bound) = callee::bound_in_arguments(&function, &names) {
                    return Err(bound_misplaced(&bound));
                }
                let called = Called::bind(&function, place, &mut self.computed)?;
                // The state's format is ours; ksqlDB keeps it in the source's.
                let as_ksqldb = context.settings.strict && called.own().is_some_and(Function::has_nested_state);
                if as_ksqldb && !formats::holds_lists(context.source.value_format) {
                    return Err(Error::statement(
                        "One of the functions used in the statement has an intermediate type that the value format can \
                         not handle. Please remove the function or change the format.",
                    ));
                }
                self.calls.push(Call { expr: whole, called });
            }
        }
        Ok(self)
    }

    /// The groups of `plan`: those of each set, one below the other.
    pub(super) fn plan(&self, context: &Context<'_>, plan: LogicalPlan) -> Result<LogicalPlan> {
        let Some(sets) = &self.sets else { return self.grouped(context, plan) };
        let sets = &sets[..sets.len() - usize::from(mutant::on(Mutant::LastSetLost))];
        let mut all: Option<LogicalPlan> = None;
        for set in sets {
            let part = self.laid_out(set, context, self.of_set(set, context)?.grouped(context, plan.clone())?)?;
            all = Some(match all {
                None => part,
                Some(all) => LogicalPlanBuilder::from(all).union(part)?.build()?,
            });
        }
        all.ok_or_else(|| Error::bug("GROUP BY has no set"))
    }

    fn grouped(&self, context: &Context<'_>, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = self.below(context, plan)?;
        let plan = match &context.select.window {
            Some(_) => {
                let is_final = context.select.emit == Some(Emit::Final);
                TimeWindow::plan(window_of(context)?, is_final, context.settings.strict, plan)?
            }
            None => plan,
        };
        let plan = context.with_empty_groups(self.aggregate(plan)?)?;
        match self.sets.is_none() && self.calls.iter().any(|call| call.called.is_shown_otherwise()) {
            true => self.shown(plan),
            false => Ok(plan),
        }
    }

    /// The groups of one set. Windows have a key: without one of its own, a constant.
    fn of_set(&self, set: &[usize], context: &Context<'_>) -> Result<Grouped> {
        let mut keys: Vec<GroupKey> = set.iter().map(|place| self.keys[*place].clone()).collect();
        if keys.is_empty() && context.select.window.is_some() {
            let expr = expression::number(1);
            let Typed { program, ty } = scalar::bind(&expr, &context.names, Boundary::GroupBy)?;
            keys.push(GroupKey { expr, name: "#all".to_owned(), program, ty });
        }
        Ok(Grouped { keys, sets: Some(vec![]), calls: self.calls.clone(), computed: self.computed.clone() })
    }

    /// The groups of a set as those of all: keys that it leaves out are NULL, and a column for each key says which.
    fn laid_out(&self, set: &[usize], context: &Context<'_>, plan: LogicalPlan) -> Result<LogicalPlan> {
        let below = plan.schema().columns();
        let windowed = context.select.window.is_some();
        let own = set.len() + usize::from(set.is_empty() && windowed);
        let mut columns: Vec<(String, PlanExpr)> = Vec::new();
        for (place, key) in self.keys.iter().enumerate() {
            let expr = match set.iter().position(|p| *p == place) {
                Some(at) => PlanExpr::Column(below[at].clone()),
                None => PlanExpr::Literal(ScalarValue::try_from(&key.ty.arrow())?, None),
            };
            columns.push((key.name.clone(), expr));
        }
        let results = own + if windowed { 2 } else { 0 };
        for column in &below[own..results] {
            columns.push((column.name.clone(), PlanExpr::Column(column.clone())));
        }
        columns.extend(self.results(&below[results..]));
        for place in 0..self.keys.len() {
            columns.push((grouping_name(place), lit(i32::from(!set.contains(&place)))));
        }
        Ok(Compute::plan(columns, plan)?)
    }

    /// The aggregates' results in their SQL types.
    fn results<'a>(&'a self, columns: &'a [PlanColumn]) -> impl Iterator<Item = (String, PlanExpr)> + 'a {
        self.calls.iter().zip(columns).map(|(call, column)| (column.name.clone(), call.called.shown(column.clone())))
    }

    fn shown(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let all = plan.schema().columns();
        let first = all.len() - self.calls.len();
        let mut columns: Vec<(String, PlanExpr)> =
            all[..first].iter().map(|c| (c.name.clone(), PlanExpr::Column(c.clone()))).collect();
        columns.extend(self.results(&all[first..]));
        Ok(Compute::plan(columns, plan)?)
    }

    /// The column that replaces this expression above the Aggregate.
    pub(super) fn stands_for(&self, expr: &Expr) -> Option<Expr> {
        if let Some(place) = self.calls.iter().position(|c| c.expr == *expr) {
            return Some(expression::identifier(&result_name(place)));
        }
        if let Some(key) = self.keys.iter().find(|k| k.expr == *expr) {
            return Some(expression::identifier(&key_name(key)));
        }
        let Expr::Function(function) = expr else { return None };
        let args = expression::arguments(function).filter(|_| expression::function_name(function) == "GROUPING")?;
        sets::grouping(&args, |arg| {
            let place = self.keys.iter().position(|k| k.expr == *arg)?;
            Some(match self.sets {
                Some(_) => expression::identifier(&grouping_name(place)),
                None => expression::number(0),
            })
        })
    }

    pub(super) fn is_internal(&self, context: &Context<'_>, name: &str) -> bool {
        let bound = [pseudo::WINDOWSTART, pseudo::WINDOWEND].contains(&name) && knows_bounds(context);
        bound
            || around::is_around(name)
            || subquery::is_query(name)
            || self.keys.iter().any(|k| key_name(k) == name)
            || (0..self.calls.len()).any(|place| result_name(place) == name)
            || self.sets.is_some() && (0..self.keys.len()).any(|place| grouping_name(place) == name)
    }

    /// Group keys, arguments, times: in the partition that the key belongs to.
    fn below(&self, context: &Context<'_>, plan: LogicalPlan) -> Result<LogicalPlan> {
        let input = plan.schema();
        let mut columns: Vec<(String, PlanExpr)> = Vec::new();
        for key in &self.keys {
            columns.push((key.name.clone(), call::call(&key.program, &key.ty, input)));
        }
        columns.extend(self.computed.columns(input).enumerate().map(|(place, expr)| (argument_name(place), expr)));
        for hidden in [pseudo::ROWTIME, pseudo::ROWPARTITION, ORDINAL, PRESENT] {
            let column = input.columns().into_iter().find(|c| c.name == hidden);
            let column = column.ok_or_else(|| Error::bug(format!("the scan has no {hidden}")))?;
            columns.push((hidden.to_owned(), PlanExpr::Column(column)));
        }
        context::unique(&mut columns);
        let plan = Compute::plan(columns, plan)?;
        let source = &context.source;
        let key: Vec<Column> = self.keys.iter().map(|k| Column::key(&k.name, k.ty.clone())).collect();
        // Keys of a format with a registry have the writer's schema in their bytes: equal keys may be in different partitions.
        let scattered = source.key_format.schema_type().is_some();
        let same = !scattered
            && key.len() == source.schema.key.len()
            && !key.is_empty()
            && self.keys.iter().zip(&source.schema.key).all(|(k, c)| expression::as_name(&k.expr) == Some(&c.name));
        let key_format = formats::internal_key_format(source.key_format, context.settings.key_format, &key);
        // All rows of a query without GROUP BY meet in one place.
        let partitions = if self.keys.is_empty() || self.has_constant_key(context) { 1 } else { source.partitions };
        Ok(Rekey::plan(key, key_format, (!same).then_some(partitions), true, plan))
    }

    fn aggregate(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let columns = plan.schema().columns();
        let named = |name: &str| columns.iter().find(|c| c.name == name).cloned().map(PlanExpr::Column);
        let mut group: Vec<PlanExpr> = columns[..self.keys.len()].iter().cloned().map(PlanExpr::Column).collect();
        group.extend([pseudo::WINDOWSTART, pseudo::WINDOWEND].into_iter().filter_map(named));
        let column = |place: usize| columns[self.keys.len() + place].clone();
        let results = self.calls.iter().enumerate();
        let results = results.map(|(place, call)| Ok(call.called.aggregate(&column)?.alias(result_name(place))));
        let mut results = results.collect::<Result<Vec<_>>>()?;
        // A set without keys has one group, also where nothing is computed of it: DataFusion wants something.
        if group.is_empty() && results.is_empty() {
            results.push(count(lit(1_i64)).alias(result_name(self.calls.len())));
        }
        let node = Aggregate::try_new(Arc::new(plan), group, results)?;
        Ok(LogicalPlan::Aggregate(node))
    }

    pub(super) fn names_above(&self, context: &Context<'_>) -> Names {
        let mut names = Names::new("SELECT", &context.alias);
        for (i, key) in self.keys.iter().enumerate() {
            names.add(&key_name(key), i, key.ty.clone());
        }
        let mut next = self.keys.len();
        if context.select.window.is_some() {
            if knows_bounds(context) {
                names.add(pseudo::WINDOWSTART, next, SqlType::Bigint);
                names.add(pseudo::WINDOWEND, next + 1, SqlType::Bigint);
            }
            next += 2;
        }
        for (place, call) in self.calls.iter().enumerate() {
            names.add(&result_name(place), next + place, call.called.ty.clone());
        }
        next += self.calls.len();
        if self.sets.is_some() {
            (0..self.keys.len()).for_each(|key| names.add(&grouping_name(key), next + key, SqlType::Integer));
        }
        names
    }

    /// The error with the aggregates as they were written in place of the names of their results.
    fn in_written_words(&self, error: Error) -> Error {
        let mut text = error.message().to_owned();
        for (place, call) in self.calls.iter().enumerate().rev() {
            text = text.replace(&result_name(place), &expression::text(&call.expr));
        }
        error.reworded(text)
    }

    /// HAVING is made of group keys, window bounds and aggregates.
    fn check_having(&self, context: &Context<'_>, having: &Expr) -> Result<()> {
        let rest = expression::replace(having, &mut |e| self.stands_for(e));
        let named = expression::columns_outside_aggregates(&rest);
        let known = context.names.of("HAVING");
        let wrong: Vec<String> = named.into_iter().filter(|n| !self.is_internal(context, n) && known.has(n)).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::statement(format!(
            "Non-aggregate HAVING expression not part of GROUP BY: {}\nConsider switching the HAVING clause to a WHERE clause \
             before the GROUP BY.",
            wrong.join(", ")
        )))
    }

    pub(super) fn having(
        &self,
        context: &Context<'_>,
        having: &Expr,
        names: &Names,
        mut plan: LogicalPlan,
    ) -> Result<LogicalPlan> {
        self.check_having(context, having)?;
        if mutant::on(Mutant::HavingLost) && context.purpose != Purpose::Batch {
            return Ok(plan);
        }
        for part in expression::conjuncts(having) {
            let above = expression::replace(part, &mut |e| self.stands_for(e));
            let bound = scalar::bind(&above, &names.of("HAVING"), Boundary::Having);
            let Typed { program, ty } = bound.map_err(|e| self.in_written_words(e).at_some(span_of(part)))?;
            if ty != SqlType::Boolean {
                return Err(Error::statement(format!(
                    "Type error in HAVING expression: Should evaluate to boolean but is {} ({ty}) instead.",
                    expression::text(part)
                )));
            }
            plan = Keep::plan(call::call(&program, &ty, plan.schema()), "HAVING", plan);
        }
        Ok(plan)
    }

    /// The columns of the result, and the plan that they are over.
    pub(super) fn columns(
        &self,
        context: &Context<'_>,
        mut items: Vec<Item>,
        names: Names,
        plan: LogicalPlan,
    ) -> Result<(Columns, LogicalPlan)> {
        let keys: Vec<Key> = match context.purpose {
            purpose if purpose.is_persistent() => self
                .keys
                .iter()
                .map(|k| Key { expr: k.expr.clone(), ty: k.ty.clone(), boundary: Boundary::SelectItem })
                .collect(),
            _ => vec![],
        };
        // The key is checked, and its errors are worded, in the terms of the statement.
        context::check_keys(&items, &keys, "grouping expression", context.purpose)?;
        let above = |e: &Expr| expression::replace(e, &mut |part| self.stands_for(part));
        for item in &mut items {
            item.expr = above(&item.expr);
        }
        let keys: Vec<Key> = keys.into_iter().map(|k| Key { expr: above(&k.expr), ..k }).collect();
        let qualify = context.clauses.qualify.as_ref().map(above);
        let (items, names, plan) = over::bind(context, items, qualify, names, plan)?;
        Ok((context.columns(&items, &keys, "grouping expression", &names, &plan)?, plan))
    }

    /// All rows of a continuous query without GROUP BY, and of a set without keys, are one group.
    fn has_constant_key(&self, context: &Context<'_>) -> bool {
        context.clauses.group_by.is_empty() || self.keys.iter().any(|key| key.name == "#all")
    }
}

/// A group key's name in expressions above the Aggregate: `#` keeps an expression's apart from the columns below.
fn key_name(key: &GroupKey) -> String {
    match expression::as_name(&key.expr) {
        Some(name) => name.to_owned(),
        None => format!("#{}", key.name),
    }
}

fn argument_name(place: usize) -> String {
    format!("KSQL_INTERNAL_COL_{place}")
}

fn result_name(place: usize) -> String {
    format!("KSQL_AGG_VARIABLE_{place}")
}

/// Can the SELECT list name the window's bounds? Not over a join: ksqlDB resolves names in its sources only there.
fn knows_bounds(context: &Context<'_>) -> bool {
    context.select.window.is_some() && context.select.joins.is_empty()
}

/// The column that says whether a row's set leaves the key out.
fn grouping_name(place: usize) -> String {
    format!("#grouping_{place}")
}

/// The window in force: with EMIT FINAL and without GRACE PERIOD it closes when it ends.
pub(super) fn window_of(context: &Context<'_>) -> Result<Window> {
    let mut window = context.select.window.ok_or_else(|| Error::bug("there is no window"))?;
    if context.select.emit == Some(Emit::Final) {
        window.grace_ms.get_or_insert(0);
    }
    Ok(window)
}

/// The error for a window's bound where it has no meaning.
pub(super) fn bound_misplaced(bound: &str) -> Error {
    Error::statement(format!(
        "Window bounds column {bound} can only be used in the SELECT clause of windowed aggregations and can not be passed to \
         aggregate functions.\nSee https://github.com/confluentinc/ksql/issues/4397"
    ))
}
