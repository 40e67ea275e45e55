//! Functions that a query inside of an expression needs, over plain columns.

use crate::error::{Error, Span};
use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// The values of some columns as bytes, never NULL: the same bytes for the same values, NULLs among them, and for no others.
pub fn tuple(columns: Vec<Expr>) -> Expr {
    made(columns, false)
}

/// The same, but NULL where one of the values is.
pub fn whole_tuple(columns: Vec<Expr>) -> Expr {
    made(columns, true)
}

fn made(columns: Vec<Expr>, is_whole: bool) -> Expr {
    let signature = Signature::any(columns.len(), Volatility::Immutable);
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(Tuple { signature, is_whole })), columns))
}

/// Can a column of this type be a part of a tuple?
pub fn is_possible(ty: &SqlType) -> bool {
    RowConverter::supports_fields(&[SortField::new(ty.arrow())])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Tuple {
    signature: Signature,
    /// NULL where one of the values is.
    is_whole: bool,
}

impl ScalarUDFImpl for Tuple {
    fn name(&self) -> &str {
        if self.is_whole { "whole_tuple" } else { "tuple" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays: Vec<ArrayRef> = args.args.iter().map(|a| a.to_array(args.number_rows)).collect::<Result<_>>()?;
        let fields = arrays.iter().map(|a| SortField::new(a.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(&arrays)?;
        let has_null = |row: usize| self.is_whole && arrays.iter().any(|values| values.is_null(row));
        let bytes = rows.iter().enumerate().map(|(at, row)| (!has_null(at)).then(|| row.data().to_vec()));
        let bytes: BinaryArray = bytes.collect();
        Ok(ColumnarValue::Array(Arc::new(bytes)))
    }
}

/// The value of a query that returned `rows` rows, which is an error for more than one.
pub fn single(value_and_rows: Vec<Expr>, ty: &SqlType, place: Span) -> Expr {
    let signature = Signature::any(2, Volatility::Volatile);
    let single = Single { ty: ty.clone(), place: (place.start, place.end), signature };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(single)), value_and_rows))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Single {
    ty: SqlType,
    place: (usize, usize),
    signature: Signature,
}

impl ScalarUDFImpl for Single {
    fn name(&self) -> &str {
        "single"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.ty.arrow())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.args[1].to_array(args.number_rows)?;
        let most = arrow::compute::max(rows.as_primitive::<Int64Type>()).unwrap_or(0);
        if most > 1 {
            let error = Error::statement(format!("a query in the place of a value returned {most} rows"))
                .with_hint("an aggregate, LIMIT 1 or IN (...) says which of them is meant")
                .at(Span::new(self.place.0, self.place.1));
            return Err(datafusion::error::DataFusionError::External(Box::new(error)));
        }
        Ok(args.args[0].clone())
    }
}
