//! Parameters, constants and ports read from text.

use super::lexer::Cursor;
use super::parse::{coord, direction};
use super::{MAX_LIST, TextError};
use crate::geometry::Extent;
use crate::program::{Color, Constant, Param, ParamValues, Payload, Port, PortKind, Readback};
use crate::tensor::{Distribution, Dtype, Split};
use base64::Engine as _;

/// `param x = columns [0..=3]`.
pub(super) fn param(at: &mut Cursor<'_>) -> Result<Param, TextError> {
    at.expect_word("param")?;
    let name = at.name("the parameter's name")?;
    at.expect("=")?;
    let kind = at.position();
    let values = match at.word("columns, rows or pes")? {
        "columns" => ParamValues::ByColumn(integers(at)?),
        "rows" => ParamValues::ByRow(integers(at)?),
        "pes" => ParamValues::PerPe(integers(at)?),
        other => return Err(at.error_at(kind, format!("found `{other}`"), "columns, rows or pes")),
    };
    Ok(Param { name, values })
}

/// `[1, 2 * 7, 0..=3]`.
fn integers(at: &mut Cursor<'_>) -> Result<Vec<i32>, TextError> {
    at.expect("[")?;
    let mut values = Vec::new();
    while !at.eat("]")? {
        let position = at.position();
        let first = at.word32("an integer")?;
        let too_long = |at: &Cursor<'_>| {
            at.error_at(position, "this makes the list too long".into(), format!("at most {MAX_LIST} values"))
        };
        if at.eat("*")? {
            let times: usize = at.integer("a number of repetitions")?;
            if times > MAX_LIST - values.len().min(MAX_LIST) {
                return Err(too_long(at));
            }
            values.extend(std::iter::repeat_n(first, times));
        } else if at.eat("..=")? {
            let last = at.word32("the last value")?;
            if i64::from(last) - i64::from(first) >= (MAX_LIST - values.len().min(MAX_LIST)) as i64 {
                return Err(too_long(at));
            }
            values.extend(first..=last);
        } else {
            values.push(first);
        }
        if !at.eat(",")? && !at.at_symbol("]") {
            return Err(at.error("`,` or `]`"));
        }
    }
    Ok(values)
}

/// `const w : f32[4, 8] at 1024 origin 0,0 on 4x1 x dim 1 by 2 = payload`.
pub(super) fn constant(at: &mut Cursor<'_>) -> Result<Constant, TextError> {
    let Readback { name, dtype, distribution, origin, address } = placed(at, "const")?;
    at.expect("=")?;
    let payload = payload(at, dtype)?;
    Ok(Constant { name, dtype, distribution, origin, address, payload })
}

/// `result y : f32[4, 8] at 1024 origin 0,0 on 4x1 x dim 1 by 2`.
pub(super) fn readback(at: &mut Cursor<'_>) -> Result<Readback, TextError> {
    placed(at, "result")
}

/// A tensor that lies in SRAM.
fn placed(at: &mut Cursor<'_>, keyword: &str) -> Result<Readback, TextError> {
    at.expect_word(keyword)?;
    let name = at.name("the tensor's name")?;
    at.expect(":")?;
    let (dtype, shape) = shape(at)?;
    at.expect_word("at")?;
    let address = at.integer("an address in bytes")?;
    at.expect_word("origin")?;
    let origin = coord(at)?;
    let distribution = distribution(at, shape)?;
    Ok(Readback { name, dtype, distribution, origin, address })
}

/// `input x : f32[4] on 4x1 x dim 0 by 1 edge WEST at 0,0 color c0`.
pub(super) fn port(at: &mut Cursor<'_>, kind: PortKind) -> Result<Port, TextError> {
    at.advance()?;
    let name = at.name("the tensor's name")?;
    at.expect(":")?;
    let (dtype, shape) = shape(at)?;
    let distribution = distribution(at, shape)?;
    at.expect_word("edge")?;
    let edge = direction(at)?.ok_or_else(|| at.error("WEST, EAST, NORTH or SOUTH"))?;
    at.expect_word("at")?;
    let pe = coord(at)?;
    at.expect_word("color")?;
    let color = Color(at.id('c', "a colour")?);
    Ok(Port { name, kind, dtype, distribution, edge, at: pe, color })
}

/// The name of an element type.
pub(super) fn dtype(at: &mut Cursor<'_>) -> Result<Dtype, TextError> {
    for dtype in Dtype::ALL {
        if at.eat_word(dtype.name())? {
            return Ok(dtype);
        }
    }
    Err(at.error("f32, f16, bf16, cb16, i32 or u16"))
}

fn shape(at: &mut Cursor<'_>) -> Result<(Dtype, Vec<u32>), TextError> {
    let dtype = dtype(at)?;
    at.expect("[")?;
    let mut shape = Vec::new();
    while !at.eat("]")? {
        shape.push(at.integer("the size of a dimension")?);
        if !at.eat(",")? && !at.at_symbol("]") {
            return Err(at.error("`,` or `]`"));
        }
    }
    Ok((dtype, shape))
}

fn distribution(at: &mut Cursor<'_>, shape: Vec<u32>) -> Result<Distribution, TextError> {
    at.expect_word("on")?;
    let (width, height) = at.pair("a size such as 4x1")?;
    let x = split(at, "x")?;
    let y = split(at, "y")?;
    Ok(Distribution { grid: Extent { width, height }, shape, x, y })
}

fn split(at: &mut Cursor<'_>, axis: &str) -> Result<Option<Split>, TextError> {
    if !at.eat_word(axis)? {
        return Ok(None);
    }
    at.expect_word("dim")?;
    let dim = at.integer("a dimension")?;
    at.expect_word("by")?;
    let block = at.integer("the length of a block")?;
    Ok(Some(Split { dim, block }))
}

fn payload(at: &mut Cursor<'_>, dtype: Dtype) -> Result<Payload, TextError> {
    if at.eat_word("base64")? {
        let position = at.position();
        let mut digits = String::new();
        while let super::lexer::Token::Text(_) = at.token() {
            digits.push_str(&at.text("base64 digits")?);
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(&digits);
        let bytes = bytes.map_err(|e| at.error_at(position, e.to_string(), "base64 with padding, in quoted pieces"))?;
        return Ok(Payload::Inline(bytes));
    }
    if at.eat_word("file")? {
        let path = at.text("a path in quotes")?;
        at.expect_word("offset")?;
        let offset = at.integer("the first byte")?;
        at.expect_word("sha256")?;
        let sha256 = at.text("hexadecimal digits in quotes")?;
        return Ok(Payload::File { path, offset, sha256 });
    }
    if at.at_symbol("[") { elements(at, dtype).map(Payload::Inline) } else { Err(at.error("`[`, base64 or file")) }
}

fn elements(at: &mut Cursor<'_>, dtype: Dtype) -> Result<Vec<u8>, TextError> {
    at.expect("[")?;
    let mut bytes = Vec::new();
    while !at.eat("]")? {
        let position = at.position();
        let bits = at.element(dtype)?;
        if dtype.bytes() == 2 && bits >> 16 != 0 {
            return Err(at.error_at(position, format!("{} does not fit", bits as i32), dtype.name()));
        }
        bytes.extend_from_slice(&bits.to_le_bytes()[..dtype.bytes() as usize]);
        if !at.eat(",")? && !at.at_symbol("]") {
            return Err(at.error("`,` or `]`"));
        }
    }
    Ok(bytes)
}
