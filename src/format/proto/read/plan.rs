//! How the payloads of one writer's message get into columns: made once per (schema, message, columns).
//!
//! ```text
//! writer   message M { string c = 1; int32 a = 2; repeated N n = 3; }
//! columns  A BIGINT, D DATE
//! plan     fields  1 checked (text), 2 -> A, 3 checked (messages)      targets  A: int32 if present, else 0;  D: always NULL
//! ```
//!
//! A column takes the last field whose name is its own, or is its own in upper case; a oneof is a field of type STRUCT that comes before
//! all others. Types are compared here. A column whose field has a type that it does not take makes every record bad, whether
//! the field is there or not; below a STRUCT, an ARRAY or a MAP only where there is a value (ksqlDB's `ConnectDataTranslator`).

use super::check::Checks;
use super::steps::{Absent, Act, MessagePlan, Quick, QuickKind, Step, Take, Target, Value};
use crate::format::connect::mismatch;
use crate::format::proto::infer::{Kind, kind, oneof_name};
use crate::format::proto::schema::{Field, File, Label, Message, Scalar, Syntax};
use crate::types::SqlType;

/// The plan for a message of a schema.
pub(in crate::format::proto) fn compile(file: &File, message: &Message, columns: &[(String, SqlType)]) -> MessagePlan {
    Compiler { file }.message(message, columns, "")
}

/// The plan for a payload that is the value of one column itself.
pub(in crate::format::proto) fn alone(file: &File, name: &str, column: &(String, SqlType)) -> Option<Value> {
    let field = file.message(name)?.fields.first()?;
    Compiler { file }.value(kind(file, field)?, &column.1, &format!("->{}", column.0)).ok()
}

struct Compiler<'a> {
    file: &'a File,
}

/// What a column may take: a field, or a oneof by its index.
enum Candidate<'a> {
    Field(&'a Field),
    OneOf(usize),
}

impl<'a> Compiler<'a> {
    fn message(&self, message: &'a Message, columns: &[(String, SqlType)], path: &str) -> MessagePlan {
        let oneofs = (0..message.oneofs.len()).map(|i| (oneof_name(message, i), Candidate::OneOf(i)));
        let plain = message.fields.iter().filter(|f| f.oneof.is_none() && !self.is_group(f));
        let candidates: Vec<_> = oneofs.chain(plain.map(|f| (f.name.clone(), Candidate::Field(f)))).collect();
        let mut plan = MessagePlan { steps: vec![], targets: vec![], fault: None, checks: Checks::default() };
        for (name, ty) in columns {
            let fits = |candidate: &str| candidate == name || candidate.to_uppercase() == *name;
            let found = candidates.iter().rev().find(|(candidate, _)| fits(candidate));
            let at = plan.targets.len();
            let path = format!("{path}->{name}");
            let target = match found.map(|(_, candidate)| candidate) {
                None => Ok(Target::new(0, Take::Missing)),
                Some(Candidate::Field(field)) => {
                    plan.steps.push(Step::new(field.number, Act::Take(at)));
                    self.target(field, ty, &path)
                }
                Some(Candidate::OneOf(index)) => {
                    let members = message.fields.iter().filter(|f| f.oneof == Some(*index) && !self.is_group(f));
                    let members: Vec<_> = members.collect();
                    let acts = members.iter().enumerate().map(|(m, f)| (f.number, Act::Member(at, m)));
                    plan.steps.extend(acts.map(|(number, act)| Step::new(number, act)));
                    self.oneof(&members, ty, &path)
                }
            };
            plan.targets.push(target.unwrap_or_else(|reason| {
                plan.fault.get_or_insert(reason.into());
                Target::new(0, Take::Missing)
            }));
        }
        for field in &message.fields {
            if plan.steps.iter().all(|step| step.number != field.number)
                && let Some(check) = plan.checks.add(self.file, message, field)
            {
                plan.steps.push(Step::new(field.number, Act::Check(check)));
            }
        }
        plan.steps.sort_by_key(|step| step.number);
        let quick: Vec<_> = (0..plan.steps.len()).map(|at| quick(&plan, at)).collect();
        plan.steps.iter_mut().zip(quick).for_each(|(step, quick)| step.quick = quick);
        plan
    }

    fn is_group(&self, field: &Field) -> bool {
        matches!(kind(self.file, field), Some(Kind::Group) | None)
    }

    fn target(&self, field: &'a Field, ty: &SqlType, path: &str) -> Result<Target, String> {
        let kind = kind(self.file, field).ok_or("the schema is not linked")?;
        let take = match (kind, field.label, ty) {
            (Kind::Entry(entry), _, SqlType::Map(_, value)) => {
                let part = |name: &str| entry.fields.iter().find(|f| f.name == name).ok_or("a map has no entries");
                let (key, field) = (part("key")?, part("value")?);
                let key_kind = self::kind(self.file, key).ok_or("a map's key has no type")?;
                let key = self.value(key_kind, &SqlType::String, path)?;
                let value = self.target(field, value, path).unwrap_or_else(|reason| {
                    let (value, absent) = (Value::Mismatch(reason.into()), Absent::Default);
                    Target::new(field.number, Take::Single { value, absent })
                });
                Take::Entries { key, value: Box::new(value) }
            }
            (Kind::Entry(_), _, ty) => return Err(mismatch("map", ty, path)),
            (kind, Label::Repeated, SqlType::Array(item)) => {
                let packed = match &kind {
                    Kind::Scalar(scalar) => scalar.is_packable(),
                    Kind::Enum(_) => true,
                    _ => false,
                };
                let item = self.value(kind, item, path).unwrap_or_else(|reason| Value::Mismatch(reason.into()));
                Take::Repeated { packed: packed && !matches!(item, Value::Mismatch(_)), item }
            }
            (_, Label::Repeated, ty) => return Err(mismatch("array", ty, path)),
            (kind, label, ty) => {
                let value = self.value(kind, ty, path)?;
                let absent = match label {
                    Label::Required => Absent::Bad,
                    _ if value.is_message() => Absent::Null,
                    Label::Implicit => Absent::Default,
                    _ => Absent::Null,
                };
                Take::Single { value, absent }
            }
        };
        Ok(Target::new(field.number, take))
    }

    fn oneof(&self, members: &[&'a Field], ty: &SqlType, path: &str) -> Result<Target, String> {
        let SqlType::Struct(fields) = ty else { return Err(mismatch("struct", ty, path)) };
        let (mut values, mut places) = (vec![], vec![None; fields.len()]);
        let mut fault = None;
        for (m, member) in members.iter().enumerate() {
            let kind = kind(self.file, member).ok_or("the schema is not linked")?;
            let fits = |name: &str| member.name == name || member.name.to_uppercase() == name;
            let place = fields.iter().position(|(name, _)| fits(name));
            let value = match place {
                Some(place) => {
                    places[place] = Some(m);
                    let (name, ty) = &fields[place];
                    self.value(kind, ty, &format!("{path}->{name}")).unwrap_or_else(|reason| {
                        fault.get_or_insert_with(|| reason.clone().into());
                        Value::Mismatch(reason.into())
                    })
                }
                None => self.unread(kind),
            };
            values.push((member.number, value));
        }
        Ok(Target::new(0, Take::OneOf { members: values, fields: places, fault }))
    }

    /// A member that no field of the STRUCT takes: only its wire type matters.
    fn unread(&self, kind: Kind<'a>) -> Value {
        match kind {
            Kind::Scalar(Scalar::Float) => Value::Float,
            Kind::Scalar(Scalar::Double) => Value::Double,
            Kind::Scalar(Scalar::Bool) => Value::Bool,
            Kind::Scalar(Scalar::String | Scalar::Bytes) => Value::Bytes,
            Kind::Scalar(scalar) => Value::Int(scalar),
            Kind::Enum(_) => Value::Int(Scalar::Int32),
            _ => Value::Bytes,
        }
    }

    /// How one value of a field gets into a column, or why it does not.
    fn value(&self, kind: Kind<'a>, ty: &SqlType, path: &str) -> Result<Value, String> {
        let (connect, value) = match kind {
            Kind::Scalar(scalar) => self.scalar(scalar),
            Kind::Wrapper(scalar) => {
                let (connect, value) = self.scalar(scalar);
                (connect, Value::Wrapper(Box::new(value)))
            }
            Kind::Enum(known) => ("string", Value::Enum(Box::new(known.clone()))),
            Kind::Decimal if matches!(ty, SqlType::Decimal(..)) => return Ok(Value::Decimal),
            Kind::Decimal => return Err(mismatch("bytes", ty, path)),
            Kind::Date => ("int32", Value::Date),
            Kind::Time => ("int32", Value::Time),
            Kind::Timestamp => ("int64", Value::Timestamp),
            Kind::Message(_, message) => {
                let SqlType::Struct(fields) = ty else { return Err(mismatch("struct", ty, path)) };
                return Ok(Value::Message(Box::new(self.message(message, fields, path))));
            }
            Kind::Entry(_) => return Err(mismatch("map", ty, path)),
            Kind::Group => return Err(mismatch("struct", ty, path)),
        };
        match accepts(ty, connect) {
            true => Ok(value),
            false => Err(mismatch(connect, ty, path)),
        }
    }

    /// A scalar's type in Connect, and its value.
    fn scalar(&self, scalar: Scalar) -> (&'static str, Value) {
        match scalar {
            Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => ("int32", Value::Int(scalar)),
            Scalar::Float => ("float32", Value::Float),
            Scalar::Double => ("float64", Value::Double),
            Scalar::Bool => ("boolean", Value::Bool),
            Scalar::String => ("string", Value::Text(self.file.main.syntax != Syntax::Proto2)),
            Scalar::Bytes => ("bytes", Value::Bytes),
            _ => ("int64", Value::Int(scalar)),
        }
    }
}

/// How a step is read if nothing about it is unusual. Its tag has one byte, and no other step is of the same field.
fn quick(plan: &MessagePlan, at: usize) -> Option<Quick> {
    let Step { number, act: Act::Take(target), .. } = plan.steps[at] else { return None };
    let Take::Single { value, .. } = &plan.targets[target].take else { return None };
    let (wire, kind) = match value {
        Value::Int(Scalar::Int64 | Scalar::Uint64) => (0, QuickKind::Long),
        Value::Double => (1, QuickKind::Double),
        Value::Text(strict) => (2, QuickKind::Text(*strict)),
        _ => return None,
    };
    let tag = u8::try_from(number << 3 | wire).ok().filter(|tag| *tag < 0x80)?;
    let alone = plan.steps.iter().filter(|step| step.number == number).count() == 1;
    alone.then_some(Quick { tag, target, kind })
}

/// Whether a column takes values of a Connect type.
fn accepts(ty: &SqlType, connect: &str) -> bool {
    match ty {
        SqlType::Integer | SqlType::Date | SqlType::Time => connect == "int32",
        SqlType::Bigint | SqlType::Timestamp => matches!(connect, "int32" | "int64"),
        SqlType::Double => matches!(connect, "float32" | "float64"),
        SqlType::String => connect != "bytes",
        SqlType::Boolean => connect == "boolean",
        SqlType::Bytes => connect == "bytes",
        SqlType::Decimal(..) | SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => false,
    }
}
