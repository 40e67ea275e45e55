//! Lambdas: what their parameters are, and what they take from outside.

use super::{Binder, Bound};
use crate::error::{Error, Result};
use crate::plan::scalar::{Body, Higher};
use crate::plan::scalar::{Program, literal};
use crate::types::SqlType;
use sqlparser::ast::{Expr, LambdaFunction, OneOrManyWithParens};

/// The names that a lambda's body sees before those outside.
pub(super) struct Frame {
    params: Vec<(String, SqlType)>,
    /// What the body takes from outside, as columns out there.
    captures: Vec<Program>,
}

impl Binder<'_> {
    /// A column or parameter, as the innermost lambda sees it.
    pub(super) fn visible(&mut self, level: usize, qualifier: Option<&str>, name: &str) -> Result<Bound> {
        let shown = qualifier.map_or(name.to_string(), |q| format!("{q}.{name}"));
        let Some(outer) = level.checked_sub(1) else {
            let (index, ty) = self.scope.column(qualifier, name)?;
            return Ok(Bound::new(Program::column(index, shown), ty));
        };
        let found = self.frames[outer].params.iter().position(|(p, _)| qualifier.is_none() && p == name);
        if let Some(index) = found {
            let ty = self.frames[outer].params[index].1.clone();
            return Ok(Bound::new(Program::column(index, shown), ty));
        }
        let outside = self.visible(outer, qualifier, name)?;
        let frame = &mut self.frames[outer];
        let place = frame.captures.iter().position(|c| *c == outside.program).unwrap_or(frame.captures.len());
        if place == frame.captures.len() {
            frame.captures.push(outside.program);
        }
        let ty = outside.ty.unwrap_or(SqlType::String);
        Ok(Bound::new(Program::column(frame.params.len() + place, shown), ty))
    }

    /// TRANSFORM, FILTER or REDUCE.
    pub(super) fn higher(&mut self, kind: Higher, args: &[&Expr]) -> Result<Bound> {
        let name = kind.name();
        let wrong = |given: &str| {
            Error::statement(format!("Function '{}' does not accept parameters ({given}).", name.to_lowercase()))
                .with_detail("it takes an ARRAY or a MAP, and lambdas as its last arguments")
                .with_hint("For detailed information on a function run: DESCRIBE FUNCTION <Function-Name>;")
        };
        let split = args.iter().position(|a| matches!(a, Expr::Lambda(_))).unwrap_or(args.len());
        let (plain, lambdas) = args.split_at(split);
        let lambdas: Vec<&LambdaFunction> =
            lambdas.iter().filter_map(|a| if let Expr::Lambda(l) = a { Some(l) } else { None }).collect();
        let mut values = Vec::new();
        for arg in plain {
            values.push(self.argument(arg)?);
        }
        let given = || {
            let plain = values.iter().map(|v: &Bound| v.ty.as_ref().map_or("null".to_owned(), SqlType::to_string));
            let lambdas = lambdas.iter().map(|_| "LAMBDA".to_owned());
            plain.chain(lambdas).collect::<Vec<_>>().join(", ")
        };
        let parts: Vec<SqlType> = match values.first().and_then(|v| v.ty.as_ref()) {
            Some(SqlType::Array(item)) => vec![(**item).clone()],
            Some(SqlType::Map(key, value)) => vec![(**key).clone(), (**value).clone()],
            _ => return Err(wrong(&given())),
        };
        let collection = values[0].ty.clone().unwrap_or(SqlType::String);
        let bodies = if kind == Higher::Transform { parts.len() } else { 1 };
        let arguments = if kind == Higher::Reduce { 2 } else { 1 };
        if lambdas.len() != bodies || values.len() != arguments || args.len() != arguments + bodies {
            return Err(wrong(&given()));
        }
        let mut programs: Vec<Program> = values.iter().map(|v| v.program.clone()).collect();
        let (bodies, ty) = match kind {
            Higher::Filter => {
                let (body, ty) = self.body(lambdas[0], parts, Some(&SqlType::Boolean))?;
                if ty != SqlType::Boolean {
                    return Err(Error::statement(format!("{name} needs a lambda that is BOOLEAN, not {ty}")));
                }
                (vec![body], collection)
            }
            Higher::Reduce => {
                let Some(state) = values[1].ty.clone() else { return Err(wrong(&given())) };
                if !values[1].typed {
                    programs[1] = Program::Literal(literal::null(&state)?);
                }
                let params = std::iter::once(state.clone()).chain(parts).collect();
                let (body, ty) = self.body(lambdas[0], params, Some(&state))?;
                if ty != state {
                    let text = format!("{name}'s lambda must give the state's type {state}, but it is {ty}");
                    return Err(Error::statement(text).with_hint("CAST the state or the lambda's value"));
                }
                (vec![body], state)
            }
            Higher::Transform => {
                let mut bound = Vec::new();
                for lambda in &lambdas {
                    bound.push(self.body(lambda, parts.clone(), None)?);
                }
                let types: Vec<SqlType> = bound.iter().map(|(_, ty)| ty.clone()).collect();
                let ty = match types.as_slice() {
                    [key, value] => SqlType::Map(Box::new(key.clone()), Box::new(value.clone())),
                    [item, ..] => SqlType::Array(Box::new(item.clone())),
                    [] => return Err(wrong(&given())),
                };
                (bound.into_iter().map(|(body, _)| body).collect(), ty)
            }
        };
        Ok(Bound::new(Program::Lambda { kind, args: programs, bodies, ty: ty.clone() }, ty))
    }

    /// A lambda over parameters of these types; its value is brought to `wanted` where that takes no CAST.
    fn body(
        &mut self,
        lambda: &LambdaFunction,
        types: Vec<SqlType>,
        wanted: Option<&SqlType>,
    ) -> Result<(Body, SqlType)> {
        let names: Vec<String> = match &lambda.params {
            OneOrManyWithParens::One(param) => vec![param.name.value.clone()],
            OneOrManyWithParens::Many(params) => params.iter().map(|p| p.name.value.clone()).collect(),
        };
        if names.len() != types.len() {
            return Err(Error::statement(format!(
                "expected a lambda with {} parameters, found one with {}",
                types.len(),
                names.len()
            )));
        }
        if let Some(twice) = names.iter().enumerate().find(|(i, n)| names[..*i].contains(n)) {
            return Err(Error::statement(format!("Lambda arguments have the same name: {}", twice.1)));
        }
        self.frames.push(Frame { params: names.iter().cloned().zip(types).collect(), captures: Vec::new() });
        let bound = self.lambda_value(&lambda.body, wanted);
        let frame = self.frames.pop().ok_or_else(|| Error::bug("a lambda's names are gone"))?;
        let (program, ty) = bound?;
        Ok((Body { params: names, captures: frame.captures, program: Box::new(program) }, ty))
    }

    fn lambda_value(&mut self, expr: &Expr, wanted: Option<&SqlType>) -> Result<(Program, SqlType)> {
        let bound = self.expr(expr)?;
        if let Some(wanted) = wanted
            && bound.ty.as_ref() != Some(wanted)
        {
            let widens = bound.ty.as_ref().is_none_or(|ty| ty.common(wanted).as_ref() == Some(wanted));
            if widens && let Some(program) = self.coerce(bound.clone(), wanted)? {
                return Ok((program, wanted.clone()));
            }
        }
        match bound.ty {
            Some(ty) => Ok((bound.program, ty)),
            None => Err(Error::statement("Can't infer a type of null.").with_hint("CAST(NULL AS STRING) has one")),
        }
    }
}
