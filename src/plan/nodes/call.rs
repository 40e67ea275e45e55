//! A scalar program inside a DataFusion plan: one closed, opaque call per boundary.
//!
//! The call holds the whole program with its outer guard, so that it is total. Its arguments are the columns that the
//! program reads, then, where the input has them, the flag whether the row has a value (without one the call is NULL: the
//! whole value of such a row is) and the row's ordinal, which ties the call to its row. A program that can fail is
//! Volatile, so that DataFusion neither folds, shares nor copies it.

use crate::error::{Error, Result};
use crate::functions::aggregate::Aggregate;
use crate::plan::nodes::table::{ORDINAL, PRESENT};
use crate::plan::scalar::{Columns, Program, RowErrors};
use crate::types::SqlType;
use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{ScalarFunction, Sort, WindowFunctionDefinition};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// A scalar program as a function of the columns that it reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProgramCall {
    /// Column `i` is argument `i`.
    program: Program,
    ty: SqlType,
    reads: usize,
    masked: bool,
    signature: Signature,
}

impl ProgramCall {
    /// The program; its column `i` is the call's argument `i`.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// How many of the arguments the program reads.
    pub fn reads(&self) -> usize {
        self.reads
    }

    /// Type of the result.
    pub fn sql_type(&self) -> &SqlType {
        &self.ty
    }
}

/// `program` as an expression over the columns of `input`; a plain column stays one.
pub fn call(program: &Program, ty: &SqlType, input: &DFSchema) -> Expr {
    let columns = input.columns();
    if let Some(i) = program.as_column() {
        return Expr::Column(columns[i].clone());
    }
    let reads: Vec<usize> = program.reads().into_iter().collect();
    let mut args: Vec<Expr> = reads.iter().map(|i| Expr::Column(columns[*i].clone())).collect();
    let hidden = |name: &str| columns.iter().find(|c| c.name == name).cloned().map(Expr::Column);
    let present = hidden(PRESENT);
    let masked = present.is_some();
    args.extend(present);
    args.extend(hidden(ORDINAL));
    let mut program = program.clone();
    program.remap(&|column| reads.binary_search(&column).expect("the list holds every column that the program reads"));
    let volatility = if program.can_fail() { Volatility::Volatile } else { Volatility::Immutable };
    let signature = signature(args.len(), volatility);
    let call = ProgramCall { program, ty: ty.clone(), reads: reads.len(), masked, signature };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(call)), args))
}

fn signature(arguments: usize, volatility: Volatility) -> Signature {
    match arguments {
        0 => Signature::nullary(volatility),
        n => Signature::any(n, volatility),
    }
}

fn called(function: &ScalarFunction) -> Option<&ProgramCall> {
    (function.func.inner().as_ref() as &dyn std::any::Any).downcast_ref()
}

/// The programs in an expression always give the same results for the same rows.
pub fn is_repeatable(expr: &Expr) -> bool {
    let other = |e: &Expr| match e {
        Expr::ScalarFunction(function) => Ok(called(function).is_some_and(|call| !call.program.is_repeatable())),
        _ => Ok(false),
    };
    !expr.exists(other).unwrap_or(true)
}

/// The program behind an expression of a bound plan, over the columns of `input`.
pub fn program(expr: &Expr, input: &DFSchema) -> Result<Program> {
    match expr {
        Expr::Alias(alias) => program(&alias.expr, input),
        Expr::Column(column) => Ok(Program::column(index(column, input)?, column.name.as_str())),
        Expr::ScalarFunction(function) => {
            let call = called(function).ok_or_else(|| Error::bug(format!("{} is no program", function.name())))?;
            let columns: Vec<usize> = function.args[..call.reads]
                .iter()
                .map(|arg| match arg {
                    Expr::Column(column) => index(column, input),
                    other => Err(Error::bug(format!("{other} is no column"))),
                })
                .collect::<Result<_>>()?;
            let mut program = call.program.clone();
            program.remap(&|i| columns[i]);
            Ok(program)
        }
        other => Err(Error::bug(format!("{other} does not belong into a bound plan"))),
    }
}

/// An expression of a bound plan for people: `NAME = program`.
pub fn text(expr: &Expr) -> String {
    match expr {
        Expr::Alias(alias) => match text(&alias.expr) {
            same if same == alias.name => same,
            other => format!("{} = {other}", alias.name),
        },
        Expr::Column(column) => column.name.clone(),
        Expr::ScalarFunction(function) => match called(function) {
            Some(call) => call.program.to_string(),
            None => expr.to_string(),
        },
        Expr::AggregateFunction(call) => {
            let args: Vec<String> = call.params.args.iter().map(text).collect();
            let distinct = if call.params.distinct { "DISTINCT " } else { "" };
            let order = sorted(&call.params.order_by);
            let filter = call.params.filter.as_ref().map_or_else(String::new, |f| format!(" FILTER {}", text(f)));
            let is_count = matches!(own_aggregate(&call.func), Some((Aggregate::CountRows, _)));
            let args = if is_count { "*".to_owned() } else { args.join(", ") };
            format!("{}({distinct}{args}{order}){filter}", function_text(&call.func))
        }
        Expr::WindowFunction(call) => {
            let params = &call.params;
            let name = match &call.fun {
                WindowFunctionDefinition::AggregateUDF(function) => function_text(function),
                WindowFunctionDefinition::WindowUDF(function) => function.name().to_uppercase(),
            };
            let list = |exprs: &[Expr]| exprs.iter().map(text).collect::<Vec<_>>().join(", ");
            let distinct = if params.distinct { "DISTINCT " } else { "" };
            let filter = params.filter.as_ref().map_or_else(String::new, |f| format!(" FILTER {}", text(f)));
            let by = if params.partition_by.is_empty() { "" } else { "PARTITION BY " };
            let (parts, order, frame) = (list(&params.partition_by), sorted(&params.order_by), &params.window_frame);
            format!("{name}({distinct}{}){filter} OVER ({by}{parts}{order} {frame})", list(&params.args))
        }
        other => other.to_string(),
    }
}

/// A call of a function for people: the program behind it, in which each argument's column is called as is said behind its name.
pub fn function_in_words(function: &ScalarUDF, arguments: &[(String, String)]) -> String {
    let program = (function.inner().as_ref() as &dyn std::any::Any).downcast_ref::<ProgramCall>();
    match program {
        Some(call) => renamed(&call.program.to_string(), arguments),
        None => {
            let said: Vec<&str> = arguments.iter().map(|(_, said)| said.as_str()).collect();
            format!("{}({})", function.name().to_uppercase(), said.join(", "))
        }
    }
}

/// The text with other names; names are whole words.
pub fn renamed(text: &str, names: &[(String, String)]) -> String {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '#');
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_part) {
        let word = &rest[at..];
        let word = &word[..word.find(|c| !is_part(c)).unwrap_or(word.len())];
        out.push_str(&rest[..at]);
        out.push_str(names.iter().find(|(name, _)| name == word).map_or(word, |(_, said)| said));
        rest = &rest[at + word.len()..];
    }
    out + rest
}

fn function_text(function: &AggregateUDF) -> String {
    match own_aggregate(function) {
        // As it was written, without its arguments.
        Some((_, text)) => text.split('(').next().unwrap_or_default().to_uppercase(),
        None => function.name().to_uppercase(),
    }
}

fn sorted(order_by: &[Sort]) -> String {
    let keys: Vec<String> =
        order_by.iter().map(|key| format!("{}{}", text(&key.expr), if key.asc { "" } else { " DESC" })).collect();
    if keys.is_empty() { String::new() } else { format!(" ORDER BY {}", keys.join(", ")) }
}

/// Position of a column.
pub fn index(column: &Column, input: &DFSchema) -> Result<usize> {
    input.maybe_index_of_column(column).ok_or_else(|| Error::bug(format!("no column {column} in the node below")))
}

impl ScalarUDFImpl for ProgramCall {
    fn name(&self) -> &str {
        "program"
    }

    fn display_name(&self, _args: &[Expr]) -> DfResult<String> {
        Ok(self.program.to_string())
    }

    fn schema_name(&self, _args: &[Expr]) -> DfResult<String> {
        Ok(self.program.to_string())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.ty.arrow())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.ty.arrow(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let arrays: Vec<ArrayRef> = args.args[..self.reads + usize::from(self.masked)]
            .iter()
            .map(|a| a.to_array(rows))
            .collect::<DfResult<_>>()?;
        let mut errors = RowErrors::new();
        let columns = Columns { columns: &arrays[..self.reads], rows };
        let out = self.program.eval_array(&columns, &mut errors).map_err(external)?;
        let out = match self.masked {
            false => out,
            true => {
                let absent: BooleanArray = arrow::compute::not(arrays[self.reads].as_boolean())?;
                if absent.true_count() == 0 { out } else { nullif(&out, &absent)? }
            }
        };
        Ok(ColumnarValue::Array(out))
    }
}

fn external(e: Error) -> datafusion::error::DataFusionError {
    datafusion::error::DataFusionError::External(Box::new(e))
}

/// An aggregate of ours in a plan. It is a placeholder: each executor replaces it with a function of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AggregateCallee {
    aggregate: Aggregate,
    /// As it was written, for errors.
    text: String,
    signature: Signature,
}

impl AggregateCallee {
    /// The aggregate.
    pub fn aggregate(&self) -> &Aggregate {
        &self.aggregate
    }
}

/// An aggregate of ours as a function of so many columns; `text` is how it was written.
pub fn aggregate(aggregate: Aggregate, arguments: usize, text: String) -> AggregateUDF {
    AggregateUDF::from(AggregateCallee { aggregate, text, signature: signature(arguments, Volatility::Immutable) })
}

/// The aggregate of ours behind a function, and how it was written; `None` = one of DataFusion's.
pub fn own_aggregate(function: &AggregateUDF) -> Option<(&Aggregate, &str)> {
    let callee = (function.inner().as_ref() as &dyn std::any::Any).downcast_ref::<AggregateCallee>()?;
    Some((&callee.aggregate, &callee.text))
}

/// The aggregate behind an expression and its arguments; `None` = one of DataFusion's, or one with DISTINCT, ORDER BY or
/// FILTER.
pub fn aggregate_of(expr: &Expr) -> Option<(&Aggregate, &[Expr])> {
    callee(expr).map(|(callee, args)| (&callee.aggregate, args))
}

/// The aggregate behind an expression as it was written.
pub fn aggregate_text(expr: &Expr) -> Option<&str> {
    callee(expr).map(|(callee, _)| callee.text.as_str())
}

fn callee(expr: &Expr) -> Option<(&AggregateCallee, &[Expr])> {
    match expr {
        Expr::Alias(alias) => callee(&alias.expr),
        Expr::AggregateFunction(function) => {
            let params = &function.params;
            if params.distinct || params.filter.is_some() || !params.order_by.is_empty() {
                return None;
            }
            let callee = (function.func.inner().as_ref() as &dyn std::any::Any).downcast_ref::<AggregateCallee>()?;
            Some((callee, &function.params.args))
        }
        _ => None,
    }
}

impl AggregateUDFImpl for AggregateCallee {
    fn name(&self) -> &str {
        "aggregate"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.aggregate.output().arrow())
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        datafusion::common::internal_err!("an aggregate of a bound plan was run before it was lowered")
    }

    fn default_value(&self, data_type: &DataType) -> DfResult<ScalarValue> {
        ScalarValue::try_from(data_type)
    }
}
