//! x86's 80-bit floats, in which Redis computes `INCRBYFLOAT` and `HINCRBYFLOAT`.
//!
//! Ten times 0.1 makes 1 here and not in a double, and clients see the digits. Only what these commands need is here:
//! reading, adding and writing, each rounded as the processor and C's library round.

use std::cmp::Ordering;
use std::fmt;

use super::scan::{Bits, Number, scan};

/// A sign, a mantissa of 64 bits and an exponent; never NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    /// The highest bit is set, unless the exponent is the lowest.
    mantissa: u64,
    /// Of the mantissa's lowest bit; [`INFINITE`] for an infinity.
    exponent: i32,
}

const WIDTH: u32 = 64;

/// The exponent of the smallest number.
const LOWEST: i32 = -16_445;

/// The exponent of the largest number.
const HIGHEST: i32 = 16_383 - 63;

const INFINITE: i32 = i32::MAX;

/// Texts of this length or longer are no numbers to Redis.
const TEXT_MAX: usize = 5 * 1024;

/// Digits behind the point that Redis writes.
const FRACTION_DIGITS: usize = 17;

impl LongDouble {
    /// Reads a float as Redis does. `None` also for what is too large or too small for the format.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= TEXT_MAX {
            return None;
        }
        let (negative, number) = scan(text)?;
        let bits = match number {
            Number::Infinity => {
                return Some(LongDouble { negative, mantissa: 0, exponent: INFINITE });
            }
            Number::Binary(bits) => bits,
            Number::Decimal { whole, fraction, exponent } => decimal(whole, fraction, exponent)?,
        };
        let number = LongDouble::round(negative, bits)?;
        (bits.is_zero() || number.mantissa != 0).then_some(number)
    }

    /// Whether this is an infinity, which can be written down but not be computed with.
    pub fn is_infinite(self) -> bool {
        self.exponent == INFINITE
    }

    /// The nearest number to the sum; `None` when that would be infinite or not a number.
    pub fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        if self.is_infinite() || other.is_infinite() {
            return None;
        }
        let size = |number: &LongDouble| (number.exponent, number.mantissa);
        let (large, small) = match size(&self).cmp(&size(&other)) {
            Ordering::Less => (other, self),
            _ => (self, other),
        };
        // Both as multiples of the same power of two; what of the small one lies below it only matters as "a bit more".
        let apart = large.exponent.abs_diff(small.exponent);
        let left = u128::from(large.mantissa) << 63;
        let small_wide = u128::from(small.mantissa) << 63;
        let right = small_wide.checked_shr(apart).unwrap_or(0);
        let sticky = small_wide.trailing_zeros() < apart && small.mantissa != 0;
        let mantissa = if large.negative == small.negative {
            left + right
        } else {
            // A bit more taken away is one less and a bit more.
            left - right - u128::from(sticky)
        };
        let bits = Bits { mantissa, sticky, exponent: i64::from(large.exponent) - 63 };
        LongDouble::round(large.negative, bits)
    }

    fn round(negative: bool, bits: Bits) -> Option<LongDouble> {
        let (mantissa, exponent) = bits.round(WIDTH, i64::from(LOWEST));
        if mantissa != 0 && exponent > i64::from(HIGHEST) {
            return None;
        }
        Some(LongDouble { negative, mantissa, exponent: exponent as i32 })
    }
}

impl From<f64> for LongDouble {
    /// Every double is a long double. A NaN, which no caller has, becomes an infinity.
    fn from(number: f64) -> LongDouble {
        let raw = number.to_bits();
        let fraction = raw & ((1 << 52) - 1);
        let (mantissa, exponent) = match (raw >> 52 & 0x7ff) as i64 {
            0 => (fraction, -1074),
            power => (fraction | 1 << 52, power - 1075),
        };
        let bits = Bits { mantissa: u128::from(mantissa), sticky: false, exponent };
        let infinity = LongDouble { negative: number < 0.0, mantissa: 0, exponent: INFINITE };
        match number.is_finite() {
            true => LongDouble::round(number < 0.0, bits).unwrap_or(infinity),
            false => infinity,
        }
    }
}

impl fmt::Display for LongDouble {
    /// C's `%.17Lf` without the zeros at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = match self.exponent {
            INFINITE => ("inf".to_owned(), 0),
            0.. => (Big::from(self.mantissa).shifted(self.exponent as u32).decimal(), 0),
            below => {
                let (whole, fraction) = fixed_point(self.mantissa, below.unsigned_abs());
                (whole.to_string(), fraction)
            }
        };
        if self.negative && (whole != "0" || fraction != 0) {
            f.write_str("-")?;
        }
        f.write_str(&whole)?;
        if fraction == 0 {
            return Ok(());
        }
        let digits = format!("{fraction:0FRACTION_DIGITS$}");
        write!(f, ".{}", digits.trim_end_matches('0'))
    }
}

/// `mantissa` divided by two to the power of `places`: the whole part, and the fraction in units of the last digit,
/// rounded to even.
fn fixed_point(mantissa: u64, places: u32) -> (u64, u128) {
    const UNIT: u128 = 10u128.pow(FRACTION_DIGITS as u32);
    let whole = mantissa.checked_shr(places).unwrap_or(0);
    let below = match places {
        0..64 => mantissa & ((1 << places) - 1),
        _ => mantissa,
    };
    // Below 2^121, so nothing overflows, and 2^128 or more below the point is nothing.
    let bits = Bits { mantissa: u128::from(below) * UNIT, sticky: false, exponent: -i64::from(places) };
    match bits.round(64, 0) {
        (fraction, 0) if u128::from(fraction) < UNIT => (whole, u128::from(fraction)),
        _ => (whole + 1, 0),
    }
}

/// A decimal number in binary, exact but for what lies below its 66th bit. `None` when it is beyond the format.
fn decimal(whole: &[u8], fraction: &[u8], exponent: i64) -> Option<Bits> {
    let mut digits = [whole, fraction].concat();
    let zeros = digits.iter().rev().take_while(|&&digit| digit == b'0').count();
    digits.truncate(digits.len() - zeros);
    let leading = digits.iter().take_while(|&&digit| digit == b'0').count();
    let digits = &digits[leading..];
    let exponent = exponent - fraction.len() as i64 + zeros as i64;
    if digits.is_empty() {
        return Some(Bits { mantissa: 0, sticky: false, exponent: 0 });
    }
    // The largest number is below 10^4933, the smallest above 10^-4952; this bounds the work below.
    if !(-4_960..=4_940).contains(&(exponent + digits.len() as i64)) {
        return None;
    }
    let number = Big::from_digits(digits);
    let power = exponent.unsigned_abs() as u32;
    Some(if exponent >= 0 {
        number.times_power_of_ten(power).top()
    } else {
        number.divided_by(Big::from(1).times_power_of_ten(power))
    })
}

/// A natural number of any size, lowest limb first, without zeros at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Big(Vec<u32>);

/// The largest power of ten in a limb, and its exponent.
const TEN_POWER: u32 = 1_000_000_000;
const TEN_DIGITS: u32 = 9;

impl From<u64> for Big {
    fn from(number: u64) -> Big {
        let mut big = Big(vec![number as u32, (number >> 32) as u32]);
        big.trim();
        big
    }
}

impl Big {
    fn from_digits(digits: &[u8]) -> Big {
        let mut big = Big(Vec::with_capacity(digits.len() / 9 + 1));
        for chunk in digits.chunks(TEN_DIGITS as usize) {
            let value = chunk.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
            big.multiply_add(10u32.pow(chunk.len() as u32), value);
        }
        big
    }

    fn multiply_add(&mut self, factor: u32, term: u32) {
        let mut carry = u64::from(term);
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(factor) + carry;
            *limb = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    fn times_power_of_ten(mut self, power: u32) -> Big {
        (0..power / TEN_DIGITS).for_each(|_| self.multiply_add(TEN_POWER, 0));
        self.multiply_add(10u32.pow(power % TEN_DIGITS), 0);
        self
    }

    fn shifted(mut self, places: u32) -> Big {
        self.multiply_add(1 << (places % 32), 0);
        if !self.0.is_empty() {
            self.0.splice(..0, std::iter::repeat_n(0, places as usize / 32));
        }
        self
    }

    fn bits(&self) -> u32 {
        self.0.last().map_or(0, |last| self.0.len() as u32 * 32 - last.leading_zeros())
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// Takes `other` away if it is not larger, and says so.
    fn take(&mut self, other: &Big) -> bool {
        if self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev())).is_lt() {
            return false;
        }
        let mut borrow = false;
        for (index, limb) in self.0.iter_mut().enumerate() {
            let taken = other.0.get(index).copied().unwrap_or(0);
            let (rest, under) = limb.overflowing_sub(taken);
            let (rest, under_too) = rest.overflowing_sub(u32::from(borrow));
            *limb = rest;
            borrow = under || under_too;
        }
        self.trim();
        true
    }

    /// The highest 96 bits or more, and whether anything lies below them.
    fn top(&self) -> Bits {
        let low = self.0.len().saturating_sub(4);
        let (below, above) = self.0.split_at(low);
        Bits {
            mantissa: above.iter().rev().fold(0, |sum, &limb| sum << 32 | u128::from(limb)),
            sticky: below.iter().any(|&limb| limb != 0),
            exponent: low as i64 * 32,
        }
    }

    /// The quotient's highest 66 bits or more, by long division in binary.
    fn divided_by(self, divisor: Big) -> Bits {
        const PLACES: u32 = 66;
        let scale = i64::from(self.bits()) - i64::from(divisor.bits());
        let (mut rest, divisor) = match scale {
            0.. => (self, divisor.shifted(scale as u32)),
            _ => (self.shifted(scale.unsigned_abs() as u32), divisor),
        };
        let mut quotient = u128::from(rest.take(&divisor));
        for _ in 0..PLACES {
            rest.multiply_add(2, 0);
            quotient = quotient << 1 | u128::from(rest.take(&divisor));
        }
        Bits { mantissa: quotient, sticky: !rest.0.is_empty(), exponent: scale - i64::from(PLACES) }
    }

    fn decimal(mut self) -> String {
        let mut chunks = Vec::new();
        while !self.0.is_empty() {
            let mut rest = 0;
            for limb in self.0.iter_mut().rev() {
                let value = rest << 32 | u64::from(*limb);
                *limb = (value / u64::from(TEN_POWER)) as u32;
                rest = value % u64::from(TEN_POWER);
            }
            self.trim();
            chunks.push(rest);
        }
        let first = chunks.pop().unwrap_or(0).to_string();
        chunks.iter().rev().fold(first, |text, chunk| text + &format!("{chunk:09}"))
    }
}
