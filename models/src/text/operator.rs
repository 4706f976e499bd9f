//! The parts of a node's line: its type, its attributes and what they make of the operator's word, a constant's elements.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::TextError;
use super::lexer::{Cursor, Token};
use super::words::Word;
use crate::graph::{BinaryOp, ConstantData, ElementType, Op, ReduceOp, TensorType, UnaryOp, Window};

/// Largest integer in shapes and attributes, so that sums and products of two of them are numbers too.
const LARGEST: usize = 1 << 31;
/// Most elements of a tensor.
const ELEMENTS: usize = 1 << 40;

/// A type: `f[2, 32]`.
pub(super) fn tensor_type(cursor: &mut Cursor) -> Result<TensorType, TextError> {
    let what = "a type: `f`, `i` or `b`, and sizes in brackets";
    let at = cursor.expected(what);
    let element = ElementType::of(cursor.word(what)?).ok_or_else(|| at.clone())?;
    let shape = numbers(cursor)?;
    let elements = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size.max(1)));
    if elements.is_none_or(|elements| elements > ELEMENTS) {
        let problem = format!("a tensor of shape {shape:?} is too large");
        return Err(TextError { problem, remedy: format!("expected at most {ELEMENTS} elements"), ..at });
    }
    Ok(TensorType { element, shape })
}

/// Numbers in brackets.
fn numbers(cursor: &mut Cursor) -> Result<Vec<usize>, TextError> {
    let mut list = Vec::new();
    cursor.symbol('[')?;
    while !cursor.eat(']')? {
        list.push(number(cursor)?);
        if !cursor.eat(',')? {
            cursor.symbol(']')?;
            break;
        }
    }
    Ok(list)
}

fn number(cursor: &mut Cursor) -> Result<usize, TextError> {
    let fault = cursor.expected(&format!("a number from 0 to {LARGEST}"));
    cursor.word("a number")?.parse().ok().filter(|&n| n <= LARGEST).ok_or(fault)
}

/// The shortest decimal form of a float, `nan`, or its bits in hexadecimal.
fn float(word: &str) -> Option<f32> {
    match word.strip_prefix("0x") {
        Some(bits) => u32::from_str_radix(bits, 16).ok().map(f32::from_bits),
        None if word == "nan" => Some(f32::NAN),
        None => word.parse().ok(),
    }
}

/// Elements of a constant as they are written, and where.
pub(super) struct Literal {
    written: Written,
    at: TextError,
}

enum Written {
    /// Words in braces.
    Inline(Vec<String>),
    /// Decoded from base64.
    Bytes(Vec<u8>),
}

impl Literal {
    /// `{1.0, 2.0}` or `base64 ".."`.
    pub(super) fn read(cursor: &mut Cursor) -> Result<Self, TextError> {
        let at = cursor.expected("elements in braces, or `base64` and a string");
        if *cursor.token() == Token::Word("base64") {
            cursor.advance()?;
            let encoded = cursor.text("base64 in quotes")?;
            return match STANDARD.decode(&encoded) {
                Ok(bytes) => Ok(Self { written: Written::Bytes(bytes), at }),
                Err(e) => {
                    let problem = format!("the string is not base64 ({e})");
                    Err(TextError { problem, remedy: "print the graph again".into(), ..at })
                }
            };
        }
        let mut words = Vec::new();
        if !cursor.eat('{')? {
            return Err(at);
        }
        while !cursor.eat('}')? {
            words.push(cursor.word("an element")?.to_string());
            if !cursor.eat(',')? {
                cursor.symbol('}')?;
                break;
            }
        }
        Ok(Self { written: Written::Inline(words), at })
    }

    /// The elements as those of a type.
    pub(super) fn data(self, output: &TensorType) -> Result<ConstantData, TextError> {
        let float_type = output.element == ElementType::Float;
        let data = match self.written {
            Written::Inline(words) if float_type => {
                words.iter().map(|w| float(w)).collect::<Option<_>>().map(ConstantData::Float)
            }
            Written::Inline(words) => {
                words.iter().map(|w| w.parse().ok()).collect::<Option<_>>().map(ConstantData::Int)
            }
            Written::Bytes(bytes) if float_type => {
                let (floats, rest) = bytes.as_chunks();
                rest.is_empty().then(|| ConstantData::Float(floats.iter().map(|&b| f32::from_le_bytes(b)).collect()))
            }
            Written::Bytes(bytes) => {
                let (integers, rest) = bytes.as_chunks();
                rest.is_empty().then(|| ConstantData::Int(integers.iter().map(|&b| i64::from_le_bytes(b)).collect()))
            }
        };
        data.ok_or_else(|| TextError {
            problem: format!("the elements are not those of a {:?} tensor", output.element),
            remedy: "correct the constant or its type".into(),
            ..self.at
        })
    }
}

/// A value behind `name=`.
enum Value {
    Number(usize),
    Numbers(Vec<usize>),
    Float(f32),
}

/// The attributes of a line that the operator has not asked for yet, with the places of their names.
pub(super) struct Attributes {
    list: Vec<(String, Value, TextError)>,
}

impl Attributes {
    /// Reads `name=value` up to the colon.
    pub(super) fn read(cursor: &mut Cursor) -> Result<Self, TextError> {
        let mut list: Vec<(String, Value, TextError)> = Vec::new();
        while let Token::Word(name) = *cursor.token() {
            let at = cursor.expected("each attribute once, and none that the operator does not have");
            cursor.advance()?;
            cursor.symbol('=')?;
            let value = match (name, cursor.token()) {
                ("epsilon", _) => {
                    let fault = cursor.expected("a number");
                    Value::Float(float(cursor.word("a number")?).ok_or(fault)?)
                }
                (_, Token::Symbol('[')) => Value::Numbers(numbers(cursor)?),
                _ => Value::Number(number(cursor)?),
            };
            if list.iter().any(|(other, ..)| other == name) {
                return Err(at);
            }
            list.push((name.to_string(), value, at));
        }
        Ok(Self { list })
    }

    fn take(&mut self, name: &str, at: &TextError) -> Result<Value, TextError> {
        match self.list.iter().position(|(other, ..)| other == name) {
            Some(position) => Ok(self.list.remove(position).1),
            None => Err(TextError {
                problem: format!("the attribute `{name}` is missing"),
                remedy: format!("write `{name}=` and its value behind the operands"),
                ..at.clone()
            }),
        }
    }

    fn number(&mut self, name: &str, at: &TextError) -> Result<usize, TextError> {
        match self.take(name, at)? {
            Value::Number(number) => Ok(number),
            _ => Err(wrong(name, "one number", at)),
        }
    }

    fn numbers(&mut self, name: &str, at: &TextError) -> Result<Vec<usize>, TextError> {
        match self.take(name, at)? {
            Value::Numbers(numbers) => Ok(numbers),
            _ => Err(wrong(name, "numbers in brackets", at)),
        }
    }

    fn float(&mut self, name: &str, at: &TextError) -> Result<f32, TextError> {
        match self.take(name, at)? {
            Value::Float(number) => Ok(number),
            _ => Err(wrong(name, "one number", at)),
        }
    }

    /// All attributes must have been asked for.
    pub(super) fn finish(self) -> Result<(), TextError> {
        self.list.into_iter().next().map_or(Ok(()), |(.., at)| Err(at))
    }

    /// The operator of a word, with its attributes; `at` is the place of the word.
    pub(super) fn operator(&mut self, word: &str, at: &TextError) -> Result<Op, TextError> {
        if let Some(op) = UnaryOp::of(word) {
            return Ok(Op::Unary(op));
        }
        if let Some(op) = BinaryOp::of(word) {
            return Ok(Op::Binary(op));
        }
        if let Some(op) = ReduceOp::of(word) {
            return Ok(Op::Reduce { op, axes: self.numbers("axes", at)? });
        }
        Ok(match word {
            "input" => Op::Input,
            "select" => Op::Select,
            "matmul" => Op::MatMul,
            "reshape" => Op::Reshape,
            "broadcast" => Op::Broadcast,
            "softmax" => Op::Softmax { axis: self.number("axis", at)? },
            "gather" => Op::Gather { axis: self.number("axis", at)? },
            "concat" => Op::Concat { axis: self.number("axis", at)? },
            "permute" => Op::Permute { axes: self.numbers("axes", at)? },
            "normalize" => Op::Normalize { epsilon: self.float("epsilon", at)? },
            "slice" => Op::Slice {
                axis: self.number("axis", at)?,
                start: self.number("start", at)?,
                step: self.number("step", at)?,
            },
            "conv" => Op::Conv { window: self.window(at)?, groups: self.number("groups", at)? },
            _ => return Err(at.clone()),
        })
    }

    fn window(&mut self, at: &TextError) -> Result<Window, TextError> {
        Ok(Window {
            kernel: self.numbers("kernel", at)?,
            stride: self.numbers("stride", at)?,
            dilation: self.numbers("dilation", at)?,
            pad_before: self.numbers("pad_before", at)?,
            pad_after: self.numbers("pad_after", at)?,
        })
    }
}

fn wrong(name: &str, wanted: &str, at: &TextError) -> TextError {
    TextError {
        problem: format!("the attribute `{name}` has a value of another kind"),
        remedy: format!("expected {wanted}"),
        ..at.clone()
    }
}
