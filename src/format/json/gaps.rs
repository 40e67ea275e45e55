//! Learned gaps: the bytes between two values, `,"price":`, blanks included.
//!
//! Producers write the same names in the same order repeatedly. A gap that was parsed once is remembered verbatim
//! with the field that it leads to and the gap that followed it last time; from then on it costs one 16-byte comparison.
//! All gaps are kept, not only the latest, so that records with changing field orders do not parse every name.

use super::scan::{Fault, blank, expect, name};

/// Limit of remembered gaps. Beyond it all are forgotten, so that unbounded names cannot slow the search.
const GAPS_MAX: usize = 256;

/// Longer gaps are parsed each time.
const GAP_BYTES_MAX: usize = 64;

/// No such gap.
pub(in crate::format) const NONE: u16 = u16::MAX;

/// The name belongs to no field.
pub(in crate::format) const UNKNOWN: u16 = u16::MAX;

#[derive(Debug)]
struct Gap {
    /// The first 16 bytes, and a mask of the significant ones.
    head: u128,
    mask: u128,
    /// All others.
    rest: Vec<u8>,
    len: usize,
    /// It begins an object; another kind of gap may not.
    opens: bool,
    target: u16,
    /// What followed last time.
    next: u16,
}

#[derive(Debug)]
pub(in crate::format) struct Gaps {
    known: Vec<Gap>,
    /// What began the last object.
    first: u16,
}

/// The token between two values.
pub(in crate::format) enum Found {
    /// A name: position of its value, its field (or [`UNKNOWN`]), its gap (or [`NONE`]).
    Member { value: usize, target: u16, gap: u16 },
    /// The object's end, and the position after it.
    End(usize),
}

impl Gap {
    #[inline(always)]
    fn fits(&self, d: &[u8], i: usize) -> bool {
        let Some(tail) = d.get(i..) else { return false };
        match tail.first_chunk::<16>() {
            Some(bytes) => {
                u128::from_le_bytes(*bytes) & self.mask == self.head
                    && (self.rest.is_empty() || tail[16..].starts_with(&self.rest))
            }
            None => self.rest.is_empty() && tail.starts_with(&self.head.to_le_bytes()[..self.len]),
        }
    }
}

impl Gaps {
    pub(in crate::format) fn new() -> Gaps {
        Gaps { known: vec![], first: NONE }
    }

    /// The guess for the beginning of an object.
    #[inline(always)]
    pub(in crate::format) fn first(&self) -> u16 {
        self.first
    }

    /// If `guess` is at `i`: the position after it, its field, and the next guess.
    #[inline(always)]
    pub(in crate::format) fn hit(&self, guess: u16, d: &[u8], i: usize) -> Option<(usize, u16, u16)> {
        let gap = self.known.get(guess as usize)?;
        gap.fits(d, i).then(|| (i + gap.len, gap.target, gap.next))
    }

    pub(in crate::format) fn next(&self, gap: u16) -> u16 {
        self.known.get(gap as usize).map_or(NONE, |g| g.next)
    }

    /// The guess was wrong: tries the other gaps, then parses and remembers. `previous` is the gap before, `opens` says
    /// that an object begins here, `field` finds the field of a raw name.
    #[inline(never)]
    pub(in crate::format) fn find(
        &mut self,
        d: &[u8],
        i: usize,
        previous: u16,
        opens: bool,
        field: impl Fn(&[u8]) -> u16,
    ) -> Result<Found, Fault> {
        let from = if (previous as usize) < self.known.len() { previous as usize } else { 0 };
        let mut order = (from..self.known.len()).chain(0..from);
        let known = order.find(|&g| self.known[g].opens == opens && self.known[g].fits(d, i));
        let found = match known {
            Some(g) => {
                let gap = &self.known[g];
                Found::Member { value: i + gap.len, target: gap.target, gap: g as u16 }
            }
            None => self.learn(d, i, opens, field)?,
        };
        if let Found::Member { gap, .. } = found
            && gap != NONE
        {
            if opens {
                self.first = gap;
            } else if let Some(before) = self.known.get_mut(previous as usize) {
                before.next = gap;
            }
        }
        Ok(found)
    }

    fn learn(&mut self, d: &[u8], start: usize, opens: bool, field: impl Fn(&[u8]) -> u16) -> Result<Found, Fault> {
        let mut i = blank(d, start);
        if !opens && d.get(i) == Some(&b'}') {
            return Ok(Found::End(i + 1));
        }
        i = blank(d, expect(d, i, if opens { b'{' } else { b',' })?);
        if opens && d.get(i) == Some(&b'}') {
            return Ok(Found::End(i + 1));
        }
        let (value, raw) = name(d, i)?;
        let target = field(raw);
        let text = &d[start..value];
        if text.len() > GAP_BYTES_MAX {
            return Ok(Found::Member { value, target, gap: NONE });
        }
        if self.known.len() >= GAPS_MAX {
            // `first` must not refer to a gap of another kind that replaces this one.
            self.known.clear();
            self.first = NONE;
        }
        let n = text.len().min(16);
        let mut head = [0; 16];
        head[..n].copy_from_slice(&text[..n]);
        self.known.push(Gap {
            head: u128::from_le_bytes(head),
            mask: u128::MAX >> (128 - 8 * n),
            rest: text[n..].to_vec(),
            len: text.len(),
            opens,
            target,
            next: NONE,
        });
        Ok(Found::Member { value, target, gap: (self.known.len() - 1) as u16 })
    }
}
