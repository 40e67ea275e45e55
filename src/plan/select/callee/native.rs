//! DataFusion's aggregates and window functions among the calls: arguments in the types that they want, constants where they
//! want those.

use super::parts::Parts;
use super::{Argument, Called, Computed, Place};
use crate::error::{Error, Result};
use crate::functions::bounded::{Bound, CENTROIDS_MAX, Sort, allowed};
use crate::plan::scalar::{self, Boundary};
use crate::plan::select::expression;
use crate::types::SqlType;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::function::WindowUDFFieldArgs;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{AggregateUDF, WindowFunctionDefinition, WindowUDF};
use sqlparser::ast::{Expr, Value};
use std::sync::Arc;

impl Parts<'_> {
    pub(super) fn foreign(
        &self,
        function: Arc<AggregateUDF>,
        place: Place<'_>,
        computed: &mut Computed,
    ) -> Result<Called> {
        if self.nulls.is_some() && !function.supports_null_handling_clause() {
            return Err(Error::statement(format!("IGNORE and RESPECT NULLS are not permitted for {}", self.name)));
        }
        let given = self.arguments(place, computed)?;
        let mut wanted = fields_with_udf(&fields(&given), function.as_ref()).map_err(|e| self.wrong(&given, e))?;
        // The mean of the two values in the middle has one digit more than they have.
        if let ("median", Some(DataType::Decimal128(precision, scale))) =
            (function.name(), wanted.first().map(|field| field.data_type().clone()))
            && precision < DECIMAL128_MAX_PRECISION
        {
            wanted[0] = Arc::new(Field::new("value", DataType::Decimal128(precision + 1, scale + 1), true));
        }
        let args = self.coerced(given.clone(), &wanted)?;
        self.check_constants(function.name(), &args)?;
        let args = if self.descending { mirrored(args) } else { args };
        let returns = function.return_field(&wanted).map_err(|e| self.wrong(&given, e))?;
        self.native(WindowFunctionDefinition::AggregateUDF(function), args, returns.data_type())
    }

    pub(super) fn window(&self, function: Arc<WindowUDF>, place: Place<'_>, computed: &mut Computed) -> Result<Called> {
        if self.distinct {
            return Err(Error::statement(format!("{} does not take DISTINCT", self.name)));
        }
        if self.filter.is_some() {
            return Err(Error::statement(format!("{} does not take FILTER", self.name))
                .with_hint("FILTER belongs to aggregates; CASE in an argument chooses between values"));
        }
        let given = self.arguments(place, computed)?;
        let wanted = fields_with_udf(&fields(&given), function.as_ref()).map_err(|e| self.wrong(&given, e))?;
        let mut args = self.coerced(given.clone(), &wanted)?;
        self.check_constants(function.name(), &args)?;
        // The default of LAG and LEAD has the type of the value.
        if let ("lag" | "lead", [(_, ty), ..], Some(Argument::Literal(default))) =
            (function.name(), &given[..], args.get_mut(2))
        {
            *default = default.cast_to(&ty.arrow()).map_err(|e| self.wrong(&given, e))?;
        }
        let returns =
            function.field(WindowUDFFieldArgs::new(&wanted, &self.name)).map_err(|e| self.wrong(&given, e))?;
        self.native(WindowFunctionDefinition::WindowUDF(function), args, returns.data_type())
    }

    /// The arguments and their types.
    fn arguments(&self, place: Place<'_>, computed: &mut Computed) -> Result<Vec<(Argument, SqlType)>> {
        let bound = |arg: &&Expr| -> Result<(Argument, SqlType)> {
            if matches!(arg, Expr::Value(value) if value.value == Value::Null) {
                return Ok((Argument::Literal(ScalarValue::Null), SqlType::String));
            }
            if expression::is_constant(arg) {
                let ty = scalar::bind(arg, place.names, Boundary::SelectItem)?.ty;
                // DataFusion's functions take whole numbers in 64 bits.
                let wide = if ty == SqlType::Integer { SqlType::Bigint } else { ty };
                if let Ok(value) = scalar::constant(arg, &wide) {
                    return Ok((Argument::Literal(value), wide));
                }
            }
            let at = computed.place(arg, place.names, Boundary::SelectItem)?;
            Ok((Argument::Column(at, None), computed.ty(at).clone()))
        };
        self.args.iter().map(bound).collect()
    }

    /// The arguments in the types that the function wants.
    fn coerced(&self, given: Vec<(Argument, SqlType)>, wanted: &[FieldRef]) -> Result<Vec<Argument>> {
        let mut out = Vec::with_capacity(given.len());
        for ((arg, ty), field) in given.iter().cloned().zip(wanted) {
            let to = field.data_type();
            let numbers = ty.is_numeric() && to.is_numeric();
            let same = ty.arrow() == *to || SqlType::from_arrow(to).as_ref() == Some(&ty);
            out.push(match arg {
                Argument::Literal(ScalarValue::Null) => arg,
                Argument::Literal(value) => Argument::Literal(value.cast_to(to).map_err(|e| self.wrong(&given, e))?),
                Argument::Column(..) if ty.arrow() == *to => arg,
                Argument::Column(place, _) if numbers || same => Argument::Column(place, Some(to.clone())),
                Argument::Column(..) => return Err(self.refused(&given)),
            });
        }
        Ok(out)
    }

    /// Arguments behind the first that have to be constants.
    fn check_constants(&self, name: &str, args: &[Argument]) -> Result<()> {
        let constants: &[usize] = match name {
            "percentile_cont" | "string_agg" | "nth_value" => &[1],
            "approx_percentile_cont" => &[1, 2],
            "approx_percentile_cont_with_weight" => &[2, 3],
            "lag" | "lead" => &[1, 2],
            "ntile" => &[0],
            _ => &[],
        };
        let column = |at: &&usize| matches!(args.get(**at), Some(Argument::Column(..)));
        if let Some(at) = constants.iter().find(column) {
            return Err(Error::statement(format!("argument {} of {} is a constant", at + 1, self.name)));
        }
        self.check_ranges(name, args)?;
        let Some(Bound::Centroids(at)) = allowed(name, Sort::Aggregate).map(|f| f.bound) else {
            return Ok(());
        };
        let count = args.get(at).map(|arg| match arg {
            Argument::Literal(value) => match value.cast_to(&DataType::Int64) {
                Ok(ScalarValue::Int64(count)) => count,
                _ => None,
            },
            Argument::Column(..) => None,
        });
        match count {
            None => Ok(()),
            Some(Some(n)) if (1..=CENTROIDS_MAX).contains(&n) => Ok(()),
            Some(_) => Err(Error::statement(format!(
                "the number of centroids of {name} is a constant from 1 to {CENTROIDS_MAX}"
            ))
            .with_hint("100 are usual; more make the result more exact and need more memory")),
        }
    }

    /// Constants that DataFusion would refuse when the first rows are there, or never.
    fn check_ranges(&self, name: &str, args: &[Argument]) -> Result<()> {
        let (at, range, what) = match name {
            "percentile_cont" | "approx_percentile_cont" => (1, 0.0..=1.0, "a number from 0 to 1"),
            "approx_percentile_cont_with_weight" => (2, 0.0..=1.0, "a number from 0 to 1"),
            "ntile" => (0, 1.0..=f64::MAX, "a whole number from 1 on"),
            "nth_value" => (1, 1.0..=f64::MAX, "a whole number from 1 on"),
            _ => return Ok(()),
        };
        let Some(Argument::Literal(value)) = args.get(at) else { return Ok(()) };
        let number = match value.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(number)) => number,
            _ => None,
        };
        // From the last value back.
        let from_the_end = name == "nth_value" && number.is_some_and(|number| number < 0.0);
        match number {
            Some(number) if range.contains(&number) || from_the_end => Ok(()),
            _ => Err(Error::statement(format!("argument {} of {} is {what}", at + 1, self.name))),
        }
    }

    fn native(&self, function: WindowFunctionDefinition, args: Vec<Argument>, returns: &DataType) -> Result<Called> {
        let ty = SqlType::from_arrow(returns)
            .ok_or_else(|| Error::statement(format!("{} returns a type that SQL has no name for", self.name)))?;
        Ok(self.called(function, args, returns.clone(), ty))
    }

    fn refused(&self, given: &[(Argument, SqlType)]) -> Error {
        let types: Vec<String> = given.iter().map(|(_, ty)| ty.to_string()).collect();
        Error::statement(format!("Function '{}' does not accept parameters ({}).", self.name, types.join(", ")))
    }

    fn wrong(&self, given: &[(Argument, SqlType)], why: DataFusionError) -> Error {
        self.refused(given).because(why)
    }
}

/// The argument types as a function is asked about them.
fn fields(given: &[(Argument, SqlType)]) -> Vec<FieldRef> {
    let ty = |(arg, ty): &(Argument, SqlType)| match arg {
        Argument::Literal(value) => value.data_type(),
        Argument::Column(..) => ty.arrow(),
    };
    given.iter().map(|given| Arc::new(Field::new("", ty(given), true))).collect()
}

/// A percentile of values in descending order is another one of those in ascending order.
fn mirrored(mut args: Vec<Argument>) -> Vec<Argument> {
    for arg in args.iter_mut().skip(1) {
        if let Argument::Literal(ScalarValue::Float64(Some(part))) = arg {
            *part = 1.0 - *part;
            break;
        }
    }
    args
}
