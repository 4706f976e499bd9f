//! Numbers in the text, exact to the bit.

use super::TextError;
use super::lexer::{Cursor, Token};
use crate::tensor::Dtype;

/// The number that the bits stand for, such that [`Cursor::element`] reads the same bits again.
///
/// `bits` holds 32 bits for every type; 16-bit types normally leave the upper half zero, but a scalar operand may not.
pub(super) fn element_text(bits: u32, dtype: Dtype) -> String {
    match dtype.widen(bits) {
        None => (bits as i32).to_string(),
        // A NaN needs its bits spelled out, as there are many of them.
        Some(value) if value.is_nan() || dtype.bytes() == 2 && bits >> 16 != 0 => format!("{bits:#x}"),
        Some(value) => format!("{value:?}"),
    }
}

/// A number without `_`.
fn clean(raw: &str) -> String {
    raw.chars().filter(|&c| c != '_').collect()
}

impl Cursor<'_> {
    /// An unsigned or signed integer that the target type can hold.
    pub(super) fn integer<T: TryFrom<i128>>(&mut self, what: &str) -> Result<T, TextError> {
        let at = self.position();
        let value = self.wide_integer(what)?.0;
        T::try_from(value).map_err(|_| {
            self.error_at(at, format!("{value} does not fit"), format!("{what} of at most {} bits", size_of::<T>() * 8))
        })
    }

    /// A 32-bit integer; hexadecimal digits may use the sign bit.
    pub(super) fn word32(&mut self, what: &str) -> Result<i32, TextError> {
        let at = self.position();
        let (value, hex) = self.wide_integer(what)?;
        let narrow = if hex { u32::try_from(value).ok().map(|v| v as i32) } else { i32::try_from(value).ok() };
        narrow.ok_or_else(|| self.error_at(at, format!("{value} does not fit"), format!("{what} of 32 bits")))
    }

    /// The integer here, and whether it is hexadecimal.
    fn wide_integer(&mut self, what: &str) -> Result<(i128, bool), TextError> {
        let negative = self.eat("-")?;
        let Token::Number(raw) = *self.token() else { return Err(self.error(what)) };
        let digits = clean(raw);
        let (value, hex) = match digits.strip_prefix("0x") {
            Some(hex) if !negative => (i128::from_str_radix(hex, 16).ok(), true),
            Some(_) => (None, true),
            None => (digits.parse::<i128>().ok(), false),
        };
        let value = value.ok_or_else(|| self.error(what))?;
        self.advance()?;
        Ok((if negative { -value } else { value }, hex))
    }

    /// The bits of an element; see [`element_text`].
    pub(super) fn element(&mut self, dtype: Dtype) -> Result<u32, TextError> {
        if !dtype.is_float() {
            return self.word32("an integer").map(|n| n as u32);
        }
        let negative = self.eat("-")?;
        let value = match *self.token() {
            Token::Word("inf") => f64::INFINITY,
            Token::Word("nan") => f64::NAN,
            Token::Number(raw) if raw.starts_with("0x") && !negative => {
                let bits = u32::from_str_radix(&clean(&raw[2..]), 16);
                let bits = bits.map_err(|_| self.error("at most 32 bits in hexadecimal"))?;
                self.advance()?;
                return Ok(bits);
            }
            Token::Number(raw) => return self.decimal(&clean(raw), negative, dtype),
            _ => return Err(self.error("a number, `inf`, `nan`, or bits in hexadecimal")),
        };
        self.advance()?;
        let value = if negative { -value } else { value };
        // Integers have returned above.
        Ok(dtype.narrow_f64(value).unwrap_or_default())
    }

    fn decimal(&mut self, digits: &str, negative: bool, dtype: Dtype) -> Result<u32, TextError> {
        let signed = format!("{}{digits}", if negative { "-" } else { "" });
        // An f32 is read as such: through f64 it would be rounded twice.
        let bits = if dtype == Dtype::F32 {
            signed.parse::<f32>().ok().filter(|v| v.is_finite()).map(f32::to_bits)
        } else {
            let bits = signed.parse::<f64>().ok().and_then(|v| dtype.narrow_f64(v));
            bits.filter(|&b| dtype.widen(b).is_some_and(f32::is_finite))
        };
        let bits = bits.ok_or_else(|| self.error(format!("a number that {} can hold", dtype.name())))?;
        self.advance()?;
        Ok(bits)
    }

    /// `4x1`, as two numbers.
    pub(super) fn pair(&mut self, what: &str) -> Result<(u16, u16), TextError> {
        let Token::Number(raw) = *self.token() else { return Err(self.error(what)) };
        let both = raw.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
        let both = both.ok_or_else(|| self.error(what))?;
        self.advance()?;
        Ok(both)
    }

    /// An id such as `c12`: a letter with a number from 0 to 255.
    pub(super) fn id(&mut self, letter: char, what: &str) -> Result<u8, TextError> {
        let expected = || format!("{what} such as {letter}0, up to {letter}255");
        let Token::Word(word) = *self.token() else { return Err(self.error(expected())) };
        let id = word.strip_prefix(letter).and_then(plain_u8).ok_or_else(|| self.error(expected()))?;
        self.advance()?;
        Ok(id)
    }
}

/// Digits only: `parse` would take a sign too.
pub(super) fn plain_u8(digits: &str) -> Option<u8> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
