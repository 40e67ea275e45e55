//! What the rows of a SELECT are for.

use crate::catalog::Source;
use crate::types::SqlType;

/// What the rows are for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::plan) enum Purpose<'a> {
    /// A stream or table of this name.
    Persistent(&'a str),
    /// A stream that is there already: numbers widen to its columns.
    Into(&'a Source),
    /// A client that follows the changes.
    Push,
    /// A client that wants the state of now.
    Batch,
}

impl<'a> Purpose<'a> {
    pub(in crate::plan) fn is_persistent(self) -> bool {
        matches!(self, Purpose::Persistent(_) | Purpose::Into(_))
    }

    /// The name of what is written.
    pub(in crate::plan) fn target(self) -> Option<&'a str> {
        match self {
            Purpose::Persistent(name) => Some(name),
            Purpose::Into(target) => Some(&target.name),
            Purpose::Push | Purpose::Batch => None,
        }
    }

    /// The type that a value column has in what is written, if it widens to it by itself.
    pub(super) fn widened(self, name: &str, ty: &SqlType) -> Option<&'a SqlType> {
        let Purpose::Into(target) = self else { return None };
        let wanted = target.schema.value.iter().find(|c| c.name == name).map(|c| &c.ty)?;
        (wanted != ty && ty.common(wanted).as_ref() == Some(wanted)).then_some(wanted)
    }
}
