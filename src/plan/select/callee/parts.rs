//! A call as it was written, and ksqlDB's aggregates among the calls.

use super::{Argument, Called, Computed, Place, key};
use crate::error::{Error, Result};
use crate::functions::aggregate::{self, is_aggregate_name};
use crate::functions::bounded::named;
use crate::parse::span_of;
use crate::plan::nodes::call;
use crate::plan::scalar::{self, Boundary};
use crate::plan::select::context::Purpose;
use crate::plan::select::expression;
use crate::types::{SqlType, nearest};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::WindowFunctionDefinition;
use datafusion::logical_expr::expr::NullTreatment;
use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    NullTreatment as Written, OrderByExpr,
};
use std::sync::Arc;

/// The parts of a call as they were written.
pub(super) struct Parts<'a> {
    pub(super) name: String,
    pub(super) args: Vec<&'a Expr>,
    pub(super) distinct: bool,
    order_by: Vec<&'a OrderByExpr>,
    pub(super) filter: Option<&'a Expr>,
    pub(super) nulls: Option<NullTreatment>,
    /// The one key of ORDER BY is the first argument, and this is its direction.
    pub(super) descending: bool,
}

/// Aggregates of which rows with a NULL in an argument change nothing: FILTER is a CASE in the argument.
const SKIPS_NULLS: [&str; 12] = [
    "AVG",
    "CORRELATION",
    "COUNT",
    "COUNT_DISTINCT",
    "HISTOGRAM",
    "MAX",
    "MIN",
    "STDDEV_SAMP",
    "STDDEV_SAMPLE",
    "SUM",
    "SUM_LIST",
    "TOPK",
];

/// What does in a continuous query nearly what one of DataFusion's aggregates does over history.
const CONTINUOUS: [(&str, &str); 11] = [
    ("ANY_VALUE", "EARLIEST_BY_OFFSET"),
    ("APPROX_DISTINCT", "COUNT_DISTINCT"),
    ("ARRAY_AGG", "COLLECT_LIST"),
    ("CORR", "CORRELATION"),
    ("FIRST_VALUE", "EARLIEST_BY_OFFSET"),
    ("LAST_VALUE", "LATEST_BY_OFFSET"),
    ("MEAN", "AVG"),
    ("NTH_VALUE", "EARLIEST_BY_OFFSET"),
    ("STDDEV", "STDDEV_SAMPLE"),
    ("STRING_AGG", "COLLECT_LIST"),
    ("VAR_SAMP", "STDDEV_SAMP"),
];

impl<'a> Parts<'a> {
    pub(super) fn of(function: &'a Function) -> Result<Parts<'a>> {
        let name = expression::function_name(function);
        let odd = |what: &str| Error::statement(format!("{name} does not take {what}"));
        let list = match &function.args {
            FunctionArguments::List(list) => list,
            _ => return Err(odd("such an argument list")),
        };
        let mut args = Vec::new();
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(expr),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if list.args.len() == 1 => {}
                other => return Err(odd(&format!("the argument {other}"))),
            }
        }
        let mut order_by: Vec<&OrderByExpr> = function.within_group.iter().collect();
        let mut nulls = function.null_treatment;
        for clause in &list.clauses {
            match clause {
                FunctionArgumentClause::OrderBy(keys) if order_by.is_empty() => order_by = keys.iter().collect(),
                FunctionArgumentClause::IgnoreOrRespectNulls(treatment) => nulls = Some(*treatment),
                other => return Err(odd(&other.to_string())),
            }
        }
        let nulls = nulls.map(|treatment| match treatment {
            Written::IgnoreNulls => NullTreatment::IgnoreNulls,
            Written::RespectNulls => NullTreatment::RespectNulls,
        });
        let distinct = matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct));
        let filter = function.filter.as_deref();
        let mut parts = Parts { name, args, distinct, order_by, filter, nulls, descending: false };
        parts.take_ordered_argument()?;
        Ok(parts)
    }

    /// `PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY x)` is `PERCENTILE_CONT(x, 0.5)`.
    fn take_ordered_argument(&mut self) -> Result<()> {
        let ordered = named::aggregate(&self.name).is_some_and(|f| f.name().contains("percentile_cont"));
        let [key] = self.order_by[..] else {
            return match ordered && !self.order_by.is_empty() {
                true => Err(Error::statement(format!("{} sorts by one expression", self.name))),
                false => Ok(()),
            };
        };
        if ordered {
            self.descending = key.options.asc == Some(false);
            if self.args.first() != Some(&&key.expr) || self.args.len() < 2 {
                self.args.insert(0, &key.expr);
            }
            self.order_by.clear();
        }
        Ok(())
    }

    pub(super) fn bind(self, function: &Function, place: Place<'_>, computed: &mut Computed) -> Result<Called> {
        let own = is_aggregate_name(&self.name);
        let windowed = function.over.is_some();
        if !own && (place.purpose != Purpose::Batch || place.settings.strict) {
            return Err(if place.settings.strict { self.unknown_strictly() } else { self.refused_continuously() });
        }
        let extended = self.distinct || !self.order_by.is_empty() || self.nulls.is_some();
        if extended && (place.purpose != Purpose::Batch || place.settings.strict) {
            return Err(self.refused_extension());
        }
        let filter = match self.filter {
            Some(filter) if place.purpose == Purpose::Batch => {
                Some(computed.place(filter, place.names, Boundary::Where)?)
            }
            _ => None,
        };
        let order_by = self.order_by.iter().map(|by| key(by, place.names, computed)).collect::<Result<Vec<_>>>()?;
        if let Some(by) = self.order_by.iter().find(|by| self.distinct && !self.args.contains(&&by.expr)) {
            let text = format!("with DISTINCT, {} sorts by its arguments only", self.name);
            return Err(Error::statement(text).at_some(span_of(&by.expr)));
        }
        if windowed && !order_by.is_empty() {
            return Err(Error::statement(format!("{} with OVER has no ORDER BY of its own", self.name))
                .with_hint("OVER (ORDER BY ...) sorts the rows"));
        }
        let mut called = if own {
            self.own(place, computed)?
        } else if let Some(window) = named::window(&self.name).filter(|_| windowed) {
            self.window(window, place, computed)?
        } else if let Some(foreign) = named::aggregate(&self.name) {
            self.foreign(foreign, place, computed)?
        } else {
            return Err(self.unknown());
        };
        if self.distinct {
            self.check_comparable(&called, computed)?;
        }
        called.filter = filter;
        called.order_by = order_by;
        Ok(called)
    }

    /// Values of which one is to be taken once can be compared.
    fn check_comparable(&self, called: &Called, computed: &Computed) -> Result<()> {
        let types = called.args.iter().filter_map(|arg| match arg {
            Argument::Column(place, _) => Some(computed.ty(*place)),
            Argument::Literal(_) => None,
        });
        let compared = |ty: &&SqlType| RowConverter::supports_fields(&[SortField::new(ty.arrow())]);
        match types.into_iter().find(|ty| !compared(ty)) {
            None => Ok(()),
            Some(ty) => Err(Error::statement(format!("{} takes no DISTINCT values of {ty}", self.name))
                .with_hint("TO_JSON_STRING makes texts of them, which can be compared")),
        }
    }

    fn unknown(&self) -> Error {
        let error = Error::statement(format!("{} is neither an aggregate nor a window function", self.name));
        match nearest(&self.name, named::names().chain(aggregate::NAMES)) {
            Some(near) => error.with_hint(format!("did you mean {near}?")),
            None => error.with_hint("OVER belongs to aggregates and to functions like ROW_NUMBER, RANK and LAG"),
        }
    }

    /// ksqlDB has no such function.
    fn unknown_strictly(&self) -> Error {
        Error::statement(format!("Can't find any functions with the name '{}'", self.name))
    }

    fn refused_continuously(&self) -> Error {
        let error = Error::statement(format!("{} requires a query without EMIT", self.name));
        match CONTINUOUS.iter().find(|(name, _)| *name == self.name) {
            Some((_, own)) => error.with_hint(format!("a continuous query has {own}")),
            None => error.with_hint("SHOW FUNCTIONS says which aggregates are over history only"),
        }
    }

    fn refused_extension(&self) -> Error {
        let name = &self.name;
        if self.distinct && name == "COUNT" {
            return Error::statement("COUNT(DISTINCT) requires a query without EMIT")
                .with_hint("COUNT_DISTINCT(x) estimates it in a continuous query");
        }
        let (what, hint) = match (self.distinct, self.nulls) {
            (true, _) => ("DISTINCT", "COLLECT_SET and COUNT_DISTINCT look at each value once in a continuous query"),
            (_, Some(_)) => ("IGNORE or RESPECT NULLS", "FILTER (WHERE x IS NOT NULL) leaves NULLs out"),
            _ => ("ORDER BY", "a continuous query takes rows in the order in which they come"),
        };
        Error::statement(format!("{name} with {what} requires a query without EMIT")).with_hint(hint)
    }

    /// One of ksqlDB's aggregates.
    fn own(&self, place: Place<'_>, computed: &mut Computed) -> Result<Called> {
        let name = &self.name;
        if self.nulls.is_some() {
            return Err(Error::statement(format!("IGNORE and RESPECT NULLS are not permitted for {name}"))
                .with_hint("FILTER (WHERE x IS NOT NULL) leaves NULLs out"));
        }
        let literals = ["EARLIEST_BY_OFFSET", "LATEST_BY_OFFSET"].contains(&name.as_str());
        let odd = self.args.iter().enumerate().skip(1).find(|(_, a)| literals && expression::literal(a).is_none());
        if let Some((at, arg)) = odd {
            return Err(Error::statement(format!(
                "Parameter {} passed to function {name} must be a literal constant, but was expression: '{}'",
                at + 1,
                expression::text(arg)
            )));
        }
        let args: Vec<Expr> = self.filtered(place.purpose)?;
        let given = |arg: &Expr| -> Result<aggregate::Argument> {
            let ty = scalar::bind(arg, place.names, Boundary::SelectItem)?.ty;
            Ok(aggregate::Argument { ty, literal: expression::literal(arg) })
        };
        let given = args.iter().map(given).collect::<Result<Vec<_>>>()?;
        // COUNT(DISTINCT a, b) counts rows without NULL, each once.
        let several = name == "COUNT" && self.distinct && given.len() > 1;
        let asked = if several { &given[..1] } else { &given };
        let function = match aggregate::resolve(name, asked, place.settings.aggregates) {
            Err(refused) => return self.of_other_types(place, computed).unwrap_or(Err(refused)),
            Ok(function) => function,
        };
        let function = function.ok_or_else(|| Error::bug(format!("{name} is no aggregate")))?;
        let columns = args.iter().take(if several { args.len() } else { function.arity() });
        let columns = columns
            .map(|arg| Ok(Argument::Column(computed.place(arg, place.names, Boundary::SelectItem)?, None)))
            .collect::<Result<Vec<_>>>()?;
        let ty = function.output();
        let function = call::aggregate(function, columns.len(), self.text());
        Ok(self.called(WindowFunctionDefinition::AggregateUDF(Arc::new(function)), columns, ty.arrow(), ty))
    }

    /// AVG of DECIMAL, MIN and MAX of BOOLEAN: types that ksqlDB's aggregate does not take, and DataFusion's does. `None` = it does
    /// not either.
    fn of_other_types(&self, place: Place<'_>, computed: &mut Computed) -> Option<Result<Called>> {
        let is_same = ["AVG", "MAX", "MIN"].contains(&self.name.as_str());
        if !is_same || place.purpose != Purpose::Batch || place.settings.strict {
            return None;
        }
        self.foreign(named::aggregate(&self.name)?, place, computed).ok().map(Ok)
    }

    /// The arguments; in a continuous query, with the condition of FILTER in them.
    fn filtered(&self, purpose: Purpose<'_>) -> Result<Vec<Expr>> {
        let args: Vec<Expr> = self.args.iter().map(|arg| (*arg).clone()).collect();
        let Some(filter) = self.filter.filter(|_| purpose != Purpose::Batch) else { return Ok(args) };
        let by_offset = self.name.ends_with("_BY_OFFSET");
        let keeps_nulls = by_offset
            && self.args.iter().any(|a| matches!(expression::literal(a), Some(aggregate::Literal::Boolean(false))));
        if !(SKIPS_NULLS.contains(&self.name.as_str()) || self.name == "TOPKDISTINCT" || by_offset) || keeps_nulls {
            return Err(Error::statement(format!("{} with FILTER requires a query without EMIT", self.name))
                .with_hint("WHERE in a query of its own keeps the rows that it is to see"));
        }
        let when = |value: Expr| expression::case(filter.clone(), value);
        let literal = |arg: &Expr| expression::literal(arg).is_some();
        Ok(match args.is_empty() {
            true => vec![when(expression::number(1))],
            // Literals behind the first argument are parameters.
            false => {
                args.into_iter().enumerate().map(|(i, a)| if i > 0 && literal(&a) { a } else { when(a) }).collect()
            }
        })
    }

    pub(super) fn called(
        &self,
        function: WindowFunctionDefinition,
        args: Vec<Argument>,
        returns: DataType,
        ty: SqlType,
    ) -> Called {
        Called {
            function,
            args,
            distinct: self.distinct,
            order_by: vec![],
            filter: None,
            nulls: self.nulls,
            returns,
            ty,
        }
    }

    /// The call without FILTER and OVER, for errors.
    fn text(&self) -> String {
        let args: Vec<String> = self.args.iter().map(|arg| expression::text(arg)).collect();
        format!("{}({}{})", self.name, if self.distinct { "DISTINCT " } else { "" }, args.join(", "))
    }
}
