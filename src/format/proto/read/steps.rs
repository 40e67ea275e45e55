//! What a plan is made of: the steps for the fields of a message, the targets for the columns, and the values between them.
//!
//! ```text
//! plan compiles them    message reads fields by them    value reads a value by its type
//! ```

use super::check::Checks;
use crate::format::proto::schema::{Enum, Scalar};

/// What to do with the fields of a message.
#[derive(Debug)]
pub(in crate::format::proto) struct MessagePlan {
    /// By number.
    pub(in crate::format::proto) steps: Vec<Step>,
    /// One per column, or per field of a STRUCT.
    pub(in crate::format::proto) targets: Vec<Target>,
    /// A column's type does not fit its field's: no message can be read.
    pub(in crate::format::proto) fault: Option<Box<str>>,
    /// What is checked of fields that no column takes.
    pub(super) checks: Checks,
}

/// A field of the message.
#[derive(Debug)]
pub(in crate::format::proto) struct Step {
    pub(in crate::format::proto) number: u32,
    pub(in crate::format::proto) act: Act,
    /// How it is read if nothing about it is unusual.
    pub(super) quick: Option<Quick>,
}

/// A scalar of one of the commonest types that a single column takes, met for the first time and with the tag that it should
/// have: it goes from the wire into the column in one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quick {
    /// The byte that is its tag.
    pub(super) tag: u8,
    pub(super) target: usize,
    pub(super) kind: QuickKind,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum QuickKind {
    Long,
    Double,
    /// `true`: it has to be UTF-8.
    Text(bool),
}

impl Step {
    pub(super) fn new(number: u32, act: Act) -> Step {
        Step { number, act, quick: None }
    }
}

/// What happens to a field.
#[derive(Clone, Copy, Debug)]
pub(in crate::format::proto) enum Act {
    /// It belongs to the target of this index.
    Take(usize),
    /// It is a member of the oneof that is the target of this index.
    Member(usize, usize),
    /// No column takes it, but it has to be valid. The index is that of a check.
    Check(usize),
}

/// A column, and its value in the current message.
#[derive(Debug)]
pub(in crate::format::proto) struct Target {
    pub(in crate::format::proto) number: u32,
    pub(in crate::format::proto) take: Take,
    pub(in crate::format::proto) slot: Slot,
}

/// Where a column's values come from.
#[derive(Debug)]
pub(in crate::format::proto) enum Take {
    /// The writer has no such field.
    Missing,
    Single {
        value: Value,
        absent: Absent,
    },
    Repeated {
        item: Value,
        packed: bool,
    },
    Entries {
        key: Value,
        value: Box<Target>,
    },
    /// A STRUCT with at most one field that is not NULL: the members, and for each field of the STRUCT which one it is.
    OneOf {
        members: Vec<(u32, Value)>,
        fields: Vec<Option<usize>>,
        fault: Option<Box<str>>,
    },
}

/// What the absence of a field means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format::proto) enum Absent {
    Default,
    Null,
    Bad,
}

/// The last occurrence of a field in the current message: bytes are offsets into it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::format::proto) struct Slot {
    pub(in crate::format::proto) count: u32,
    pub(in crate::format::proto) member: usize,
    pub(in crate::format::proto) raw: Raw,
}

/// A value on the wire without its bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::format::proto) enum Raw {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes { start: u32, length: u32 },
}

impl Default for Raw {
    fn default() -> Raw {
        Raw::Varint(0)
    }
}

impl Target {
    pub(super) fn new(number: u32, take: Take) -> Target {
        Target { number, take, slot: Slot::default() }
    }
}

/// What one value of a field is, and how it gets into its column.
#[derive(Debug)]
pub(in crate::format::proto) enum Value {
    /// An integer of any width.
    Int(Scalar),
    Bool,
    Float,
    Double,
    Enum(Box<Enum>),
    /// `true`: text that is no UTF-8 makes the record bad, as in proto3.
    Text(bool),
    Bytes,
    Decimal,
    Date,
    Time,
    Timestamp,
    Message(Box<MessagePlan>),
    Wrapper(Box<Value>),
    /// The column cannot take it: the reason.
    Mismatch(Box<str>),
}

/// Why a payload was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::format::proto) enum Fault {
    /// It is not a message.
    Malformed,
    /// A value is not one of its type.
    Invalid,
    /// The same, of the column of this index.
    Field(usize),
    /// A column does not take the type of its field: the reason.
    Kind(Box<str>),
}

impl Fault {
    pub(super) fn at(self, column: usize) -> Fault {
        match self {
            Fault::Kind(reason) => Fault::Kind(reason),
            Fault::Malformed | Fault::Invalid | Fault::Field(_) => Fault::Field(column),
        }
    }
}
