//! An object's members into columns: the record's top level, and every STRUCT.
//!
//! [`Object::read`] is the fast pass. It appends while it parses, and gives up ([`Fault::Twice`], [`Fault::Type`]) where a
//! later member could override an earlier one; then the record is rolled back and [`Object::exact`] applies ksqlDB's full rule
//! (`KsqlJsonDeserializer`): a member of exactly the column's name, even a null one; else, among the members whose upper-cased
//! name is the column's, the one that appeared last for the first time. Of one name, the last value counts.

use super::super::escape::unescape;
use super::super::gaps::{Found, Gaps, NONE, UNKNOWN};
use super::super::scan::{Fault, Step, blank, expect, name, next, skip, syntax};
use super::Shape;
use crate::format::cells::Cells;
use crate::types::SqlType;
use std::collections::{HashMap, HashSet};

#[derive(Debug)]
pub(in crate::format::json) struct Object {
    fields: Vec<Field>,
    gaps: Gaps,
    /// A member may belong to two columns (`id` and `ID`), so that the full rule applies.
    overlapping: bool,
}

#[derive(Debug)]
struct Field {
    name: String,
    shape: Shape,
}

/// The fields seen so far, one bit each; more than 64 take more words.
pub(in crate::format) struct Seen {
    first: u64,
    others: Vec<u64>,
}

impl Seen {
    /// None of `fields` fields.
    #[inline(always)]
    pub(in crate::format) fn none(fields: usize) -> Seen {
        Seen { first: 0, others: vec![0; fields.saturating_sub(1) / 64] }
    }

    /// Marks a field; returns whether it was marked before.
    #[inline(always)]
    pub(in crate::format) fn mark(&mut self, c: usize) -> bool {
        let (word, bit) = if c < 64 { (&mut self.first, c) } else { (&mut self.others[c / 64 - 1], c % 64) };
        let before = *word >> bit & 1 == 1;
        *word |= 1 << bit;
        before
    }

    pub(in crate::format) fn has(&self, c: usize) -> bool {
        (if c < 64 { self.first } else { self.others[c / 64 - 1] }) >> (c % 64) & 1 == 1
    }
}

impl Object {
    pub(in crate::format::json) fn new<'a>(fields: impl Iterator<Item = (&'a str, &'a SqlType)>) -> Object {
        let fields: Vec<Field> =
            fields.map(|(name, ty)| Field { name: name.to_owned(), shape: Shape::new(ty) }).collect();
        let names: HashSet<&str> = fields.iter().map(|f| f.name.as_str()).collect();
        let overlapping = fields.iter().any(|f| {
            let upper = f.name.to_uppercase();
            upper != f.name && names.contains(upper.as_str())
        });
        Object { fields, gaps: Gaps::new(), overlapping }
    }

    /// Reads the object at `start`, after optional blanks. On `Err` the columns contain parts of it.
    #[inline(always)]
    pub(in crate::format::json) fn read(&mut self, d: &[u8], start: usize, cells: &mut [Cells]) -> Step {
        if self.overlapping {
            return Err(Fault::Twice);
        }
        let mut seen = Seen::none(self.fields.len());
        let (mut i, mut previous, mut guess) = (start, NONE, self.gaps.first());
        let end = loop {
            let target;
            if let Some((value, field, next)) = self.gaps.hit(guess, d, i) {
                (i, target, previous, guess) = (value, field, guess, next);
            } else {
                let fields = &self.fields;
                match self.gaps.find(d, i, previous, i == start, |raw| field_of(fields, raw))? {
                    Found::End(end) => break end,
                    Found::Member { value, target: field, gap } => {
                        (i, target, previous, guess) = (value, field, gap, self.gaps.next(gap));
                    }
                }
            }
            if target == UNKNOWN {
                i = skip(d, blank(d, i))?;
            } else {
                let c = target as usize;
                if seen.mark(c) {
                    return Err(Fault::Twice);
                }
                i = super::read::<false>(&mut self.fields[c].shape, &mut cells[c], d, i)?;
            }
            if d.get(i) == Some(&b'}') {
                break i + 1;
            }
        };
        let n = self.fields.len();
        if n > 64 || seen.first != u64::MAX.checked_shr(64 - n as u32).unwrap_or(0) {
            fill(&seen, cells);
        }
        Ok(end)
    }

    /// The full rule; `start` is the position of the opening brace.
    #[cold]
    pub(in crate::format::json) fn exact(&mut self, d: &[u8], start: usize, cells: &mut [Cells]) -> Step {
        let (members, end) = members(d, start)?;
        let by_name: HashMap<&str, usize> = members.iter().map(|(name, at)| (name.as_str(), *at)).collect();
        let by_upper: HashMap<String, usize> = members.iter().map(|(name, at)| (name.to_uppercase(), *at)).collect();
        for (field, cells) in self.fields.iter_mut().zip(cells) {
            match by_name.get(field.name.as_str()).or_else(|| by_upper.get(&field.name)) {
                Some(&at) => super::read::<true>(&mut field.shape, cells, d, at).map(drop)?,
                None => cells.push_null(),
            }
        }
        Ok(end)
    }
}

/// A missing member is NULL.
#[inline(never)]
fn fill(seen: &Seen, cells: &mut [Cells]) {
    for (c, cells) in cells.iter_mut().enumerate() {
        if !seen.has(c) {
            cells.push_null();
        }
    }
}

fn field_of(fields: &[Field], raw: &[u8]) -> u16 {
    let mut name = vec![];
    unescape(raw, &mut name);
    let exact = fields.iter().position(|f| f.name.as_bytes() == name);
    let found = exact.or_else(|| {
        let upper = String::from_utf8_lossy(&name).to_uppercase();
        fields.iter().position(|f| f.name == upper)
    });
    found.map_or(UNKNOWN, |c| c as u16)
}

/// Every member of the object at `i`, a name once: its last value, at the place of the first. And the place behind it.
pub(in crate::format) fn members(d: &[u8], i: usize) -> Result<(Vec<(String, usize)>, usize), Fault> {
    let mut found: Vec<(String, usize)> = vec![];
    let mut places = HashMap::new();
    let mut i = blank(d, expect(d, i, b'{')?);
    if d.get(i) == Some(&b'}') {
        return Ok((found, i + 1));
    }
    loop {
        let (value, raw) = name(d, i)?;
        let mut text = vec![];
        unescape(raw, &mut text);
        let text = String::from_utf8(text).map_err(|_| syntax(i))?;
        match places.get(&text) {
            Some(&at) => found[at as usize].1 = value,
            None => {
                places.insert(text.clone(), found.len() as u32);
                found.push((text, value));
            }
        }
        let (then, more) = next(d, skip(d, value)?, b'}')?;
        i = then;
        if !more {
            return Ok((found, i));
        }
    }
}
