//! A message's fields into columns, by a plan.
//!
//! The fields are walked once. Scalars, elements of ARRAYs and entries of MAPs are appended where they are met; a later occurrence
//! of a scalar replaces it. Of messages and members of a oneof the last occurrence is remembered, and appended at the end.
//! Repeated occurrences of a message are merged, and the last of a MAP's entries with one key counts (Protocol Buffers,
//! Encoding, "Last One Wins"). A field of another wire type
//! than its own counts as unknown.

use super::steps::{Absent, Act, Fault, MessagePlan, QuickKind, Raw, Slot, Take, Target, Value};
use super::value::{is_text, push_text};
use crate::format::cells::{Cells, Data, Pieces};
use crate::format::json::value::keys_repeat;
use crate::format::proto::wire::{self, Wire, each, varint};
use std::collections::{HashMap, HashSet};

impl MessagePlan {
    /// Appends a message to its columns. On `Err` they contain parts of it.
    pub(in crate::format::proto) fn read(&mut self, d: &[u8], cells: &mut [Cells]) -> Result<(), Fault> {
        if let Some(reason) = &self.fault {
            return Err(Fault::Kind(reason.clone()));
        }
        for target in &mut self.targets {
            target.slot.count = 0;
        }
        let (mut rest, mut next) = (d, 0);
        while let Some(&tag) = rest.first() {
            if let Some(quick) = self.steps.get(next).and_then(|step| step.quick)
                && quick.tag == tag
                && self.targets[quick.target].slot.count == 0
            {
                let read = quick.kind.read(&mut cells[quick.target], &rest[1..]).map_err(|fault| match fault {
                    Fault::Malformed => fault,
                    fault => fault.at(quick.target),
                });
                if let Some(behind) = read? {
                    self.targets[quick.target].slot.count = 1;
                    (rest, next) = (behind, next + 1);
                    continue;
                }
            }
            let Some((number, value)) = wire::field(&mut rest) else { return Err(Fault::Malformed) };
            let Some(value) = value else { continue };
            // Fields mostly come in the order of their numbers.
            if self.steps.get(next).is_none_or(|step| step.number != number) {
                next = self.steps.partition_point(|step| step.number < number);
            }
            while let Some(step) = self.steps.get(next).filter(|step| step.number == number) {
                next += 1;
                match step.act {
                    Act::Take(at) => {
                        self.targets[at].offer(&mut cells[at], value, d).map_err(|fault| fault.at(at))?;
                    }
                    Act::Member(at, member) => self.targets[at].offer_member(member, value, d),
                    Act::Check(check) if !self.checks.is_valid(check, value) => return Err(Fault::Malformed),
                    Act::Check(_) => {}
                }
            }
        }
        for (at, (target, cells)) in self.targets.iter_mut().zip(cells).enumerate() {
            target.finish(cells, d).map_err(|fault| fault.at(at))?;
        }
        Ok(())
    }
}

impl QuickKind {
    /// Appends the value behind a tag; returns what is behind the value, `None` if the column is not of the value's own type.
    #[inline(always)]
    fn read<'a>(self, cells: &mut Cells, mut d: &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
        match (self, &mut cells.data) {
            (QuickKind::Long, Data::Bigint(v)) => {
                let value = varint(&mut d).ok_or(Fault::Malformed)?;
                if cells.keep {
                    v.push(value as i64);
                }
            }
            (QuickKind::Double, Data::Double(v)) => {
                let (bytes, rest) = d.split_first_chunk::<8>().ok_or(Fault::Malformed)?;
                d = rest;
                if cells.keep {
                    v.push(f64::from_le_bytes(*bytes));
                }
            }
            (QuickKind::Text(strict), Data::String(v)) => {
                let text = wire::sized(&mut d).ok_or(Fault::Malformed)?;
                match cells.keep {
                    true => push_text(strict, text, v)?,
                    false if strict && !is_text(text) => return Err(Fault::Invalid),
                    false => {}
                }
            }
            _ => return Ok(None),
        }
        Ok(Some(d))
    }
}

/// A value without its bytes, which are a part of `d`.
#[inline(always)]
fn raw(value: Wire<'_>, d: &[u8]) -> Raw {
    match value {
        Wire::Varint(n) => Raw::Varint(n),
        Wire::Fixed32(n) => Raw::Fixed32(n),
        Wire::Fixed64(n) => Raw::Fixed64(n),
        Wire::Bytes(b) => {
            let start = (b.as_ptr() as usize - d.as_ptr() as usize) as u32;
            Raw::Bytes { start, length: b.len() as u32 }
        }
    }
}

impl Slot {
    #[inline(always)]
    fn wire<'a>(&self, d: &'a [u8]) -> Wire<'a> {
        match self.raw {
            Raw::Varint(n) => Wire::Varint(n),
            Raw::Fixed32(n) => Wire::Fixed32(n),
            Raw::Fixed64(n) => Wire::Fixed64(n),
            Raw::Bytes { start, length } => Wire::Bytes(&d[start as usize..(start + length) as usize]),
        }
    }
}

impl Target {
    /// Takes an occurrence of the field in the message `d`.
    #[inline(always)]
    fn offer(&mut self, cells: &mut Cells, value: Wire<'_>, d: &[u8]) -> Result<(), Fault> {
        match &mut self.take {
            Take::Single { value: expected, .. } => {
                if !expected.takes(value) {
                    return Ok(());
                }
                if expected.is_message() {
                    self.slot.raw = raw(value, d);
                } else {
                    if self.slot.count > 0 && cells.keep {
                        cells.truncate(cells.len() - 1);
                    }
                    take(expected, cells, value)?;
                }
                self.slot.count += 1;
                Ok(())
            }
            _ => self.offer_part(cells, value),
        }
    }

    /// Appends an element or an entry.
    fn offer_part(&mut self, cells: &mut Cells, wire: Wire<'_>) -> Result<(), Fault> {
        match (&mut self.take, &mut cells.data, wire) {
            (Take::Repeated { item, packed: true }, Data::Array { items, .. }, Wire::Bytes(bytes)) => {
                unpack(item, items, bytes)
            }
            (Take::Repeated { item, .. }, Data::Array { items, .. }, wire) if item.takes(wire) => {
                item.push(items, wire)
            }
            (Take::Entries { key, value }, Data::Map { keys, values, .. }, Wire::Bytes(bytes)) => {
                self.slot.count += 1;
                entry(key, value, bytes, keys, values)
            }
            _ => Ok(()),
        }
    }

    fn offer_member(&mut self, member: usize, wire: Wire<'_>, d: &[u8]) {
        let Take::OneOf { members, .. } = &self.take else { return };
        if members[member].1.takes(wire) {
            let count = if self.slot.member == member { self.slot.count + 1 } else { 1 };
            self.slot = Slot { count, member, raw: raw(wire, d) };
        }
    }

    /// Appends the column's value of the message `d`.
    #[inline(always)]
    fn finish(&mut self, cells: &mut Cells, d: &[u8]) -> Result<(), Fault> {
        match &mut self.take {
            Take::Single { value, .. } if self.slot.count > 0 && !value.is_message() => return Ok(()),
            Take::Single { value, absent } => match (self.slot.count, *absent) {
                (1, _) => value.push(cells, self.slot.wire(d))?,
                (0, Absent::Default) => value.push(cells, value.default_wire())?,
                (0, Absent::Null) => cells.push_null(),
                (0, Absent::Bad) => return Err(Fault::Invalid),
                _ => value.push(cells, Wire::Bytes(&merged(d, self.number)?))?,
            },
            Take::Missing => cells.push_null(),
            _ => self.finish_parts(cells, d)?,
        }
        if !cells.keep {
            cells.truncate(0);
        }
        Ok(())
    }

    fn finish_parts(&mut self, cells: &mut Cells, d: &[u8]) -> Result<(), Fault> {
        if self.slot.count == 0 && matches!(self.take, Take::OneOf { .. }) {
            cells.push_null();
            return Ok(());
        }
        match (&mut self.take, &mut cells.data) {
            (Take::Repeated { .. }, Data::Array { ends, items }) => ends.push(items.len() as i32),
            (Take::Entries { key, value, .. }, Data::Map { ends, keys, values }) => {
                let start = ends.last().map_or(0, |end| *end as usize);
                if self.slot.count > 1 && keys_repeat(keys, start) {
                    last_entries((key, value), d, self.number, start, (keys, values))?;
                }
                ends.push(keys.len() as i32);
            }
            (Take::OneOf { members, fields, fault }, Data::Struct { fields: cells, rows }) => {
                if let Some(reason) = fault {
                    return Err(Fault::Kind(reason.clone()));
                }
                *rows += 1;
                let (number, value) = &mut members[self.slot.member];
                for (field, cells) in fields.iter().zip(cells) {
                    match *field == Some(self.slot.member) {
                        true if self.slot.count > 1 && value.is_message() => {
                            value.push(cells, Wire::Bytes(&merged(d, *number)?))?;
                        }
                        true => value.push(cells, self.slot.wire(d))?,
                        false => cells.push_null(),
                    }
                }
            }
            _ => cells.push_null(),
        }
        Ok(())
    }
}

/// Appends a scalar; of a column that is not materialized it is only checked.
#[inline(always)]
fn take(expected: &mut Value, cells: &mut Cells, value: Wire<'_>) -> Result<(), Fault> {
    if cells.keep {
        return expected.push(cells, value);
    }
    match expected.is_valid(value) {
        Some(true) => Ok(()),
        Some(false) => Err(Fault::Invalid),
        None => {
            expected.push(cells, value)?;
            cells.truncate(0);
            Ok(())
        }
    }
}

/// All occurrences of a message field, one after the other: their merged message.
#[cold]
fn merged(d: &[u8], wanted: u32) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![];
    each(d, |number, value| {
        if let (true, Wire::Bytes(b)) = (number == wanted, value) {
            bytes.extend_from_slice(b);
        }
        Some(())
    })
    .ok_or(Fault::Malformed)?;
    Ok(bytes)
}

/// Appends packed elements.
fn unpack(item: &mut Value, items: &mut Cells, mut bytes: &[u8]) -> Result<(), Fault> {
    while !bytes.is_empty() {
        let value = match item.default_wire() {
            Wire::Fixed32(_) => {
                let (four, rest) = bytes.split_first_chunk::<4>().ok_or(Fault::Malformed)?;
                bytes = rest;
                Wire::Fixed32(u32::from_le_bytes(*four))
            }
            Wire::Fixed64(_) => {
                let (eight, rest) = bytes.split_first_chunk::<8>().ok_or(Fault::Malformed)?;
                bytes = rest;
                Wire::Fixed64(u64::from_le_bytes(*eight))
            }
            _ => Wire::Varint(varint(&mut bytes).ok_or(Fault::Malformed)?),
        };
        item.push(items, value)?;
    }
    Ok(())
}

/// Appends one entry of a MAP.
fn entry(key: &Value, value: &mut Target, d: &[u8], keys: &mut Pieces, values: &mut Cells) -> Result<(), Fault> {
    let mut name = key.default_wire();
    let mut rest = d;
    value.slot.count = 0;
    while !rest.is_empty() {
        let Some((number, found)) = wire::field(&mut rest) else { return Err(Fault::Malformed) };
        match (number, found) {
            (1, Some(found)) if key.takes(found) => {
                key_text(key, found, &mut vec![])?;
                name = found;
            }
            (2, Some(found)) => value.offer(values, found, d)?,
            _ => {}
        }
    }
    key_text(key, name, &mut keys.bytes)?;
    keys.close();
    value.finish(values, d)
}

/// Appends a key's text. A key may be wrapped, as the values of a MAP may.
fn key_text(key: &Value, wire: Wire<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let Value::Wrapper(inner) = key else { return key.text(wire, out).ok_or(Fault::Invalid) };
    let Wire::Bytes(bytes) = wire else { return Err(Fault::Invalid) };
    let mut found = inner.default_wire();
    each(bytes, |number, wire| {
        if number == 1 && inner.takes(wire) {
            found = wire;
        }
        Some(())
    })
    .ok_or(Fault::Malformed)?;
    inner.text(found, out).ok_or(Fault::Invalid)
}

/// Reads a MAP again in which a key is repeated, without the entries that are overridden.
#[cold]
fn last_entries(
    (key, value): (&Value, &mut Target),
    d: &[u8],
    number: u32,
    start: usize,
    (keys, values): (&mut Pieces, &mut Cells),
) -> Result<(), Fault> {
    let mut last: HashMap<Vec<u8>, usize> = HashMap::new();
    for row in start..keys.len() {
        last.insert(keys.get(row).to_vec(), row - start);
    }
    let kept: HashSet<usize> = last.into_values().collect();
    keys.truncate(start);
    values.truncate(start);
    let (mut at, mut fault) = (0, None);
    each(d, |found, wire| {
        let (true, Wire::Bytes(bytes)) = (found == number, wire) else { return Some(()) };
        at += 1;
        if kept.contains(&(at - 1)) {
            fault = entry(key, value, bytes, keys, values).err();
        }
        fault.is_none().then_some(())
    })
    .ok_or(fault.unwrap_or(Fault::Malformed))
}
