//! The meaning of aggregates of fixed size on their own state words: take a value, take it back, take in another group,
//! tell the result. No columns, no rows.

use super::cells::Native;

/// The meaning of one aggregate on its own words.
pub(super) trait FixedSizeAggregate: Copy {
    const WORDS: usize;
    type In: Copy;
    type Out: Native;
    /// Takes one value that is not NULL; false = the result would not fit, nothing changed.
    fn add(&self, words: &mut [i64], value: Self::In) -> bool;
    /// Takes a value back that was added before; only where [`Aggregate::undoable`] says so.
    ///
    /// [`Aggregate::undoable`]: crate::functions::aggregate::Aggregate::undoable
    fn undo(&self, words: &mut [i64], value: Self::In) -> bool;
    /// Takes in what another group has seen.
    fn merge(&self, words: &mut [i64], from: &[i64]) -> bool;
    /// Takes out what another group has seen, which this one has seen too; false = the remaining state cannot be computed.
    fn leave(&self, _words: &mut [i64], _from: &[i64]) -> bool {
        unreachable!("{NO_LEAVE}")
    }
    fn peek(&self, words: &[i64]) -> Option<Self::Out>;
}

#[derive(Clone, Copy)]
pub(super) struct SumInteger;
impl FixedSizeAggregate for SumInteger {
    const WORDS: usize = 1;
    type In = i32;
    type Out = i32;
    #[inline(always)]
    fn add(&self, words: &mut [i64], value: i32) -> bool {
        words[0] = i64::from((words[0] as i32).wrapping_add(value));
        true
    }
    #[inline(always)]
    fn undo(&self, words: &mut [i64], value: i32) -> bool {
        words[0] = i64::from((words[0] as i32).wrapping_sub(value));
        true
    }
    #[inline(always)]
    fn merge(&self, words: &mut [i64], from: &[i64]) -> bool {
        self.add(words, from[0] as i32)
    }
    #[inline(always)]
    fn leave(&self, words: &mut [i64], from: &[i64]) -> bool {
        self.undo(words, from[0] as i32)
    }
    #[inline(always)]
    fn peek(&self, words: &[i64]) -> Option<i32> {
        Some(words[0] as i32)
    }
}

#[derive(Clone, Copy)]
pub(super) struct SumBigint;
impl FixedSizeAggregate for SumBigint {
    const WORDS: usize = 1;
    type In = i64;
    type Out = i64;
    #[inline(always)]
    fn add(&self, words: &mut [i64], value: i64) -> bool {
        words[0] = words[0].wrapping_add(value);
        true
    }
    #[inline(always)]
    fn undo(&self, words: &mut [i64], value: i64) -> bool {
        words[0] = words[0].wrapping_sub(value);
        true
    }
    #[inline(always)]
    fn merge(&self, words: &mut [i64], from: &[i64]) -> bool {
        self.add(words, from[0])
    }
    #[inline(always)]
    fn leave(&self, words: &mut [i64], from: &[i64]) -> bool {
        self.undo(words, from[0])
    }
    #[inline(always)]
    fn peek(&self, words: &[i64]) -> Option<i64> {
        Some(words[0])
    }
}

#[derive(Clone, Copy)]
pub(super) struct SumDouble;
impl FixedSizeAggregate for SumDouble {
    const WORDS: usize = 1;
    type In = f64;
    type Out = f64;
    #[inline(always)]
    fn add(&self, words: &mut [i64], value: f64) -> bool {
        words[0] = (f64::load(words) + value).to_bits() as i64;
        true
    }
    #[inline(always)]
    fn undo(&self, words: &mut [i64], value: f64) -> bool {
        self.add(words, -value)
    }
    #[inline(always)]
    fn merge(&self, words: &mut [i64], from: &[i64]) -> bool {
        self.add(words, f64::load(from))
    }
    #[inline(always)]
    fn peek(&self, words: &[i64]) -> Option<f64> {
        Some(f64::load(words))
    }
}

#[derive(Clone, Copy)]
pub(super) struct SumDecimal {
    /// The highest absolute value that has the result's precision.
    pub(super) limit: i128,
}
impl FixedSizeAggregate for SumDecimal {
    const WORDS: usize = 2;
    type In = i128;
    type Out = i128;
    #[inline(always)]
    fn add(&self, words: &mut [i64], value: i128) -> bool {
        match i128::load(words).checked_add(value) {
            Some(sum) if sum.unsigned_abs() <= self.limit.unsigned_abs() => {
                sum.store(words);
                true
            }
            _ => false,
        }
    }
    #[inline(always)]
    fn undo(&self, words: &mut [i64], value: i128) -> bool {
        self.add(words, -value)
    }
    #[inline(always)]
    fn merge(&self, words: &mut [i64], from: &[i64]) -> bool {
        self.add(words, i128::load(from))
    }
    #[inline(always)]
    fn peek(&self, words: &[i64]) -> Option<i128> {
        Some(i128::load(words))
    }
}

macro_rules! average {
    ($name:ident, $ty:ty, $sum:ident) => {
        #[derive(Clone, Copy)]
        pub(super) struct $name;
        impl FixedSizeAggregate for $name {
            const WORDS: usize = 2;
            type In = $ty;
            type Out = f64;
            #[inline(always)]
            fn add(&self, words: &mut [i64], value: $ty) -> bool {
                $sum.add(words, value);
                words[1] += 1;
                true
            }
            #[inline(always)]
            fn undo(&self, words: &mut [i64], value: $ty) -> bool {
                $sum.undo(words, value);
                words[1] -= 1;
                true
            }
            #[inline(always)]
            fn merge(&self, words: &mut [i64], from: &[i64]) -> bool {
                $sum.merge(words, from);
                words[1] += from[1];
                true
            }
            #[inline(always)]
            fn leave(&self, words: &mut [i64], from: &[i64]) -> bool {
                words[1] -= from[1];
                $sum.leave(words, from)
            }
            #[inline(always)]
            fn peek(&self, words: &[i64]) -> Option<f64> {
                let sum = <$ty as Stored>::load(words) as f64;
                Some(if words[1] == 0 { 0.0 } else { sum / words[1] as f64 })
            }
        }
    };
}
average!(AvgInteger, i32, SumInteger);
average!(AvgBigint, i64, SumBigint);
average!(AvgDouble, f64, SumDouble);

/// Panes are not used for others.
pub(super) const NO_LEAVE: &str = "an aggregate that cannot lose a pane was not to have any";

/// The planner refuses these over a table.
pub(super) const NO_UNDO: &str = "an aggregate that cannot take a value back does not stand over a table";

/// The highest or the lowest value: word 0 says whether there is one.
#[derive(Clone, Copy)]
pub(super) struct Extreme<T, const HIGHEST: bool>(std::marker::PhantomData<T>);

impl<T, const HIGHEST: bool> Extreme<T, HIGHEST> {
    pub(super) fn new() -> Self {
        Extreme(std::marker::PhantomData)
    }
}

impl<T: Stored + Native, const HIGHEST: bool> FixedSizeAggregate for Extreme<T, HIGHEST> {
    const WORDS: usize = 1 + T::WORDS;
    type In = T;
    type Out = T;
    #[inline(always)]
    fn add(&self, words: &mut [i64], value: T) -> bool {
        let held = T::load(&words[1..]);
        if words[0] == 0 || (if HIGHEST { value.above(held) } else { held.above(value) }) {
            value.store(&mut words[1..]);
            words[0] = 1;
        }
        true
    }
    fn undo(&self, _: &mut [i64], _: T) -> bool {
        unreachable!("{}", NO_UNDO)
    }
    #[inline(always)]
    fn merge(&self, words: &mut [i64], from: &[i64]) -> bool {
        from[0] == 0 || self.add(words, T::load(&from[1..]))
    }
    #[inline(always)]
    fn leave(&self, words: &mut [i64], from: &[i64]) -> bool {
        let (held, gone) = (T::load(&words[1..]), T::load(&from[1..]));
        from[0] == 0 || held.above(gone) != gone.above(held)
    }
    #[inline(always)]
    fn peek(&self, words: &[i64]) -> Option<T> {
        (words[0] != 0).then(|| T::load(&words[1..]))
    }
}

/// A value in state words.
pub(super) trait Stored: Copy {
    const WORDS: usize;
    fn load(words: &[i64]) -> Self;
    fn store(self, words: &mut [i64]);
    /// In the order of MIN and MAX.
    fn above(self, other: Self) -> bool;
}

impl Stored for i32 {
    const WORDS: usize = 1;
    #[inline(always)]
    fn load(words: &[i64]) -> i32 {
        words[0] as i32
    }
    #[inline(always)]
    fn store(self, words: &mut [i64]) {
        words[0] = i64::from(self);
    }
    #[inline(always)]
    fn above(self, other: i32) -> bool {
        self > other
    }
}

impl Stored for i64 {
    const WORDS: usize = 1;
    #[inline(always)]
    fn load(words: &[i64]) -> i64 {
        words[0]
    }
    #[inline(always)]
    fn store(self, words: &mut [i64]) {
        words[0] = self;
    }
    #[inline(always)]
    fn above(self, other: i64) -> bool {
        self > other
    }
}

impl Stored for f64 {
    const WORDS: usize = 1;
    #[inline(always)]
    fn load(words: &[i64]) -> f64 {
        f64::from_bits(words[0] as u64)
    }
    #[inline(always)]
    fn store(self, words: &mut [i64]) {
        words[0] = self.to_bits() as i64;
    }
    /// `Double.compareTo`: one NaN, above everything; -0.0 below 0.0.
    #[inline(always)]
    fn above(self, other: f64) -> bool {
        match (self.is_nan(), other.is_nan()) {
            (false, false) => self.total_cmp(&other).is_gt(),
            (nan, other_nan) => nan && !other_nan,
        }
    }
}

impl Stored for i128 {
    const WORDS: usize = 2;
    #[inline(always)]
    fn load(words: &[i64]) -> i128 {
        (i128::from(words[1]) << 64) | i128::from(words[0] as u64)
    }
    #[inline(always)]
    fn store(self, words: &mut [i64]) {
        words[0] = self as i64;
        words[1] = (self >> 64) as i64;
    }
    #[inline(always)]
    fn above(self, other: i128) -> bool {
        self > other
    }
}
