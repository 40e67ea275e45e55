//! `a || b` of texts, as a function: the operator itself has no bound.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::compute::kernels::concat_elements::concat_elements_utf8;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// The operator with a result of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Concatenation {
    ty: DataType,
    signature: Signature,
}

/// Its name. The allow-list does not have it, so that no statement can call it.
pub(crate) const NAME: &str = "||";

impl Concatenation {
    /// The operator.
    pub(crate) fn new(ty: DataType) -> Concatenation {
        Concatenation { ty, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Concatenation {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, _] => Ok(self.ty.clone()),
            _ => plan_err!("|| has two sides"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = &args.args[..] else { return exec_err!("|| has two sides") };
        let constant = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let text = |side: &ColumnarValue| -> Result<ArrayRef> { Ok(cast(&side.to_array(rows)?, &DataType::Utf8)?) };
        let (left, right) = (text(left)?, text(right)?);
        let both = concat_elements_utf8(left.as_string::<i32>(), right.as_string::<i32>())?;
        let both = cast(&both, &self.ty)?;
        if constant && both.len() == 1 {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&both, 0)?));
        }
        Ok(ColumnarValue::Array(both))
    }
}
