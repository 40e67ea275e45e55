//! Where a token or a part of a tree is in its statement's text: bytes, carried in sqlparser's lines and columns.
//!
//! `lex` puts every token on line 1 at the column *offset + 1*, so that the places of a whole tree are byte offsets too.

use crate::error::Span;
use sqlparser::ast::Spanned;
use sqlparser::tokenizer::{Location, Span as TreeSpan};

/// The place of a part of a tree in its statement's text.
pub fn span_of(part: &impl Spanned) -> Option<Span> {
    bytes_of(part.span())
}

pub(super) fn bytes_of(span: TreeSpan) -> Option<Span> {
    let start = span.start.column.checked_sub(1)? as usize;
    let end = span.end.column.checked_sub(1)? as usize;
    Some(Span::new(start, end.max(start)))
}

pub(super) fn tree_span(start: usize, end: usize) -> TreeSpan {
    TreeSpan::new(Location::new(1, start as u64 + 1), Location::new(1, end as u64 + 1))
}
