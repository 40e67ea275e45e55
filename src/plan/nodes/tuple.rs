//! Functions that a query inside of an expression needs, over plain columns.

use crate::error::{Error, Span};
use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
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

/// The value as bytes in the order of ORDER BY, never NULL. Arrays, maps and structs are sorted by them: of a comparison that
/// finds the first rows of an order and one that sorts them all, DataFusion's have NULLs inside of values in different places.
pub fn ordered(column: Expr, descending: bool, nulls_first: bool) -> Expr {
    let ordered = Ordered { descending, nulls_first, signature: Signature::any(1, Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(ordered)), vec![column]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ordered {
    descending: bool,
    nulls_first: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Ordered {
    fn name(&self) -> &str {
        if self.descending { "descending" } else { "ascending" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = args.args[0].to_array(args.number_rows)?;
        let options = SortOptions { descending: self.descending, nulls_first: self.nulls_first };
        let field = SortField::new_with_options(values.data_type().clone(), options);
        let rows = RowConverter::new(vec![field])?.convert_columns(&[values])?;
        let bytes: BinaryArray = rows.iter().map(|row| Some(row.data().to_vec())).collect();
        Ok(ColumnarValue::Array(Arc::new(bytes)))
    }
}

/// Can a column of this type be a part of a tuple?
pub fn is_possible(ty: &SqlType) -> bool {
    is_sortable(&ty.arrow())
}

/// Have values of this type bytes that sort as they do?
pub fn is_sortable(ty: &DataType) -> bool {
    RowConverter::supports_fields(&[SortField::new(ty.clone())])
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
        let value = |arg: &ColumnarValue| Ok(with_one_zero(arg.to_array(args.number_rows)?));
        let arrays: Vec<ArrayRef> = args.args.iter().map(value).collect::<Result<_>>()?;
        let fields = arrays.iter().map(|a| SortField::new(a.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(&arrays)?;
        let has_null = |row: usize| self.is_whole && arrays.iter().any(|values| values.is_null(row));
        let bytes = rows.iter().enumerate().map(|(at, row)| (!has_null(at)).then(|| row.data().to_vec()));
        let bytes: BinaryArray = bytes.collect();
        Ok(ColumnarValue::Array(Arc::new(bytes)))
    }
}

/// The numbers with 0 in the place of -0, which equals it.
fn with_one_zero(values: ArrayRef) -> ArrayRef {
    match values.as_primitive_opt::<Float64Type>() {
        Some(numbers) => Arc::new(numbers.unary::<_, Float64Type>(|number| number + 0.0)),
        None => values,
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
