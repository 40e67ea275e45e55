//! JSON into columns, by a plan.
//!
//! An object is read as it comes, with the learned gaps of `json::gaps`. Where a name is repeated, or one member belongs to two columns,
//! the record is read again member by member: the last value of a name counts. Values have to be of the type that the schema says;
//! Connect's converter would take text for a number as 0.

use super::plan::{Branch, BranchKind, ObjectPlan, Take, Value};
use crate::format::cells::{Cells, Data, Pieces};
use crate::format::json::escape::unescape;
use crate::format::json::gaps::{Found, NONE, UNKNOWN};
use crate::format::json::scan::{self, blank, expect, literal, name, next, number, short_int, skip, string, syntax};
use crate::format::json::value::object::{Seen, members};
use crate::format::json::value::{double, keys_repeat};
use crate::types::base64;
use crate::types::decimal_text::DecimalText;
use crate::types::java_double::{write_java_double, write_java_float};
use crate::types::temporal::DAY_MS;
use std::collections::HashMap;

/// Why a payload was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no JSON, a value is not of its type, or a name is repeated.
    Json(scan::Fault),
    /// A `null` where the schema has none.
    Null(u32),
    /// A column does not take the type of its property: the reason.
    Kind(Box<str>),
}

impl From<scan::Fault> for Fault {
    fn from(fault: scan::Fault) -> Fault {
        Fault::Json(fault)
    }
}

/// The position after what was read.
pub(super) type Step = Result<usize, Fault>;

#[cold]
fn wrong(at: usize) -> Fault {
    Fault::Json(scan::Fault::Type(at as u32))
}

impl ObjectPlan {
    /// Reads the object at `start`, after optional blanks. On `Err` the columns contain parts of it.
    #[inline(always)]
    pub(super) fn read(&mut self, d: &[u8], start: usize, cells: &mut [Cells]) -> Step {
        if self.overlapping || self.fault.is_some() {
            return self.unusual();
        }
        let mut seen = Seen::none(self.members.len());
        let (mut i, mut previous, mut guess) = (start, NONE, self.gaps.first());
        let end = loop {
            let target;
            if let Some((value, member, next)) = self.gaps.hit(guess, d, i) {
                (i, target, previous, guess) = (value, member, guess, next);
            } else {
                let members = &self.members;
                let named = |raw: &[u8]| {
                    let mut name = vec![];
                    unescape(raw, &mut name);
                    members.iter().position(|m| m.name.as_bytes() == name).map_or(UNKNOWN, |m| m as u16)
                };
                match self.gaps.find(d, i, previous, i == start, named)? {
                    Found::End(end) => break end,
                    Found::Member { value, target: member, gap } => {
                        (i, target, previous, guess) = (value, member, gap, self.gaps.next(gap));
                    }
                }
            }
            if target == UNKNOWN {
                i = skip(d, blank(d, i))?;
            } else {
                if seen.mark(target as usize) {
                    return Err(scan::Fault::Twice.into());
                }
                let member = &mut self.members[target as usize];
                i = match member.column {
                    Some(column) => read(&mut member.value, &mut cells[column], d, i)?,
                    None => unread(&member.value, d, i)?,
                };
            }
            if d.get(i) == Some(&b'}') {
                break i + 1;
            }
        };
        for (place, cells) in self.columns.iter().zip(cells) {
            if place.is_none_or(|member| !seen.has(member)) {
                cells.push_null();
            }
        }
        Ok(end)
    }

    #[cold]
    fn unusual(&self) -> Step {
        match &self.fault {
            Some(reason) => Err(Fault::Kind(reason.clone())),
            None => Err(scan::Fault::Twice.into()),
        }
    }

    /// The same member by member, for names that are repeated.
    #[cold]
    pub(super) fn exact(&mut self, d: &[u8], start: usize, cells: &mut [Cells]) -> Step {
        if self.fault.is_some() {
            return self.unusual();
        }
        let (found, end) = members(d, start)?;
        let found: HashMap<&str, usize> = found.iter().map(|(name, at)| (name.as_str(), *at)).collect();
        for member in self.members.iter().filter(|m| m.column.is_none()) {
            if let Some(&at) = found.get(member.name.as_str()) {
                unread(&member.value, d, at)?;
            }
        }
        for (place, cells) in self.columns.iter().zip(cells) {
            let member = place.map(|m| &mut self.members[m]);
            match member.and_then(|m| Some((found.get(m.name.as_str())?, m))) {
                Some((&at, member)) => {
                    read(&mut member.value, cells, d, at)?;
                }
                None => cells.push_null(),
            }
        }
        Ok(end)
    }
}

/// A value that no column takes: it has to be JSON, and `null` only where the schema has it.
fn unread(value: &Value, d: &[u8], i: usize) -> Step {
    let i = blank(d, i);
    if d.get(i) == Some(&b'n') && !value.nullable {
        return Err(Fault::Null(i as u32));
    }
    Ok(skip(d, i)?)
}

/// Reads the value at `i`, after optional blanks, and appends it if the column is materialized.
#[inline(always)]
pub(super) fn read(value: &mut Value, cells: &mut Cells, d: &[u8], i: usize) -> Step {
    match (&value.take, &mut cells.data) {
        (Take::Int, Data::Bigint(values) | Data::Timestamp(values)) => {
            if let Some((end, v)) = short_int(d, i) {
                if cells.keep {
                    values.push(v);
                }
                return Ok(end);
            }
        }
        (Take::Int, Data::Integer(values)) => {
            if let Some((end, v)) = short_int(d, i) {
                if cells.keep {
                    values.push(v as i32);
                }
                return Ok(end);
            }
        }
        (Take::Text, Data::String(pieces)) if d.get(i) == Some(&b'"') => {
            let (end, escaped) = string(d, i + 1)?;
            if cells.keep {
                push_text(pieces, &d[i + 1..end - 1], escaped);
            }
            return Ok(end);
        }
        _ => {}
    }
    read_other(value, cells, d, i)
}

/// Appends a validated string, given its inside.
#[inline(always)]
fn push_text(pieces: &mut Pieces, inside: &[u8], escaped: bool) {
    match escaped {
        true => unescape(inside, &mut pieces.bytes),
        false => pieces.bytes.extend_from_slice(inside),
    }
    pieces.close();
}

#[inline(never)]
fn read_other(value: &mut Value, cells: &mut Cells, d: &[u8], i: usize) -> Step {
    let i = blank(d, i);
    let first = *d.get(i).ok_or_else(|| syntax(i))?;
    if let Take::Mismatch(reason) = &value.take {
        return Err(Fault::Kind(reason.clone()));
    }
    if first == b'n' {
        let end = literal(d, i, b"null")?;
        if !value.nullable {
            return Err(Fault::Null(i as u32));
        }
        cells.push_null();
        return Ok(end);
    }
    let end = match (&mut value.take, &mut cells.data) {
        (Take::Array(item), Data::Array { ends, items }) => {
            let end = each_item(d, i, |at| read(item, items, d, at))?;
            ends.push(items.len() as i32);
            end
        }
        (Take::Map(of), Data::Map { ends, keys, values }) => {
            let end = read_map(of, (keys, values), d, i)?;
            ends.push(keys.len() as i32);
            end
        }
        (Take::Entries { key, value }, Data::Map { ends, keys, values }) => {
            let end = read_entries((key, value), (keys, values), d, i)?;
            ends.push(keys.len() as i32);
            end
        }
        (Take::Struct(object), Data::Struct { fields, rows }) => {
            *rows += 1;
            if first != b'{' {
                return Err(wrong(i));
            }
            match object.read(d, i, fields) {
                Err(Fault::Json(scan::Fault::Twice)) => {
                    let before = *rows - 1;
                    fields.iter_mut().for_each(|f| f.truncate(before));
                    object.exact(d, i, fields)?
                }
                read => read?,
            }
        }
        (Take::Union(branches), Data::Struct { fields, rows }) => {
            *rows += 1;
            read_union(branches, fields, d, i)?
        }
        (take, data) => read_scalar(take, data, d, i)?,
    };
    if !cells.keep {
        cells.truncate(0);
    }
    Ok(end)
}

/// Calls `item` with the position of each item of the array at `i`; returns the position after it.
fn each_item(d: &[u8], i: usize, mut item: impl FnMut(usize) -> Step) -> Step {
    if d.get(i) != Some(&b'[') {
        return Err(wrong(i));
    }
    let mut i = blank(d, i + 1);
    if d.get(i) == Some(&b']') {
        return Ok(i + 1);
    }
    loop {
        let (then, more) = next(d, item(i)?, b']')?;
        i = then;
        if !more {
            return Ok(i);
        }
    }
}

type MapCells<'a> = (&'a mut Pieces, &'a mut Cells);

/// An object whose members are the entries: the last value of a name counts.
fn read_map(value: &mut Value, (keys, values): MapCells<'_>, d: &[u8], i: usize) -> Step {
    let start = keys.len();
    let mut at = blank(d, expect(d, i, b'{').map_err(|_| wrong(i))?);
    let mut more = d.get(at) != Some(&b'}');
    if !more {
        at += 1;
    }
    while more {
        let (place, raw) = name(d, at)?;
        unescape(raw, &mut keys.bytes);
        keys.close();
        (at, more) = next(d, read(value, values, d, place)?, b'}')?;
    }
    if keys_repeat(keys, start) {
        keys.truncate(start);
        values.truncate(start);
        let (found, _) = members(d, i)?;
        for (name, place) in found {
            keys.push(name.as_bytes());
            read(value, values, d, place)?;
        }
    }
    Ok(at)
}

/// An array of objects with `key` and `value`: the last entry of a key counts.
fn read_entries((key, value): (&Value, &mut Value), (keys, values): MapCells<'_>, d: &[u8], i: usize) -> Step {
    let start = keys.len();
    let mut places: Vec<(Option<usize>, Option<usize>)> = vec![];
    let end = each_item(d, i, |at| {
        let (found, end) = members(d, at).map_err(|fault| match fault {
            scan::Fault::Syntax(_) if d.get(at) != Some(&b'{') => wrong(at),
            fault => fault.into(),
        })?;
        let place = |name: &str| found.iter().find(|(member, _)| member == name).map(|(_, at)| *at);
        places.push((place("key"), place("value")));
        Ok(end)
    })?;
    let mut entries: Vec<(Vec<u8>, Option<usize>)> = vec![];
    let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
    for (name, place) in places {
        let mut text = vec![];
        if let Some(at) = name {
            key_text(key, d, at, &mut text)?;
        }
        match known.get(&text) {
            Some(&entry) => entries[entry].1 = place,
            None => {
                known.insert(text.clone(), entries.len());
                entries.push((text, place));
            }
        }
    }
    debug_assert_eq!(start, keys.len());
    for (name, place) in entries {
        keys.push(&name);
        match place {
            Some(at) => {
                read(value, values, d, at)?;
            }
            None => values.push_null(),
        }
    }
    Ok(end)
}

/// Appends a key's text. `null` is the empty text, as Connect's converter has no other place for it.
fn key_text(key: &Value, d: &[u8], at: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    let at = blank(d, at);
    match d.get(at) {
        Some(b'n') if key.nullable => Ok(()),
        Some(b'n') => Err(Fault::Null(at as u32)),
        _ => {
            let end = skip(d, at)?;
            text(&key.take, d, at, end, out).ok_or_else(|| wrong(at))
        }
    }
}

fn read_union(branches: &mut [Branch], fields: &mut [Cells], d: &[u8], i: usize) -> Step {
    let end = skip(d, i)?;
    let chosen = choose(branches, d, i, end).ok_or_else(|| wrong(i))?;
    let Branch { field, value, .. } = &mut branches[chosen];
    for (f, cells) in fields.iter_mut().enumerate() {
        match *field == Some(f) {
            true => {
                read(value, cells, d, i)?;
            }
            false => cells.push_null(),
        }
    }
    Ok(end)
}

/// The branch of a value: the first of its kind; of an object the one that knows most of its names.
fn choose(branches: &[Branch], d: &[u8], i: usize, end: usize) -> Option<usize> {
    let first = d[i];
    let is_number = matches!(first, b'-' | b'0'..=b'9');
    let whole = is_number && !d[i..end].iter().any(|c| matches!(c, b'.' | b'e' | b'E'));
    let names = if first == b'{' { members(d, i).ok()?.0 } else { vec![] };
    let mut best: Option<(usize, usize)> = None;
    for (at, branch) in branches.iter().enumerate() {
        let simple = match &branch.kind {
            BranchKind::Integer => whole,
            BranchKind::Number => is_number,
            BranchKind::Text => first == b'"',
            BranchKind::Boolean => matches!(first, b't' | b'f'),
            BranchKind::Array => first == b'[',
            BranchKind::Map => matches!(first, b'[' | b'{'),
            BranchKind::Object(known) if first == b'{' => {
                let count = names.iter().filter(|(name, _)| known.contains(name)).count();
                if best.is_none_or(|(_, most)| count > most) {
                    best = Some((at, count));
                }
                false
            }
            BranchKind::Object(_) => false,
        };
        if simple {
            return Some(at);
        }
    }
    best.map(|(at, _)| at)
}

fn read_scalar(take: &Take, data: &mut Data, d: &[u8], i: usize) -> Step {
    let end = skip(d, i)?;
    push_scalar(take, data, d, i, end).ok_or_else(|| wrong(i))?;
    Ok(end)
}

fn push_scalar(take: &Take, data: &mut Data, d: &[u8], i: usize, end: usize) -> Option<()> {
    let token = &d[i..end];
    let is_number = matches!(token.first(), Some(b'-' | b'0'..=b'9'));
    let long = || DecimalText::parse(token).filter(|_| is_number).map(|n| n.low_i64());
    match (take, data) {
        (Take::Int, Data::Integer(values)) => values.push(long()? as i32),
        (Take::Int, Data::Bigint(values) | Data::Timestamp(values)) => values.push(long()?),
        (Take::Int, Data::Date(values)) => values.push(i32::try_from(long()?).ok()?),
        (Take::Int, Data::Time(values)) => {
            let ms = long()?;
            values.push(if (0..=DAY_MS).contains(&ms) { ms } else { ms.rem_euclid(DAY_MS) } as i32);
        }
        (Take::Double(short), Data::Double(values)) => values.push(real(token, *short)?),
        (Take::Boolean, Data::Boolean(values)) => values.push(boolean(token)?),
        (Take::Bytes, Data::Bytes(pieces)) => {
            base64::decode(&inside(token)?, &mut pieces.bytes)?;
            pieces.close();
        }
        (Take::Decimal(scale), Data::Decimal { values, precision, scale: own }) => {
            values.push(unscaled(token, *scale)?.parse()?.unscaled(*precision, *own)?.as_i128());
        }
        (Take::Decimal(scale), Data::WideDecimal { values, precision, scale: own }) => {
            values.push(unscaled(token, *scale)?.parse()?.unscaled(*precision, *own)?);
        }
        (take, Data::String(pieces)) => {
            text(take, d, i, end, &mut pieces.bytes)?;
            pieces.close();
        }
        _ => return None,
    }
    Some(())
}

/// Appends the text of a validated scalar from `i` to `end`.
fn text(take: &Take, d: &[u8], i: usize, end: usize, out: &mut Vec<u8>) -> Option<()> {
    let token = &d[i..end];
    match take {
        Take::Text if token.first() == Some(&b'"') => unescape(&token[1..token.len() - 1], out),
        Take::IntText if matches!(token.first(), Some(b'-' | b'0'..=b'9')) => {
            let value = DecimalText::parse(token)?.low_i64();
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        Take::DoubleText(true) => write_java_float(real(token, true)? as f32, out),
        Take::DoubleText(false) => write_java_double(real(token, false)?, out),
        Take::BooleanText => out.extend_from_slice(if boolean(token)? { b"true" } else { b"false" }),
        _ => return None,
    }
    Some(())
}

fn boolean(token: &[u8]) -> Option<bool> {
    match token {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// A number; not a number and the infinities are texts.
fn real(token: &[u8], short: bool) -> Option<f64> {
    let value = match token {
        b"\"NaN\"" => f64::NAN,
        b"\"Infinity\"" => f64::INFINITY,
        b"\"-Infinity\"" => f64::NEG_INFINITY,
        token => {
            number(token, 0).ok().filter(|end| *end == token.len())?;
            double(token)?
        }
    };
    Some(if short { f64::from(value as f32) } else { value })
}

/// The inside of a string without its escapes.
fn inside(token: &[u8]) -> Option<Vec<u8>> {
    let inside = token.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut out = Vec::with_capacity(inside.len());
    unescape(inside, &mut out);
    Some(out)
}

/// A DECIMAL's digits.
struct Digits(String);

impl Digits {
    fn parse(&self) -> Option<DecimalText<'_>> {
        DecimalText::parse(self.0.as_bytes())
    }
}

/// A number, or the unscaled value's bytes in base64, as other producers write it.
fn unscaled(token: &[u8], scale: i64) -> Option<Digits> {
    if token.first() != Some(&b'"') {
        return Some(Digits(String::from_utf8(token.to_vec()).ok()?));
    }
    let mut bytes = vec![];
    base64::decode(&inside(token)?, &mut bytes)?;
    let sign = if bytes.first()? & 0x80 != 0 { 0xFF } else { 0 };
    let mut wide = [sign; 32];
    let start = wide.len().checked_sub(bytes.len())?;
    wide[start..].copy_from_slice(&bytes);
    Some(Digits(format!("{}e{}", arrow::datatypes::i256::from_be_bytes(wide), -scale)))
}
