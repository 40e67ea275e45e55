//! A call of an aggregate or of a window function over plain columns.
//!
//! ```text
//! SUM(DISTINCT a + 1) FILTER (WHERE b > 2)    columns: a + 1, b > 2        call: SUM(DISTINCT #0) FILTER #1
//! PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY a DESC)                      call: PERCENTILE_CONT(#0, 1 - 0.5)
//! ```
//!
//! The columns are bound as every other expression of ours. ksqlDB's aggregates have precedence; where a name is free it is
//! one of DataFusion's.

pub(super) mod frame;
mod native;
mod parts;

use self::parts::Parts;
use crate::error::{Error, Result};
use crate::functions::aggregate::Aggregate;
use crate::mutant::{self, Mutant};
use crate::parse::span_of;
use crate::plan::Settings;
use crate::plan::nodes::call;
use crate::plan::scalar::{self, Boundary, Typed};
use crate::plan::select::context::Purpose;
use crate::plan::select::expression;
use crate::plan::select::scope::Names;
use crate::types::{SqlType, pseudo};
use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment, Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr as PlanExpr, WindowFrame, WindowFunctionDefinition, cast};
use sqlparser::ast::{Expr, Function, OrderByExpr, WindowType};

/// What a call is bound with.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub names: &'a Names,
    pub settings: &'a Settings,
    pub purpose: Purpose<'a>,
}

/// Expressions that are computed below a call: each once.
#[derive(Clone, Default)]
pub(super) struct Computed(Vec<(Expr, Boundary, Typed)>);

/// A call, bound.
#[derive(Clone)]
pub(super) struct Called {
    function: WindowFunctionDefinition,
    args: Vec<Argument>,
    distinct: bool,
    /// Places among the computed columns, each with DESC and NULLS FIRST.
    order_by: Vec<(usize, bool, bool)>,
    /// Place of the condition.
    filter: Option<usize>,
    nulls: Option<NullTreatment>,
    /// Arrow's type of the result.
    returns: DataType,
    /// Type of the result in SQL.
    pub ty: SqlType,
}

#[derive(Clone)]
pub(super) enum Argument {
    /// A computed column, in another type if the function asks for one.
    Column(usize, Option<DataType>),
    Literal(ScalarValue),
}

impl Computed {
    /// The place of an expression.
    pub(super) fn place(&mut self, expr: &Expr, names: &Names, boundary: Boundary) -> Result<usize> {
        if let Some(place) = self.0.iter().position(|(e, b, _)| e == expr && *b == boundary) {
            return Ok(place);
        }
        let typed = scalar::bind(expr, names, boundary).map_err(|e| e.at_some(span_of(expr)))?;
        self.0.push((expr.clone(), boundary, typed));
        Ok(self.0.len() - 1)
    }

    /// The place of an expression whose values are sorted.
    pub(super) fn key(&mut self, expr: &Expr, names: &Names) -> Result<usize> {
        let place = self.place(expr, names, Boundary::SelectItem)?;
        if let SqlType::Map(..) | SqlType::Array(_) | SqlType::Struct(_) = self.ty(place) {
            let text = format!("{} is {}, which has no order", expression::text(expr), self.ty(place));
            return Err(Error::statement(text).at_some(span_of(expr)).with_hint("sort by an element or a field of it"));
        }
        Ok(place)
    }

    /// The columns, over those of `input`.
    pub(super) fn columns<'a>(&'a self, input: &'a DFSchema) -> impl Iterator<Item = PlanExpr> + 'a {
        self.0.iter().map(|(_, _, Typed { program, ty })| call::call(program, ty, input))
    }

    /// The type of a column.
    pub(super) fn ty(&self, place: usize) -> &SqlType {
        &self.0[place].2.ty
    }
}

impl Called {
    /// Binds a call; `window` says that it has OVER.
    pub(super) fn bind(function: &Function, place: Place<'_>, computed: &mut Computed) -> Result<Called> {
        let whole = Expr::Function(function.clone());
        let bound = Parts::of(function).and_then(|parts| parts.bind(function, place, computed));
        bound.map_err(|e| if e.span().is_some() { e } else { e.at_some(span_of(&whole)) })
    }

    /// The aggregate over columns of the plan.
    pub(super) fn aggregate(&self, column: &dyn Fn(usize) -> Column) -> Result<PlanExpr> {
        let WindowFunctionDefinition::AggregateUDF(function) = &self.function else {
            return Err(Error::bug("a window function is no aggregate"));
        };
        let args = self.arguments(column);
        let (filter, order_by) = (self.filter(column), self.order_by(column));
        let distinct = self.distinct && !mutant::on(Mutant::DistinctLost);
        let call = AggregateFunction::new_udf(function.clone(), args, distinct, filter, order_by, self.nulls);
        Ok(PlanExpr::AggregateFunction(call))
    }

    /// The call over windows of rows.
    pub(super) fn over(
        &self,
        column: &dyn Fn(usize) -> Column,
        partition_by: Vec<PlanExpr>,
        order_by: Vec<Sort>,
        window_frame: WindowFrame,
    ) -> PlanExpr {
        let params = WindowFunctionParams {
            args: self.arguments(column),
            partition_by,
            order_by,
            window_frame,
            filter: self.filter(column),
            null_treatment: self.nulls,
            distinct: self.distinct,
        };
        PlanExpr::WindowFunction(Box::new(WindowFunction { fun: self.function.clone(), params }))
    }

    /// The result in the type that it has in SQL.
    pub(super) fn shown(&self, column: Column) -> PlanExpr {
        let (column, wanted) = (PlanExpr::Column(column), self.ty.arrow());
        if self.returns == wanted { column } else { cast(column, wanted) }
    }

    /// The plan gives the result in another type than SQL has for it.
    pub(super) fn is_shown_otherwise(&self) -> bool {
        self.returns != self.ty.arrow()
    }

    /// ksqlDB's aggregate, if it is one.
    pub(super) fn own(&self) -> Option<&Aggregate> {
        match &self.function {
            WindowFunctionDefinition::AggregateUDF(function) => call::own_aggregate(function).map(|own| own.0),
            WindowFunctionDefinition::WindowUDF(_) => None,
        }
    }

    fn arguments(&self, column: &dyn Fn(usize) -> Column) -> Vec<PlanExpr> {
        let argument = |argument: &Argument| match argument {
            Argument::Column(place, None) => PlanExpr::Column(column(*place)),
            Argument::Column(place, Some(ty)) => cast(PlanExpr::Column(column(*place)), ty.clone()),
            Argument::Literal(value) => PlanExpr::Literal(value.clone(), None),
        };
        self.args.iter().map(argument).collect()
    }

    fn filter(&self, column: &dyn Fn(usize) -> Column) -> Option<Box<PlanExpr>> {
        let filter = self.filter.filter(|_| !mutant::on(Mutant::FilterLost));
        filter.map(|place| Box::new(PlanExpr::Column(column(place))))
    }

    fn order_by(&self, column: &dyn Fn(usize) -> Column) -> Vec<Sort> {
        self.order_by.iter().map(|key| sort(*key, column)).collect()
    }
}

/// A computed column to sort by.
pub(super) fn sort((place, descending, nulls_first): (usize, bool, bool), column: &dyn Fn(usize) -> Column) -> Sort {
    Sort { expr: PlanExpr::Column(column(place)), asc: !descending, nulls_first }
}

/// A key of ORDER BY: its place, DESC, NULLS FIRST.
pub(super) fn key(by: &OrderByExpr, names: &Names, computed: &mut Computed) -> Result<(usize, bool, bool)> {
    let descending = by.options.asc == Some(false);
    let place = computed.key(&by.expr, names)?;
    Ok((place, descending, by.options.nulls_first.unwrap_or(descending)))
}

/// The window bound that an argument reads, if it reads one.
pub(super) fn bound_in_arguments(function: &Function, names: &Names) -> Option<String> {
    let bounds = [pseudo::WINDOWSTART, pseudo::WINDOWEND];
    let read = expression::columns_outside_aggregates(&Expr::Function(without_name(function)));
    read.into_iter().find(|n| bounds.contains(&n.as_str()) && !names.has(n))
}

/// The call under a name that is no aggregate's, so that its arguments can be looked at.
fn without_name(function: &Function) -> Function {
    Function { name: sqlparser::ast::ObjectName(Vec::new()), ..function.clone() }
}

/// The function's OVER, its name resolved.
pub(super) fn spec(function: &Function) -> Result<&sqlparser::ast::WindowSpec> {
    match &function.over {
        Some(WindowType::WindowSpec(spec)) => Ok(spec),
        Some(WindowType::NamedWindow(name)) => Err(Error::bug(format!("the window {name} has no definition"))),
        None => Err(Error::bug("a call has no OVER")),
    }
}
