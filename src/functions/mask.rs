//! MASK and its kin: letters and digits become stand-ins, so that a text keeps its shape and loses its meaning.
//!
//! Stand-ins are given as texts of one character; a NULL leaves that kind of character as it is. Characters are counted in
//! UTF-16 units (see `utf16`), and every unit gets a stand-in: the second half of a character is one of "the rest".

use super::Param::Is;
use super::kernel::{Numbers, Texts, strings};
use super::string::STRING;
use super::{Entry, ErrorSink, Overload, Returns, entry, utf16};
use crate::error::Result;
use crate::types::SqlType::{Integer, String as Text};
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::ColumnarValue;

/// Stand-ins for capitals, small letters, digits and the rest.
const STAND_INS: [char; 4] = ['X', 'x', 'n', '-'];

/// The place of the last of them.
const REST: usize = 3;

/// Which characters of a text are masked.
#[derive(Clone, Copy)]
enum Part {
    All,
    Left,
    Right,
    AllButLeft,
    AllButRight,
}

/// A signature with and one without stand-ins.
macro_rules! partly {
    ($part:expr) => {
        [
            Overload::fallible(&[Is(Text), Is(Integer)], Returns::Type(Text), |a, r, e| mask(a, r, e, $part)),
            Overload::fallible(
                &[Is(Text), Is(Integer), Is(Text), Is(Text), Is(Text), Is(Text)],
                Returns::Type(Text),
                |a, r, e| mask(a, r, e, $part),
            ),
        ]
    };
}

pub(super) static ENTRIES: &[Entry] = &[
    entry!("MASK", STRING,
    "Replaces capitals by X, small letters by x, digits by n and the rest by -, or by the given characters.",
    ["MASK('Tide 42!')" => "Xxxx-nn-", "MASK('Tide 42', '*', '*', NULL, '_')" => "****_42"],
    [Overload::fallible(&[Is(Text)], Returns::Type(Text), |a, r, e| mask(a, r, e, Part::All)),
     Overload::fallible(&[Is(Text), Is(Text), Is(Text), Is(Text), Is(Text)], Returns::Type(Text), |a, r, e| {
         mask(a, r, e, Part::All)
     })]),
    Entry {
        name: "MASK_LEFT",
        category: STRING,
        description: "Masks the first n characters, as MASK does.",
        examples: &[("MASK_LEFT('Tide 42', 2)", "Xxde 42")],
        overloads: &partly!(Part::Left),
    },
    Entry {
        name: "MASK_RIGHT",
        category: STRING,
        description: "Masks the last n characters, as MASK does.",
        examples: &[("MASK_RIGHT('Tide 42', 2)", "Tide nn")],
        overloads: &partly!(Part::Right),
    },
    Entry {
        name: "MASK_KEEP_LEFT",
        category: STRING,
        description: "Masks all but the first n characters, as MASK does.",
        examples: &[("MASK_KEEP_LEFT('Tide 42', 2)", "Tixx-nn")],
        overloads: &partly!(Part::AllButLeft),
    },
    Entry {
        name: "MASK_KEEP_RIGHT",
        category: STRING,
        description: "Masks all but the last n characters, as MASK does.",
        examples: &[("MASK_KEEP_RIGHT('Tide 42', 2)", "Xxxx-42")],
        overloads: &partly!(Part::AllButRight),
    },
];

fn mask(args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink, part: Part) -> Result<ColumnarValue> {
    let texts = Texts::new(args, 0)?;
    let first = if matches!(part, Part::All) { 1 } else { 2 };
    let counts = if first == 2 { Some(Numbers::<Int32Type>::new(args, 1)?) } else { None };
    let given = Texts::all(args, first)?;
    strings(rows, |row, out| {
        let Some(text) = texts.get(row) else { return false };
        let count = counts.as_ref().map_or(Some(0), |c| c.get(row)).and_then(|n| usize::try_from(n).ok());
        let Some(count) = count else {
            errors.fail(row);
            return false;
        };
        let mut stand_ins = STAND_INS.map(Some);
        for (texts, stand_in) in given.iter().zip(&mut stand_ins) {
            *stand_in = match texts.get(row) {
                None => None,
                Some(text) if utf16::length(text) == 1 => text.chars().next(),
                Some(_) => {
                    errors.fail(row);
                    return false;
                }
            };
        }
        let length = if matches!(part, Part::Right | Part::AllButRight) { utf16::length(text) } else { 0 };
        let masked = |unit: usize| match part {
            Part::All => true,
            Part::Left => unit < count,
            Part::AllButLeft => unit >= count,
            Part::Right => unit + count >= length,
            Part::AllButRight => unit + count < length,
        };
        let mut unit = 0;
        for c in text.chars() {
            let second = c.len_utf16() == 2;
            push_masked(c, &stand_ins, masked(unit), second.then(|| masked(unit + 1)), out);
            unit += c.len_utf16();
        }
        true
    })
}

/// A character, or what stands for its one or two units, each of which may be masked.
fn push_masked(c: char, stand_ins: &[Option<char>; 4], first: bool, second: Option<bool>, out: &mut String) {
    // An unpaired surrogate is neither letter nor digit.
    let kind = if second.is_none_or(|second| second == first) { kind(c) } else { REST };
    let first = stand_ins[kind].filter(|_| first);
    let Some(second) = second else { return out.push(first.unwrap_or(c)) };
    match (first, stand_ins[REST].filter(|_| second)) {
        (None, None) => out.push(c),
        (Some(first), Some(second)) => out.extend([first, second]),
        (Some(first), None) => out.extend([first, char::REPLACEMENT_CHARACTER]),
        (None, Some(second)) => out.extend([char::REPLACEMENT_CHARACTER, second]),
    }
}

fn kind(c: char) -> usize {
    match c {
        c if c.is_uppercase() => 0,
        c if c.is_lowercase() => 1,
        c if c.is_ascii_digit() => 2,
        _ => REST,
    }
}
