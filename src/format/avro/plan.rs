//! How payloads of one writer's schema become the declared columns: compiled once per schema, then run per record.
//!
//! ```text
//! {"name":"a","type":["null","long"]} ... into A BIGINT, C STRING      Take(0, Nullable(Long)), Skip(..), and C is NULL
//! ```
//!
//! Not Avro's schema resolution but Connect's: a field goes to the column of its name, else of its name in upper case, and the
//! last such field wins. What a column accepts is a question of kinds ([`Op`]); a field of another kind makes every record bad in
//! which it is reached, NULL or not ([`Op::Bad`]). Below a NULL STRUCT and in an empty ARRAY or MAP nothing is reached.

use super::schema::{Field, Id, Kind, Schema};
use super::translate::{branch_name, field_name};
use crate::types::SqlType;

/// A schema compiled for the declared columns.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) schema: Schema,
    pub(super) root: Root,
    /// Why values of a kind are bad, by the index in [`Op::Bad`].
    pub(super) reasons: Vec<String>,
}

/// What the payload is.
#[derive(Debug)]
pub(super) enum Root {
    /// A record of the columns.
    Columns(Columns),
    /// The only column.
    Value(Op),
    /// No record can be read, for the reason of this index.
    Bad(u32),
}

/// What the columns are taken from.
#[derive(Debug)]
pub(super) enum Columns {
    Record(Record),
    Union(Box<[Branch]>),
    /// A union with null around the record: index of null, and of the record.
    Nullable(usize, usize, Record),
}

/// The fields of a record in their order.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) steps: Box<[Step]>,
    /// Columns that the record does not have.
    pub(super) absent: Box<[u32]>,
}

/// What is done with a field.
#[derive(Debug)]
pub(super) enum Step {
    Skip(Skip),
    Take(u32, Op),
    /// The commonest kinds, which go into a column of their own type at once.
    Quick(u32, Quick),
    /// The value has to be acceptable, and is not kept.
    Check(u32, Op),
}

/// A value of a common kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum Quick {
    Long,
    Text,
    /// In a union with null: its index.
    NullableLong(u8),
    NullableText(u8),
}

/// How a value is read. Where it goes decides what it becomes.
#[derive(Debug)]
pub(super) enum Op {
    /// It is bad, for the reason of this index.
    Bad(u32),
    Int,
    /// A time of day, which has a range.
    TimeMillis,
    Long,
    Float,
    Double,
    Boolean,
    String,
    Bytes,
    Fixed(usize),
    Enum(Box<[Box<str>]>),
    /// Its scale; the size if it is of a fixed one.
    Decimal(i32, Option<usize>),
    Array(Id, Box<Op>),
    Map(Box<Op>),
    /// A map as an array of entries: what to do with each field of one.
    Entries(Box<[Entry]>),
    Record(Record),
    /// A union with null: its index.
    Nullable(u8, Box<Op>),
    /// A union of one type.
    Single(Box<Op>),
    /// A union of several types as a STRUCT with a field per type.
    Union(Box<[Branch]>),
}

/// A field of a map's entry.
#[derive(Debug)]
pub(super) enum Entry {
    Key(Op),
    Value(Op),
    Skip(Skip),
}

/// A branch of a union that is a STRUCT.
#[derive(Debug)]
pub(super) enum Branch {
    Null,
    Take(u32, Op),
    Skip(Skip),
}

/// How a value is walked over.
#[derive(Debug)]
pub(super) enum Skip {
    Bytes(u64),
    Int,
    Long,
    /// A length and as many bytes.
    Sized,
    /// A union with null, of this index.
    Nullable(u8, Box<Skip>),
    /// By the schema.
    Node(Id),
}

impl Plan {
    /// A plan for these columns, each with whether it is materialized; `unwrapped`: the payload is the only one.
    pub(super) fn new(schema: Schema, columns: &[(String, SqlType, bool)], unwrapped: bool) -> Plan {
        let mut compiler = Compiler { schema: &schema, reasons: vec![] };
        let root = match columns {
            [(_, ty, _)] if unwrapped => match compiler.op(schema.root(), ty, "") {
                Op::Bad(reason) => Root::Bad(reason),
                op => Root::Value(op),
            },
            columns => compiler.columns(columns),
        };
        let reasons = compiler.reasons;
        Plan { schema, root, reasons }
    }
}

struct Compiler<'a> {
    schema: &'a Schema,
    reasons: Vec<String>,
}

/// A column or a field of a STRUCT: its name in schemas, its type, whether it is kept.
type Target<'a> = (String, &'a SqlType, bool);

impl Compiler<'_> {
    fn bad(&mut self, reason: String) -> Op {
        self.reasons.push(reason);
        Op::Bad(self.reasons.len() as u32 - 1)
    }

    fn mismatch(&mut self, id: Id, wanted: &str, path: &str) -> Op {
        let kind = connect_name(self.schema, id);
        self.bad(format!("Cannot deserialize type {kind} as type {wanted} for path: {path}"))
    }

    fn columns(&mut self, columns: &[(String, SqlType, bool)]) -> Root {
        let targets: Vec<Target<'_>> = columns.iter().map(|(name, ty, keep)| (field_name(name), ty, *keep)).collect();
        let schema = self.schema;
        let root = schema.root();
        let columns = match (&schema.node(root).kind, schema.union(root)) {
            (Kind::Record(fields), _) => Columns::Record(self.record(fields, &targets, "")),
            (_, Some((branches, null))) => match (branches.as_slice(), null) {
                ([(at, only)], Some(null)) => match &schema.node(*only).kind {
                    Kind::Record(fields) => Columns::Nullable(null, *at, self.record(fields, &targets, "")),
                    _ => return self.no_columns(*only),
                },
                (several, _) if several.len() > 1 => Columns::Union(self.branches(root, &targets, "")),
                _ => return self.no_columns(root),
            },
            _ => return self.no_columns(root),
        };
        // A column of another kind is found in every record: then nothing of it is read.
        let steps = match &columns {
            Columns::Record(record) | Columns::Nullable(_, _, record) => &record.steps[..],
            Columns::Union(_) => &[],
        };
        let bad = steps.iter().find_map(|step| match step {
            Step::Take(_, Op::Bad(reason)) | Step::Check(_, Op::Bad(reason)) => Some(*reason),
            _ => None,
        });
        bad.map_or(Root::Columns(columns), Root::Bad)
    }

    fn no_columns(&mut self, id: Id) -> Root {
        match self.mismatch(id, "struct", "") {
            Op::Bad(reason) => Root::Bad(reason),
            op => Root::Value(op),
        }
    }

    fn record(&mut self, fields: &[Field], targets: &[Target<'_>], path: &str) -> Record {
        let places: Vec<Option<usize>> = fields.iter().map(|f| place(&f.name, targets)).collect();
        let mut steps = vec![];
        for (i, field) in fields.iter().enumerate() {
            // The last field of a column wins.
            let at = places[i].filter(|at| !places[i + 1..].contains(&Some(*at)));
            let step = match at {
                Some(at) => {
                    let (name, ty, keep) = &targets[at];
                    let op = self.op(field.ty, ty, &format!("{path}->{name}"));
                    match *keep {
                        true => quick(&op, ty).map_or(Step::Take(at as u32, op), |quick| Step::Quick(at as u32, quick)),
                        false if is_infallible(&op) => Step::Skip(self.skip(field.ty)),
                        false => Step::Check(at as u32, op),
                    }
                }
                None => Step::Skip(self.skip(field.ty)),
            };
            match (steps.last_mut(), step) {
                (Some(Step::Skip(Skip::Bytes(before))), Step::Skip(Skip::Bytes(more))) => {
                    *before = before.saturating_add(more);
                }
                (_, step) => steps.push(step),
            }
        }
        let absent = (0..targets.len()).filter(|at| targets[*at].2 && !places.contains(&Some(*at)));
        let absent = absent.map(|at| at as u32).collect();
        Record { steps: steps.into(), absent }
    }

    fn branches(&mut self, id: Id, targets: &[Target<'_>], path: &str) -> Box<[Branch]> {
        let schema = self.schema;
        let Kind::Union(branches) = &schema.node(id).kind else { return Box::default() };
        let branch = |branch: &Id| {
            let name = branch_name(schema, *branch);
            match (&schema.node(*branch).kind, place(name, targets)) {
                (Kind::Null, _) => Branch::Null,
                (_, Some(at)) => {
                    let op = self.op(*branch, targets[at].1, &format!("{path}->{}", targets[at].0));
                    Branch::Take(at as u32, op)
                }
                _ => Branch::Skip(self.skip(*branch)),
            }
        };
        branches.iter().map(branch).collect()
    }

    fn op(&mut self, id: Id, ty: &SqlType, path: &str) -> Op {
        use SqlType as S;
        let schema = self.schema;
        let decimal = schema.is_logical(id, "decimal");
        match (&schema.node(id).kind, ty) {
            (Kind::Union(_), _) => self.union(id, ty, path),
            (Kind::Null, _) => self.bad("Standalone null schemas are not supported by this converter".to_owned()),
            (Kind::Int, S::Integer | S::Bigint | S::String | S::Date | S::Time | S::Timestamp) => {
                if schema.is_logical(id, "time-millis") { Op::TimeMillis } else { Op::Int }
            }
            (Kind::Long, S::Bigint | S::String | S::Timestamp) => Op::Long,
            (Kind::Float, S::Double | S::String) => Op::Float,
            (Kind::Double, S::Double | S::String) => Op::Double,
            (Kind::Boolean, S::Boolean | S::String) => Op::Boolean,
            (Kind::String, S::String) => Op::String,
            (Kind::Enum(symbols), S::String) => Op::Enum(symbols.iter().map(|s| s.as_str().into()).collect()),
            (Kind::Bytes, S::Bytes) if !decimal => Op::Bytes,
            (Kind::Fixed(size), S::Bytes) if !decimal => Op::Fixed(*size),
            (kind @ (Kind::Bytes | Kind::Fixed(_)), S::Decimal(..)) if decimal => {
                let size = if let Kind::Fixed(size) = kind { Some(*size) } else { None };
                match i32::try_from(schema.node(id).notes.scale.unwrap_or(0)) {
                    Ok(scale) => Op::Decimal(scale, size),
                    Err(_) => self.bad("the decimal's scale is beyond 32 bits".to_owned()),
                }
            }
            (Kind::Bytes | Kind::Fixed(_), S::Bytes | S::Decimal(..)) => {
                let (from, to) = if decimal { ("decimal", "bytes") } else { ("bytes", "decimal") };
                self.bad(format!("Cannot deserialize type {from} as type {to} for path: {path}"))
            }
            (Kind::Array(items), ty) => match (schema.map_entries(*items), ty) {
                (Some(fields), S::Map(_, value)) => self.entries(fields, value, path),
                (None, S::Array(item)) => Op::Array(*items, Box::new(self.op(*items, item, path))),
                _ => self.mismatch(id, wanted(ty), path),
            },
            (Kind::Map(values), S::Map(_, value)) => Op::Map(Box::new(self.op(*values, value, path))),
            (Kind::Record(fields), S::Struct(wanted)) => {
                let targets: Vec<Target<'_>> = wanted.iter().map(|(n, ty)| (field_name(n), ty, true)).collect();
                Op::Record(self.record(fields, &targets, path))
            }
            _ => self.mismatch(id, wanted(ty), path),
        }
    }

    fn union(&mut self, id: Id, ty: &SqlType, path: &str) -> Op {
        let (branches, null) = self.schema.union(id).unwrap_or_default();
        match (branches.as_slice(), null) {
            ([], _) => self.bad("Standalone null schemas are not supported by this converter".to_owned()),
            ([(_, only)], null) => match (self.op(*only, ty, path), null) {
                // The kind counts although the value may be NULL.
                (Op::Bad(reason), _) => Op::Bad(reason),
                (op, Some(null)) => Op::Nullable(null as u8, Box::new(op)),
                (op, None) => Op::Single(Box::new(op)),
            },
            _ => match ty {
                SqlType::Struct(fields) => {
                    let targets: Vec<Target<'_>> = fields.iter().map(|(n, ty)| (field_name(n), ty, true)).collect();
                    Op::Union(self.branches(id, &targets, path))
                }
                _ => self.mismatch(id, wanted(ty), path),
            },
        }
    }

    fn entries(&mut self, fields: &[Field], value: &SqlType, path: &str) -> Op {
        let last = |name: &str| fields.iter().rposition(|f| f.name == name);
        let entry = |(i, field): (usize, &Field)| match field.name.as_str() {
            "key" if last("key") == Some(i) => Entry::Key(self.op(field.ty, &SqlType::String, path)),
            "value" if last("value") == Some(i) => Entry::Value(self.op(field.ty, value, path)),
            _ => Entry::Skip(self.skip(field.ty)),
        };
        Op::Entries(fields.iter().enumerate().map(entry).collect())
    }

    fn skip(&self, id: Id) -> Skip {
        if let Some(size) = self.schema.size(id) {
            return Skip::Bytes(size);
        }
        match (&self.schema.node(id).kind, self.schema.union(id)) {
            (Kind::Int, _) => Skip::Int,
            (Kind::Long, _) => Skip::Long,
            (Kind::String | Kind::Bytes, _) => Skip::Sized,
            (_, Some((branches, Some(null)))) if branches.len() == 1 => {
                let inner = match self.skip(branches[0].1) {
                    // One level is enough: what is below is walked by the schema.
                    Skip::Nullable(..) => Skip::Node(branches[0].1),
                    simple => simple,
                };
                Skip::Nullable(null as u8, Box::new(inner))
            }
            _ => Skip::Node(id),
        }
    }
}

/// The column of a writer's field.
fn place(name: &str, targets: &[Target<'_>]) -> Option<usize> {
    let exact = targets.iter().position(|(target, ..)| target == name);
    exact.or_else(|| {
        let upper = name.to_uppercase();
        targets.iter().position(|(target, ..)| *target == upper)
    })
}

/// How a value of a common kind is read at once.
fn quick(op: &Op, ty: &SqlType) -> Option<Quick> {
    match (op, ty) {
        (Op::Long, SqlType::Bigint | SqlType::Timestamp) => Some(Quick::Long),
        (Op::String, SqlType::String) => Some(Quick::Text),
        (Op::Nullable(null, op), ty) => match quick(op, ty)? {
            Quick::Long => Some(Quick::NullableLong(*null)),
            Quick::Text => Some(Quick::NullableText(*null)),
            Quick::NullableLong(_) | Quick::NullableText(_) => None,
        },
        _ => None,
    }
}

/// Whether every value that can be walked over is acceptable.
fn is_infallible(op: &Op) -> bool {
    match op {
        Op::Int | Op::Long | Op::Float | Op::Double | Op::Boolean | Op::String | Op::Bytes | Op::Fixed(_) => true,
        Op::Nullable(_, op) => is_infallible(op),
        _ => false,
    }
}

/// Connect's name of a writer's type.
pub(super) fn connect_name(schema: &Schema, id: Id) -> &'static str {
    let node = schema.node(id);
    match &node.kind {
        Kind::Null => "null",
        Kind::Boolean => "boolean",
        Kind::Int => match node.notes.connect_type.as_deref() {
            Some("int8") => "int8",
            Some("int16") => "int16",
            _ => "int32",
        },
        Kind::Long => "int64",
        Kind::Float => "float32",
        Kind::Double => "float64",
        Kind::Bytes | Kind::Fixed(_) => "bytes",
        Kind::String | Kind::Enum(_) => "string",
        Kind::Array(items) if schema.map_entries(*items).is_some() => "map",
        Kind::Array(_) => "array",
        Kind::Map(_) => "map",
        Kind::Record(_) => "struct",
        Kind::Union(_) => match schema.union(id) {
            Some((branches, _)) if branches.len() == 1 => connect_name(schema, branches[0].1),
            _ => "struct",
        },
    }
}

/// Connect's name of a column's type.
fn wanted(ty: &SqlType) -> &'static str {
    match ty {
        SqlType::Boolean => "boolean",
        SqlType::Integer | SqlType::Date | SqlType::Time => "int32",
        SqlType::Bigint | SqlType::Timestamp => "int64",
        SqlType::Double => "float64",
        SqlType::String => "string",
        SqlType::Bytes | SqlType::Decimal(..) => "bytes",
        SqlType::Array(_) => "array",
        SqlType::Map(..) => "map",
        SqlType::Struct(_) => "struct",
    }
}
