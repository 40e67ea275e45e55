//! Why a row failed, in words: the innermost part of a program that fails for it, and the values it failed on.
//!
//! ```text
//! PARSE_TIMESTAMP(T, 'yyyy-MM-dd')    Text 2021/01/01 could not be parsed at index 4
//! CAST(N AS INTEGER) + 1              For input string: "12x"
//! I / J                               / by zero
//! ```
//!
//! A batch knows only which rows failed, and in which of few ways. Who writes the log asks for the words, for few rows: the
//! program is run again on such a row alone, part by part.

use super::errors::{RowErrors, Selection};
use super::{Columns, Program};
use crate::types::SqlType;
use crate::types::display::write_value;
use arrow::array::ArrayRef;
use datafusion::common::ScalarValue;

/// Most characters of a value in a message: a log is read by people.
const VALUE_CHARS_MAX: usize = 100;

impl Program {
    /// Why what this boundary guards fails for a row; `None` = nothing more is known than that it does.
    pub fn cause(&self, boundary: u16, input: &Columns<'_>, row: usize) -> Option<String> {
        let guarded = self.guarded(boundary)?;
        let columns: Vec<ArrayRef> = input.columns.iter().map(|column| column.slice(row, 1)).collect();
        guarded.failure(&Columns { columns: &columns, rows: 1 })
    }

    /// What is under the guard of this number, but for guards inside of lambdas: those have other columns.
    fn guarded(&self, boundary: u16) -> Option<&Program> {
        if let Program::Guard { boundary: number, inner } = self
            && *number == boundary
        {
            return Some(inner);
        }
        let mut found = None;
        self.each(&mut |part| found = found.or_else(|| part.guarded(boundary)));
        found
    }

    /// The same for the only row.
    fn failure(&self, row: &Columns<'_>) -> Option<String> {
        // What a guard catches inside is no failure of the whole. Of a lazy form it is not known which parts ran.
        let is_opaque = matches!(
            self,
            Program::Guard { .. } | Program::Lambda { .. } | Program::And(..) | Program::Or(..) | Program::Case { .. }
        );
        if is_opaque || !self.fails(row) {
            return None;
        }
        // Where a part fails, its value means nothing: the whole has no words of its own then.
        let mut inner = None;
        self.each(&mut |part| {
            let is_first = inner.is_none() && !matches!(part, Program::Guard { .. });
            if is_first && part.fails(row) {
                inner = Some(part.failure(row));
            }
        });
        inner.unwrap_or_else(|| self.own_failure(row))
    }

    fn fails(&self, row: &Columns<'_>) -> bool {
        let mut errors = RowErrors::new();
        self.eval(row, &Selection::all(), &mut errors).is_err() || errors.any_open()
    }

    /// Why the program itself fails, whose parts do not.
    fn own_failure(&self, row: &Columns<'_>) -> Option<String> {
        match self {
            Program::Cast { value, from, to } => {
                let text = shown(&value.value(row)?);
                Some(match (from, to) {
                    (SqlType::String, SqlType::Integer | SqlType::Bigint | SqlType::Double) => {
                        format!("For input string: \"{text}\"")
                    }
                    (SqlType::String, _) => format!("Text {text} could not be read as {to}"),
                    _ => format!("{text} does not fit {to}"),
                })
            }
            Program::Call { function, args, .. } => {
                let args = args.iter().map(|arg| arg.value(row)).collect::<Option<Vec<_>>>()?;
                let given: Vec<String> = args.iter().map(shown).collect();
                let known = function.cause(&args);
                Some(known.unwrap_or_else(|| format!("{} failed on ({})", function.name(), given.join(", "))))
            }
            _ => None,
        }
    }

    fn value(&self, row: &Columns<'_>) -> Option<ScalarValue> {
        ScalarValue::try_from_array(&self.eval_array(row, &mut RowErrors::new()).ok()?, 0).ok()
    }
}

/// A value as text, cut if it is long.
fn shown(value: &ScalarValue) -> String {
    let mut text = String::new();
    if let Ok(array) = value.to_array() {
        write_value(&array, 0, &mut text);
    }
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
