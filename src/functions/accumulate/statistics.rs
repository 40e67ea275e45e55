//! STDDEV_SAMPLE, STDDEV_SAMP and CORRELATION: sums from which a standard deviation or a correlation is computed.
//!
//! STDDEV uses the recurrence of Youngs and Cramer, as ksqlDB does: the squared deviation is moved by each value, never
//! computed as the difference of two large sums. ksqlDB's STDDEV_SAMP returns the variance, and so does ours.

use super::fixed_size::{FixedSizeAggregate, Stored};

/// Words: count | sum | squared deviation.
#[derive(Clone, Copy)]
pub(super) struct Deviation<T> {
    /// Answer the root (STDDEV_SAMPLE), not the variance (STDDEV_SAMP).
    pub(super) root: bool,
    number: std::marker::PhantomData<T>,
}

impl<T> Deviation<T> {
    pub(super) fn new(root: bool) -> Deviation<T> {
        Deviation { root, number: std::marker::PhantomData }
    }
}

/// A number whose sums are kept in its own type.
pub(super) trait Summed: Stored {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn double(self) -> f64;
}

impl Summed for i32 {
    fn plus(self, other: i32) -> i32 {
        self.wrapping_add(other)
    }
    fn minus(self, other: i32) -> i32 {
        self.wrapping_sub(other)
    }
    fn double(self) -> f64 {
        f64::from(self)
    }
}

impl Summed for i64 {
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
    fn minus(self, other: i64) -> i64 {
        self.wrapping_sub(other)
    }
    fn double(self) -> f64 {
        self as f64
    }
}

impl Summed for f64 {
    fn plus(self, other: f64) -> f64 {
        self + other
    }
    fn minus(self, other: f64) -> f64 {
        self - other
    }
    fn double(self) -> f64 {
        self
    }
}

/// What the `count`-th value, included in `sum`, adds to the squared deviation.
fn share<T: Summed>(count: i64, sum: T, value: T) -> f64 {
    if count < 2 {
        return 0.0;
    }
    let count = count as f64;
    let far = count * value.double() - sum.double();
    far * far / (count * (count - 1.0))
}

impl<T: Summed> FixedSizeAggregate for Deviation<T> {
    const WORDS: usize = 3;
    type In = T;
    type Out = f64;

    fn add(&self, words: &mut [i64], value: T) -> bool {
        words[0] += 1;
        let sum = T::load(&words[1..]).plus(value);
        sum.store(&mut words[1..]);
        (f64::load(&words[2..]) + share(words[0], sum, value)).store(&mut words[2..]);
        true
    }

    fn undo(&self, words: &mut [i64], value: T) -> bool {
        let sum = T::load(&words[1..]);
        (f64::load(&words[2..]) - share(words[0], sum, value)).store(&mut words[2..]);
        sum.minus(value).store(&mut words[1..]);
        words[0] -= 1;
        true
    }

    fn merge(&self, words: &mut [i64], from: &[i64]) -> bool {
        let (left, right) = (words[0] as f64, from[0] as f64);
        let (sum, other) = (T::load(&words[1..]), T::load(&from[1..]));
        let between = if words[0] == 0 || from[0] == 0 {
            0.0
        } else {
            let apart = sum.double() / left - other.double() / right;
            apart * apart * left * right / (left + right)
        };
        (f64::load(&words[2..]) + f64::load(&from[2..]) + between).store(&mut words[2..]);
        sum.plus(other).store(&mut words[1..]);
        words[0] += from[0];
        true
    }

    fn peek(&self, words: &[i64]) -> Option<f64> {
        if words[0] < 2 {
            return Some(0.0);
        }
        let variance = f64::load(&words[2..]) / (words[0] - 1) as f64;
        Some(if self.root { variance.sqrt() } else { variance })
    }
}

/// Words: count | sum of x | of y | of x squared | of y squared | of x times y.
#[derive(Clone, Copy)]
pub(super) struct Correlation;

impl Correlation {
    fn shift(words: &mut [i64], sign: i64, (x, y): (f64, f64)) {
        words[0] += sign;
        for (word, value) in words[1..].iter_mut().zip([x, y, x * x, y * y, x * y]) {
            *word = (f64::from_bits(*word as u64) + sign as f64 * value).to_bits() as i64;
        }
    }
}

impl FixedSizeAggregate for Correlation {
    const WORDS: usize = 6;
    type In = (f64, f64);
    type Out = f64;

    fn add(&self, words: &mut [i64], value: (f64, f64)) -> bool {
        Correlation::shift(words, 1, value);
        true
    }

    fn undo(&self, words: &mut [i64], value: (f64, f64)) -> bool {
        Correlation::shift(words, -1, value);
        true
    }

    fn merge(&self, words: &mut [i64], from: &[i64]) -> bool {
        words[0] += from[0];
        for (word, other) in words[1..].iter_mut().zip(&from[1..]) {
            *word = (f64::from_bits(*word as u64) + f64::from_bits(*other as u64)).to_bits() as i64;
        }
        true
    }

    fn peek(&self, words: &[i64]) -> Option<f64> {
        let n = words[0] as f64;
        let sum = |i: usize| f64::from_bits(words[i] as u64);
        let above = n * sum(5) - sum(1) * sum(2);
        let below = (n * sum(3) - sum(1) * sum(1)) * (n * sum(4) - sum(2) * sum(2));
        Some(above / below.sqrt())
    }
}
