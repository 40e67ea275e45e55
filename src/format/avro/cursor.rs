//! The bytes of a payload: numbers, lengths, blocks, and values that are walked over because no column is read from them.

use super::plan::Skip;
use super::schema::{DEPTH_MAX, Id, Kind, Schema};
use crate::format::cells::Pieces;
use crate::format::frame::zigzag;
use crate::format::varint;

/// Why a payload is bad.
#[derive(Debug)]
pub(super) enum Fault {
    /// It ends too early.
    End,
    /// A number takes more bytes than its type can have.
    Number,
    /// A length or a count is negative, or beyond what there can be.
    Length,
    /// A union has no such branch.
    Branch,
    /// An enum has no such symbol.
    Symbol,
    /// A time of day is outside the day.
    Time,
    /// Values are nested too deeply.
    Nested,
    /// There are too many items without bytes.
    Items,
    /// The key of a map is NULL.
    NullKey,
    /// The text of a batch is too long.
    Text,
    /// The payload is null, and the columns are not.
    Null,
    /// A kind that the column does not accept: the reason's index.
    Kind(u32),
    Other(Box<str>),
}

/// Result of reading a value.
pub(super) type Read<T = ()> = Result<T, Fault>;

impl Fault {
    pub(super) fn reason(&self, reasons: &[String]) -> String {
        match self {
            Fault::End => "the payload ends within a value",
            Fault::Number => "a number is not encoded as Avro does",
            Fault::Length => "a length is negative or larger than the payload",
            Fault::Branch => "a union has no branch of the index in the payload",
            Fault::Symbol => "an enum has no symbol of the index in the payload",
            Fault::Time => "Time values must use number of milliseconds greater than 0 and less than 86400000",
            Fault::Nested => "values are nested too deeply",
            Fault::Items => "an array has too many items without bytes",
            Fault::NullKey => "the key of a map is null",
            Fault::Text => "the text of a batch is too long",
            Fault::Null => "the payload is null, not a record",
            Fault::Kind(index) => reasons.get(*index as usize).map_or("the schema does not fit", String::as_str),
            Fault::Other(reason) => reason,
        }
        .to_owned()
    }
}

/// What is left of a payload.
pub(super) struct Source<'a> {
    pub(super) d: &'a [u8],
    pub(super) schema: &'a Schema,
    /// How many more items without bytes there may be.
    pub(super) free: u64,
}

impl<'a> Source<'a> {
    #[inline(always)]
    pub(super) fn byte(&mut self) -> Read<u8> {
        let (byte, rest) = self.d.split_first().ok_or(Fault::End)?;
        self.d = rest;
        Ok(*byte)
    }

    #[inline(always)]
    pub(super) fn long(&mut self) -> Read<i64> {
        match varint::short(self.d) {
            Some((value, length)) => {
                self.d = &self.d[length..];
                Ok((value >> 1) as i64 ^ -((value & 1) as i64))
            }
            None => self.long_of_bytes(),
        }
    }

    #[inline(never)]
    fn long_of_bytes(&mut self) -> Read<i64> {
        zigzag(&mut self.d).ok_or(if self.d.is_empty() { Fault::End } else { Fault::Number })
    }

    #[inline(always)]
    pub(super) fn int(&mut self) -> Read<i32> {
        i32::try_from(self.long()?).map_err(|_| Fault::Number)
    }

    #[inline(always)]
    pub(super) fn bytes(&mut self, count: usize) -> Read<&'a [u8]> {
        let (bytes, rest) = self.d.split_at_checked(count).ok_or(Fault::End)?;
        self.d = rest;
        Ok(bytes)
    }

    #[inline(always)]
    pub(super) fn sized(&mut self) -> Read<&'a [u8]> {
        let length = usize::try_from(self.long()?).map_err(|_| Fault::Length)?;
        self.bytes(length)
    }

    /// Appends a text or bytes.
    #[inline(always)]
    pub(super) fn piece(&mut self, to: &mut Pieces) -> Read {
        let length = usize::try_from(self.long()?).map_err(|_| Fault::Length)?;
        let rest = self.d.get(length..).ok_or(Fault::End)?;
        to.push_first(self.d, length);
        self.d = rest;
        Ok(())
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (bytes, rest) = self.d.split_first_chunk::<N>().ok_or(Fault::End)?;
        self.d = rest;
        Ok(*bytes)
    }

    #[inline]
    pub(super) fn index(&mut self) -> Read<usize> {
        usize::try_from(self.long()?).map_err(|_| Fault::Branch)
    }

    /// The index of a union of null and another type.
    #[inline(always)]
    pub(super) fn is_null(&mut self, null: u8) -> Read<bool> {
        let index = match *self.d {
            [byte @ (0 | 2), ref rest @ ..] => {
                self.d = rest;
                byte >> 1
            }
            _ => u8::try_from(self.index()?).map_err(|_| Fault::Branch)?,
        };
        if index > 1 { Err(Fault::Branch) } else { Ok(index == null) }
    }

    /// The number of items of the next block; `None` = there is none.
    pub(super) fn block(&mut self) -> Read<Option<u64>> {
        let count = self.long()?;
        if count < 0 {
            // The block's size in bytes, which is only for those who leave it out.
            self.long()?;
        }
        match count.unsigned_abs() {
            0 => Ok(None),
            count if count > i32::MAX as u64 => Err(Fault::Length),
            count => Ok(Some(count)),
        }
    }

    #[inline(always)]
    pub(super) fn skip(&mut self, skip: &Skip) -> Read {
        match skip {
            Skip::Nullable(null, skip) => match self.is_null(*null)? {
                true => Ok(()),
                false => self.skip_one(skip),
            },
            skip => self.skip_one(skip),
        }
    }

    #[inline(always)]
    fn skip_one(&mut self, skip: &Skip) -> Read {
        match skip {
            Skip::Bytes(count) => self.bytes(usize::try_from(*count).unwrap_or(usize::MAX)).map(drop),
            Skip::Int => self.int().map(drop),
            Skip::Long => self.long().map(drop),
            Skip::Sized => self.sized().map(drop),
            Skip::Nullable(..) => Err(Fault::Nested),
            Skip::Node(id) => self.walk(*id, 0),
        }
    }

    /// Walks over a value by the schema.
    fn walk(&mut self, id: Id, depth: usize) -> Read {
        if depth > DEPTH_MAX {
            return Err(Fault::Nested);
        }
        let schema = self.schema;
        if let Some(size) = schema.size(id) {
            return self.skip_one(&Skip::Bytes(size));
        }
        match &schema.node(id).kind {
            Kind::Int => self.int().map(drop),
            Kind::Long => self.long().map(drop),
            Kind::Bytes | Kind::String => self.sized().map(drop),
            Kind::Enum(symbols) => match self.index()? {
                index if index < symbols.len() => Ok(()),
                _ => Err(Fault::Symbol),
            },
            Kind::Record(fields) => fields.iter().try_for_each(|f| self.walk(f.ty, depth + 1)),
            Kind::Union(branches) => {
                let branch = *branches.get(self.index()?).ok_or(Fault::Branch)?;
                self.walk(branch, depth + 1)
            }
            Kind::Array(item) => {
                let free = schema.size(*item) == Some(0);
                while let Some(count) = self.block()? {
                    if !free && count > self.d.len() as u64 {
                        return Err(Fault::End);
                    }
                    let count = if free { 0 } else { count };
                    (0..count).try_for_each(|_| self.walk(*item, depth + 1))?;
                }
                Ok(())
            }
            Kind::Map(value) => {
                while let Some(count) = self.block()? {
                    for _ in 0..count {
                        self.sized()?;
                        self.walk(*value, depth + 1)?;
                    }
                }
                Ok(())
            }
            Kind::Null | Kind::Boolean | Kind::Float | Kind::Double | Kind::Fixed(_) => Ok(()),
        }
    }
}
