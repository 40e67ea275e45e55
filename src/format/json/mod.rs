//! JSON as ksqlDB reads and writes it (`KsqlJsonDeserializer`, Connect's `JsonConverter`).
//!
//! ```text
//! scan    the grammar: strings, numbers, whole values
//! escape  unescaping of strings
//! gaps    the bytes between two values, learned verbatim
//! value   one value to one column, with coercions; objects member by member: fast, and by the rule in full
//! encode  columns to text
//! fault   why a record is bad, in words
//! ```
//!
//! Decoding: the top level is an object (or a bare value, if the column is unwrapped); `null` is a null row; text after the value
//! is ignored. A missing member is NULL, an unknown one is ignored, and a value that a column does not accept makes the record
//! bad, whether the column is materialized or not. Unlike ksqlDB's parser this one accepts UTF-8 only, without a byte order mark
//! and without encoded surrogates.

pub(super) mod encode;
pub(super) mod escape;
mod fault;
pub(super) mod gaps;
pub(super) mod scan;
pub(super) mod value;

use super::Bad;
use super::cells::Cells;
use super::rows::RowReader;
use crate::types::{Column, SqlType};
use scan::{Fault, blank, literal, syntax};
use value::Shape;
use value::object::Object;

/// Decodes payloads into columns.
#[derive(Debug)]
pub(super) struct Reader {
    root: Root,
    /// One per declared column, materialized or not.
    cells: Vec<Cells>,
    /// The expected type of the payload, for messages.
    ty: SqlType,
}

#[derive(Debug)]
enum Root {
    Object(Object),
    Bare { name: String, shape: Shape },
}

impl Reader {
    /// The columns, each with whether it is materialized. An unwrapped reader has one.
    pub(super) fn new(columns: &[(&Column, bool)], unwrapped: bool) -> Reader {
        let cells = columns.iter().map(|(column, keep)| Cells::new(&column.ty, *keep)).collect();
        let (root, ty) = match columns {
            [(column, _)] if unwrapped => {
                (Root::Bare { name: column.name.clone(), shape: Shape::new(&column.ty) }, column.ty.clone())
            }
            _ => {
                let fields: Vec<_> = columns.iter().map(|(c, _)| (c.name.clone(), c.ty.clone())).collect();
                (Root::Object(Object::new(fields.iter().map(|(n, t)| (n.as_str(), t)))), SqlType::Struct(fields))
            }
        };
        Reader { root, cells, ty }
    }

    /// The slow path: a null, a case for the full rule, or a bad record.
    #[cold]
    #[inline(never)]
    fn push_unusual(&mut self, d: &[u8], rows: usize, fault: Fault) -> Result<bool, Bad> {
        self.truncate(rows);
        let start = blank(d, 0);
        if ends_literal(d, start, b"null") {
            return Ok(false);
        }
        if fault_is_final(fault) {
            return Err(self.bad(fault, d));
        }
        let result = match &mut self.root {
            Root::Object(_) if d.get(start) != Some(&b'{') => Err(fault),
            Root::Object(object) => object.exact(d, start, &mut self.cells),
            Root::Bare { shape, .. } => read_bare::<true>(shape, &mut self.cells[0], d),
        };
        match result {
            Ok(_) => Ok(true),
            Err(fault) => {
                self.truncate(rows);
                Err(self.bad(fault, d))
            }
        }
    }

    fn bad(&self, fault: Fault, d: &[u8]) -> Bad {
        let bare = match &self.root {
            Root::Object(_) => None,
            Root::Bare { name, .. } => Some(name.as_str()),
        };
        fault::bad(fault, d, &self.ty, bare)
    }
}

impl RowReader for Reader {
    /// `null` is no value.
    fn push(&mut self, d: &[u8], rows: usize) -> Result<bool, Bad> {
        let result = match &mut self.root {
            Root::Object(object) => object.read(d, 0, &mut self.cells),
            Root::Bare { shape, .. } => read_bare::<false>(shape, &mut self.cells[0], d),
        };
        match result {
            Ok(_) => Ok(true),
            Err(fault) => self.push_unusual(d, rows, fault),
        }
    }

    fn cells(&mut self) -> &mut [Cells] {
        &mut self.cells
    }
}

/// Whether the record is bad whatever follows.
fn fault_is_final(fault: Fault) -> bool {
    matches!(fault, Fault::Syntax(_))
}

/// A payload that is a single value. An empty one is the empty text, like Jackson's missing node.
fn read_bare<const EXACT: bool>(shape: &mut Shape, cells: &mut Cells, d: &[u8]) -> scan::Step {
    let start = blank(d, 0);
    if start == d.len()
        && let super::cells::Data::String(pieces) = &mut cells.data
    {
        if cells.keep {
            pieces.close();
        }
        return Ok(start);
    }
    if ends_literal(d, start, b"null") {
        return Err(syntax(start));
    }
    let end = value::read::<EXACT>(shape, cells, d, start)?;
    let apart = match d[end - 1] {
        b'"' | b']' | b'}' => true,
        b'0'..=b'9' => matches!(d.get(end), None | Some(b' ' | b'\n' | b'\r' | b'\t')),
        _ => !continues_word(d, end),
    };
    if apart { Ok(end) } else { Err(syntax(end)) }
}

fn ends_literal(d: &[u8], i: usize, text: &[u8]) -> bool {
    literal(d, i, text).is_ok_and(|end| !continues_word(d, end))
}

fn continues_word(d: &[u8], i: usize) -> bool {
    d.get(i).is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$') || *c >= 0x80)
}
