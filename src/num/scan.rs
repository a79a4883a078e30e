//! What C's `strtod` takes for a float, before it is rounded to a format.

/// A number as it stands in a text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number<'t> {
    /// `inf` or `infinity`.
    Infinity,
    /// `whole.fraction` times ten to the power of `exponent`.
    Decimal { whole: &'t [u8], fraction: &'t [u8], exponent: i64 },
    /// A hexadecimal float.
    Binary(Bits),
}

/// A magnitude: `mantissa`, and a bit more than that if `sticky`, times two to the power of `exponent`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits {
    pub(super) mantissa: u128,
    pub(super) sticky: bool,
    pub(super) exponent: i64,
}

/// Exponents beyond this (in a text that fits into memory) are as good as infinite, and safe to add up.
const EXPONENT_MAX: i64 = 1 << 48;

/// Reads a sign and a number; the whole text must be one. `NaN` is none: Redis refuses it wherever it reads a float.
pub(super) fn scan(text: &[u8]) -> Option<(bool, Number<'_>)> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let number = match text {
        [b'i' | b'I', ..] => {
            let known = text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity");
            known.then_some(Number::Infinity)?
        }
        [b'0', b'x' | b'X', hex @ ..] => {
            let (whole, fraction, exponent) = parts(hex, u8::is_ascii_hexdigit, b'p')?;
            Number::Binary(Bits::from_hex(whole, fraction, exponent))
        }
        _ => {
            let (whole, fraction, exponent) = parts(text, u8::is_ascii_digit, b'e')?;
            Number::Decimal { whole, fraction, exponent }
        }
    };
    Some((negative, number))
}

/// Takes `digits[.digits][mark[sign]digits]` apart. At least one digit must stand around the point.
fn parts(text: &[u8], is_digit: impl Fn(&u8) -> bool, mark: u8) -> Option<(&[u8], &[u8], i64)> {
    let run = |text: &[u8]| text.iter().take_while(|&byte| is_digit(byte)).count();
    let (whole, mut rest) = text.split_at(run(text));
    let mut fraction: &[u8] = &[];
    if let [b'.', after @ ..] = rest {
        (fraction, rest) = after.split_at(run(after));
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = match rest {
        [] => 0,
        [letter, power @ ..] if letter.eq_ignore_ascii_case(&mark) => exponent(power)?,
        _ => return None,
    };
    Some((whole, fraction, exponent))
}

fn exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits.iter().fold(0, |sum: i64, byte| (sum * 10 + i64::from(byte - b'0')).min(EXPONENT_MAX));
    Some(sign * magnitude)
}

impl Bits {
    fn from_hex(whole: &[u8], fraction: &[u8], exponent: i64) -> Bits {
        let mut bits = Bits { mantissa: 0, sticky: false, exponent: exponent - 4 * fraction.len() as i64 };
        for &byte in whole.iter().chain(fraction) {
            let digit = u128::from(char::from(byte).to_digit(16).unwrap_or_default());
            if bits.mantissa >> 124 == 0 {
                bits.mantissa = bits.mantissa << 4 | digit;
            } else {
                bits.sticky |= digit != 0;
                bits.exponent += 4;
            }
        }
        bits
    }

    pub(super) fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// The nearest `(mantissa, exponent)` with at most `width` bits and no exponent below `lowest`, ties to even. The
    /// mantissa has exactly `width` bits unless `lowest` is in the way.
    pub(super) fn round(self, width: u32, lowest: i64) -> (u64, i64) {
        debug_assert!(width <= 64);
        if self.is_zero() {
            return (0, lowest);
        }
        let have = i64::from(u128::BITS - self.mantissa.leading_zeros());
        let drop = (have - i64::from(width)).max(lowest - self.exponent);
        if drop <= 0 {
            debug_assert!(!self.sticky, "what lies below a short mantissa must be in it");
            return ((self.mantissa << -drop) as u64, self.exponent + drop);
        }
        if drop > have {
            // Less than half of the smallest number.
            return (0, lowest);
        }
        let kept = self.mantissa.checked_shr(drop as u32).unwrap_or(0);
        let half = 1u128 << (drop - 1);
        let rest = self.mantissa & (half | (half - 1));
        let up = rest > half || (rest == half && (self.sticky || kept & 1 == 1));
        let kept = kept + u128::from(up);
        if kept >> width == 0 {
            (kept as u64, self.exponent + drop)
        } else {
            ((kept >> 1) as u64, self.exponent + drop + 1)
        }
    }
}
