//! Lists that share one type: IN, ARRAY, MAP, CASE, and the coercions that get them there.
//!
//! The first typed element sets the type; numbers widen, and literals are converted to the type of the elements before them.

use super::{Binder, Bound, cast, invalid_text, literal, widen};
use crate::error::{Error, Result};
use crate::plan::scalar::{Comparison, Program};
use crate::types::SqlType;
use crate::types::decimal::BigDecimal;
use datafusion::common::ScalarValue;
use sqlparser::ast::{CaseWhen, Expr};

impl Binder<'_> {
    /// Brings all to one type.
    pub(super) fn common(&mut self, bounds: Vec<Bound>) -> Result<(Vec<Program>, SqlType)> {
        let mut common: Option<SqlType> = None;
        for bound in &bounds {
            let Some(ty) = &bound.ty else { continue };
            common = Some(match &common {
                None => ty.clone(),
                Some(known) => match known.common(ty) {
                    Some(wider) => wider,
                    None => {
                        literal_beside(known, ty, bound, &bounds).ok_or_else(|| mismatch(known, ty, &bound.program))?
                    }
                },
            });
        }
        let Some(ty) = common else {
            return Err(Error::statement("Cannot construct a list of only NULLs: it has no type")
                .with_hint("give NULL a type: CAST(NULL AS STRING)"));
        };
        let mut programs = vec![];
        for bound in bounds {
            let given = bound.ty.clone().unwrap_or_else(|| ty.clone());
            let shown = bound.program.clone();
            programs.push(self.coerce(bound, &ty)?.ok_or_else(|| mismatch(&ty, &given, &shown))?);
        }
        Ok((programs, ty))
    }

    /// Without a CAST: numbers widen, constants become what they can; `None` = impossible.
    pub(super) fn coerce(&mut self, bound: Bound, to: &SqlType) -> Result<Option<Program>> {
        let Some(from) = bound.ty.clone() else { return Ok(Some(Program::Literal(literal::null(to)?))) };
        if from == *to {
            return Ok(Some(bound.program));
        }
        if let Some(value) = bound.literal() {
            let converted = literal::convert(value, &from, to)?.map(Program::Literal);
            let converted = match (converted, value) {
                (None, ScalarValue::Utf8(Some(text))) if from == SqlType::String => whole_number(text, to),
                (converted, _) => converted,
            };
            if *to == SqlType::Boolean && from == SqlType::String && !is_boolean_text(value) {
                return Err(invalid_text(to, value));
            }
            return match converted {
                None if from == SqlType::String && !is_nested(to) => Err(invalid_text(to, value)),
                converted => Ok(converted),
            };
        }
        if to.common(&from).as_ref() != Some(to)
            && let Some(program) = self.constructor(&bound.program, to)?
        {
            return Ok(Some(program));
        }
        if from.is_numeric() && to.is_numeric() || !from.is_numeric() && cast::exists(&from, to) && is_nested(to) {
            if to.common(&from).as_ref() != Some(to) && !is_constant(&bound.program) && !is_decimal(&from, to) {
                return Ok(None);
            }
            return Ok(Some(match cast::can_fail(&from, to) {
                false => widen(bound.program, from, to),
                true => {
                    let cast = Program::Cast { value: Box::new(bound.program), from, to: to.clone() };
                    self.guard(cast)
                }
            }));
        }
        Ok(None)
    }

    /// A constructor takes a type by its elements, so that literals inside give way too.
    fn constructor(&mut self, program: &Program, to: &SqlType) -> Result<Option<Program>> {
        Ok(match (program, to) {
            (Program::Array { items, item }, SqlType::Array(wanted)) => {
                let mut out = vec![];
                for program in items {
                    let Some(item) = self.coerce(Bound::new(program.clone(), item.clone()), wanted)? else {
                        return Ok(None);
                    };
                    out.push(item);
                }
                Some(Program::Array { items: out, item: (**wanted).clone() })
            }
            (Program::Map { entries, key, value }, SqlType::Map(k, v)) => {
                let mut out = vec![];
                for (name, program) in entries {
                    let name = self.coerce(Bound::new(name.clone(), key.clone()), k)?;
                    let program = self.coerce(Bound::new(program.clone(), value.clone()), v)?;
                    let (Some(name), Some(program)) = (name, program) else { return Ok(None) };
                    out.push((name, program));
                }
                Some(Program::Map { entries: out, key: (**k).clone(), value: (**v).clone() })
            }
            (Program::Struct { fields }, SqlType::Struct(wanted)) => {
                let mut out = vec![];
                for (name, ty) in wanted {
                    let program = match fields.iter().find(|(n, ..)| n == name) {
                        None => Some(Program::Literal(literal::null(ty)?)),
                        Some((_, p, from)) => self.coerce(Bound::new(p.clone(), from.clone()), ty)?,
                    };
                    let Some(program) = program else { return Ok(None) };
                    out.push((name.clone(), program, ty.clone()));
                }
                Some(Program::Struct { fields: out })
            }
            _ => None,
        })
    }

    pub(super) fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<Bound> {
        let (mut whens, mut results) = (vec![], vec![]);
        let operand = operand.map(|operand| self.expr(operand)).transpose()?;
        for when in conditions {
            whens.push(match &operand {
                None => self.condition(&when.condition)?,
                Some(operand) => {
                    let value = self.expr(&when.condition)?;
                    self.compared(Comparison::Equal, operand.clone(), value, false)?.program
                }
            });
            results.push(self.expr(&when.result)?);
        }
        results.push(match otherwise {
            Some(otherwise) => self.expr(otherwise)?,
            None => Bound { program: Program::Literal(ScalarValue::Null), ty: None, typed: false },
        });
        if results.iter().all(|r| r.ty.is_none()) {
            return Err(Error::statement("Invalid Case expression. All case branches have NULL type")
                .with_hint("give NULL a type: CAST(NULL AS STRING)"));
        }
        let (mut results, ty) = self.common(results)?;
        let otherwise = Box::new(results.pop().ok_or_else(|| Error::bug("CASE has no results"))?);
        let whens = whens.into_iter().zip(results).collect();
        Ok(Bound::new(Program::Case { whens, otherwise }, ty))
    }

    /// `NVL2(a, b, c)`: `b` where `a` is not NULL, and else `c`.
    pub(super) fn second_or_third(&mut self, args: Vec<Bound>) -> Result<Bound> {
        let Ok([value, second, third]) = <[Bound; 3]>::try_from(args) else {
            return Err(Error::statement("NVL2 takes three arguments"));
        };
        let (results, ty) = self.common(vec![second, third])?;
        let is_there = Program::Not(Box::new(Program::IsNull(Box::new(value.program))));
        let [second, third] = <[Program; 2]>::try_from(results).map_err(|_| Error::bug("NVL2 has two results"))?;
        Ok(Bound::new(Program::Case { whens: vec![(is_there, second)], otherwise: Box::new(third) }, ty))
    }

    /// What follows WHEN.
    fn condition(&mut self, expr: &Expr) -> Result<Program> {
        let bound = self.expr(expr)?;
        match bound.ty {
            Some(SqlType::Boolean) => Ok(bound.program),
            None => Ok(Program::Literal(ScalarValue::Boolean(None))),
            Some(ty) => Err(Error::statement(format!(
                "WHEN operand type should be boolean.\nType for '{}' is {ty}",
                bound.program
            ))),
        }
    }

    pub(super) fn array(&mut self, items: &[Expr]) -> Result<Bound> {
        if items.is_empty() {
            return Err(Error::statement(
                "Array constructor cannot be empty. Please supply at least one element (see \
                 https://github.com/confluentinc/ksql/issues/4239).",
            ));
        }
        let mut bounds = vec![];
        for item in items {
            bounds.push(self.element(item)?);
        }
        if bounds.iter().all(|b| b.ty.is_none()) {
            return Err(all_null("an array with all NULL elements", "value"));
        }
        let (items, item) = self.common(bounds)?;
        Ok(Bound::new(Program::Array { items, item: item.clone() }, SqlType::Array(Box::new(item))))
    }

    pub(super) fn map(&mut self, entries: &[(&Expr, &Expr)]) -> Result<Bound> {
        if entries.is_empty() {
            return Err(Error::statement(
                "Map constructor cannot be empty. Please supply at least one key value pair \
                 (see https://github.com/confluentinc/ksql/issues/4239).",
            ));
        }
        let (mut keys, mut values) = (vec![], vec![]);
        for (key, value) in entries {
            keys.push(self.element(key)?);
            values.push(self.element(value)?);
        }
        if values.iter().all(|b| b.ty.is_none()) {
            return Err(all_null("a map with all NULL values", "value"));
        }
        if keys.iter().all(|b| b.ty.is_none()) {
            return Err(all_null("a map with all NULL keys", "key"));
        }
        let ((keys, key), (values, value)) = (self.common(keys)?, self.common(values)?);
        let entries = keys.into_iter().zip(values).collect();
        let ty = SqlType::Map(Box::new(key.clone()), Box::new(value.clone()));
        Ok(Bound::new(Program::Map { entries, key, value }, ty))
    }

    pub(super) fn structure(&mut self, fields: &[(String, &Expr)]) -> Result<Bound> {
        let mut out: Vec<(String, Program, SqlType)> = vec![];
        for (name, value) in fields {
            if out.iter().any(|(n, ..)| n == name) {
                return Err(Error::statement(format!("Duplicate field names found in STRUCT: '{name}'")));
            }
            let bound = self.element(value)?;
            let Some(ty) = bound.ty else {
                return Err(Error::statement(format!("field {name} of the STRUCT is NULL without a type"))
                    .with_hint("give NULL a type: CAST(NULL AS STRING)"));
            };
            out.push((name.clone(), bound.program, ty));
        }
        let ty = SqlType::Struct(out.iter().map(|(n, _, ty)| (n.clone(), ty.clone())).collect());
        Ok(Bound::new(Program::Struct { fields: out }, ty))
    }

    /// An element of a constructor is a boundary.
    fn element(&mut self, expr: &Expr) -> Result<Bound> {
        let mut bound = self.expr(expr)?;
        bound.program = self.guard(bound.program);
        Ok(bound)
    }
}

/// The error for a constructor whose type cannot be inferred.
fn all_null(what: &str, part: &str) -> Error {
    Error::statement(format!(
        "Cannot construct {what} (see https://github.com/confluentinc/ksql/issues/4239). As a workaround, you may cast a NULL \
         {part} to the desired type."
    ))
}

/// `2e1` is a whole number, however it is written.
fn whole_number(text: &str, to: &SqlType) -> Option<Program> {
    let exact = BigDecimal::parse(text.trim())?;
    let whole = exact.rescale(0)?;
    if (BigDecimal { unscaled: whole, scale: 0 }).compare(exact).is_ne() {
        return None;
    }
    let value = i64::try_from(whole.to_i128()?).ok()?;
    match to {
        SqlType::Integer => Some(Program::Literal(ScalarValue::Int32(Some(i32::try_from(value).ok()?)))),
        SqlType::Bigint => Some(Program::Literal(ScalarValue::Int64(Some(value)))),
        _ => None,
    }
}

/// In a list only a beginning of true, yes, false or no is read as BOOLEAN.
fn is_boolean_text(value: &ScalarValue) -> bool {
    let ScalarValue::Utf8(Some(text)) = value else { return true };
    let text = text.to_ascii_lowercase();
    !text.is_empty() && ["true", "yes", "false", "no"].iter().any(|word| word.starts_with(&text))
}

/// A struct that takes in the fields of a struct's constructor: literals in it give way.
fn struct_beside(known: &SqlType, ty: &SqlType, program: &Program) -> Option<SqlType> {
    let (SqlType::Struct(known), SqlType::Struct(given), Program::Struct { fields }) = (known, ty, program) else {
        return None;
    };
    let mut out = known.clone();
    for ((name, ty), (_, value, _)) in given.iter().zip(fields) {
        match out.iter_mut().find(|(n, _)| n == name) {
            None => out.push((name.clone(), ty.clone())),
            Some((_, known)) => match known.common(ty) {
                Some(wider) => *known = wider,
                None if matches!(value, Program::Literal(_)) => {}
                None => *known = struct_beside(known, ty, value)?,
            },
        }
    }
    Some(SqlType::Struct(out))
}

/// The type of a list in which a literal meets something else: the literal gives way.
fn literal_beside(known: &SqlType, ty: &SqlType, bound: &Bound, bounds: &[Bound]) -> Option<SqlType> {
    let text_or_number = |ty: &SqlType| !is_nested(ty);
    if let Some(merged) = struct_beside(known, ty, &bound.program) {
        return Some(merged);
    }
    let constructor = matches!(
        (&bound.program, known),
        (Program::Array { .. }, SqlType::Array(_)) | (Program::Map { .. }, SqlType::Map(..))
    );
    if constructor || bound.literal().is_some() && text_or_number(known) {
        return Some(number_in_text(known, bound).unwrap_or_else(|| known.clone()));
    }
    let before = bounds.iter().take_while(|b| !std::ptr::eq(*b, bound));
    let all_literals = before.filter(|b| b.ty.is_some()).all(|b| b.literal().is_some());
    (all_literals && text_or_number(ty)).then(|| ty.clone())
}

/// The wider type that also holds a number written as text, where `known` is too narrow for it: 3000000000 beside INTEGERs.
fn number_in_text(known: &SqlType, bound: &Bound) -> Option<SqlType> {
    let Some(ScalarValue::Utf8(Some(text))) = bound.literal() else { return None };
    let (_, ty) = literal::number(text.trim()).ok()?;
    match (known, &ty) {
        (SqlType::Integer, SqlType::Bigint) => Some(ty),
        (SqlType::Decimal(..), _) if ty.exact().is_some() => known.common(&ty),
        _ => None,
    }
}

fn mismatch(known: &SqlType, ty: &SqlType, program: &Program) -> Error {
    Error::statement(format!(
        "operator does not exist: {known} = {ty} ({program})\nHint: You might need to add explicit type casts."
    ))
}

fn is_nested(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_))
}

fn is_constant(program: &Program) -> bool {
    program.reads().is_empty()
}

/// An exact number may go into any DECIMAL; what does not fit fails row by row.
fn is_decimal(from: &SqlType, to: &SqlType) -> bool {
    from.exact().is_some() && matches!(to, SqlType::Decimal(..))
}
