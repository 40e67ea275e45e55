//! DataFusion's scalar functions, under the names that ksqlDB leaves free, each within its bound.

use super::{Bound, widen};
use crate::error::{Error, Result};
use crate::functions::bounded;
use crate::plan::scalar::Program;
use crate::types::SqlType;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{ReturnFieldArgs, ScalarUDF, Volatility};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

/// Functions that give the same result for the same arguments; others would make a replayed batch differ.
static FUNCTIONS: LazyLock<BTreeMap<String, Arc<ScalarUDF>>> = LazyLock::new(|| {
    let mut out = BTreeMap::new();
    // Arrays are ksqlDB's own here: DataFusion's functions of them are for plans of its own.
    let plain: BTreeSet<String> =
        datafusion::functions::all_default_functions().iter().map(|f| f.name().to_owned()).collect();
    for function in bounded::scalars() {
        if function.signature().volatility == Volatility::Immutable && plain.contains(function.name()) {
            for name in std::iter::once(function.name()).chain(function.aliases().iter().map(String::as_str)) {
                out.insert(name.to_uppercase(), function.clone());
            }
        }
    }
    out
});

/// The function with this name, in upper case.
pub(crate) fn find(name: &str) -> Option<Arc<ScalarUDF>> {
    FUNCTIONS.get(name).cloned()
}

/// All names, in upper case.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.keys().map(String::as_str)
}

/// A call, its arguments brought to the types that the function wants.
pub(super) fn call(function: Arc<ScalarUDF>, args: Vec<Program>, types: &[SqlType]) -> Result<Bound> {
    let fields: Vec<FieldRef> = types.iter().map(|ty| Arc::new(Field::new("", ty.arrow(), true))).collect();
    let wrong = |e: datafusion::error::DataFusionError| {
        let types: Vec<_> = types.iter().map(SqlType::to_string).collect();
        Error::statement(format!("Function '{}' does not accept parameters ({}).", function.name(), types.join(", ")))
            .because(e)
    };
    let wanted = fields_with_udf(&fields, function.as_ref()).map_err(wrong)?;
    let mut programs = vec![];
    let mut fields = vec![];
    for ((program, from), field) in args.into_iter().zip(types).zip(wanted) {
        // Only the types that our columns have: views and unsigned numbers are the function's own business.
        let to = SqlType::from_arrow(field.data_type()).filter(|to| to.arrow() == *field.data_type());
        let to = to.unwrap_or_else(|| from.clone());
        let same_family = from.common(&to).as_ref() == Some(&to);
        let to = if same_family { to } else { from.clone() };
        fields.push(Arc::new(Field::new("", to.arrow(), true)));
        programs.push(widen(program, from.clone(), &to));
    }
    let literals: Vec<_> = programs.iter().map(|p| p.as_literal()).collect();
    let returns = function
        .return_field_from_args(ReturnFieldArgs { arg_fields: &fields, scalar_arguments: &literals })
        .map_err(wrong)?;
    let ty = match returns.data_type() {
        DataType::Null => None,
        ty => SqlType::from_arrow(ty),
    };
    let Some(ty) = ty else {
        return Err(Error::statement(format!("{} returns a type that SQL has no name for", function.name())));
    };
    Ok(Bound::new(Program::Native { function: function.clone(), args: programs, returns, ty: ty.clone() }, ty))
}
