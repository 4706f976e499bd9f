//! The text form read back: the header, the routes and the list of everything else.

use super::TextError;
use super::lexer::{Cursor, Token};
use super::parse_code::Scope;
use super::parse_data;
use super::print::{claim_kind_name, claim_line_name};
use crate::claim::{AllReduceClaim, Claim, ClaimBatch, ClaimKind, ClaimLine, ClaimOperand, ProductClaim, TakesClaim};
use crate::code::VectorOp;
use crate::geometry::{Coord, Direction, Extent, PortSet, Region};
use crate::machine::Machine;
use crate::program::{Color, ColorRoute, Filter, Operator, Placement, PortKind, Position, Program};
use std::collections::BTreeMap;

/// Reads the text form of a program.
///
/// The result is what the text says, sensible or not: whether it can run is `verify`'s to tell.
///
/// # Errors
/// The first place where the text is not in the language of [`crate::text`].
pub fn parse(text: &str) -> Result<Program, TextError> {
    let mut parser = Parser {
        at: Cursor::new(text)?,
        params: Names::default(),
        operators: Names::default(),
        classes: Names::default(),
    };
    let mut program = parser.header()?;
    while *parser.at.token() != Token::End {
        parser.item(&mut program)?;
    }
    Ok(program)
}

/// Indices by name; `None` when a name stands for several things.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, Option<u32>>);

impl Names {
    pub(super) fn declare(&mut self, name: &str, index: usize) {
        self.0.entry(name.to_owned()).and_modify(|known| *known = None).or_insert(Some(index as u32));
    }

    /// Reads a reference: a name that has been declared, or `#index`.
    pub(super) fn reference(&self, at: &mut Cursor<'_>, what: &str) -> Result<u32, TextError> {
        if at.eat("#")? {
            return at.integer(&format!("the index of {what}"));
        }
        let position = at.position();
        let name = at.name(&format!("the name of {what}, or # and its index"))?;
        match self.0.get(&name) {
            Some(Some(index)) => Ok(*index),
            Some(None) => {
                let message = format!("the name {name:?} stands for several things");
                Err(at.error_at(position, message, format!("# and the index of {what}")))
            }
            None => {
                let known: Vec<&str> = self.0.keys().take(8).map(String::as_str).collect();
                let known = if known.is_empty() { "none so far".into() } else { known.join(", ") };
                let message = format!("nothing before this line is named {name:?}");
                Err(at.error_at(position, message, format!("{what} (known: {known})")))
            }
        }
    }
}

struct Parser<'a> {
    at: Cursor<'a>,
    params: Names,
    operators: Names,
    classes: Names,
}

impl Parser<'_> {
    fn header(&mut self) -> Result<Program, TextError> {
        self.at.expect_word("program")?;
        let name = self.at.name("the program's name in quotes")?;
        self.at.expect_word("machine")?;
        let machine = self.machine()?;
        self.at.expect_word("grid")?;
        let (width, height) = self.at.pair("a size such as 4x1")?;
        let items = if self.at.eat_word("items")? { self.at.integer("a number of items")? } else { 1 };
        Ok(Program {
            name,
            machine,
            grid: Extent { width, height },
            items,
            params: Vec::new(),
            classes: Vec::new(),
            placements: Vec::new(),
            routes: Vec::new(),
            constants: Vec::new(),
            readbacks: Vec::new(),
            ports: Vec::new(),
            operators: Vec::new(),
            claims: Vec::new(),
        })
    }

    fn machine(&mut self) -> Result<Machine, TextError> {
        if self.at.at_symbol("{") {
            let (ron, begin) = self.at.raw_block()?;
            return ron::from_str(ron).map_err(|e| {
                // The block's own lines and columns, counted from the start of the text.
                let byte = begin + byte_of(ron, e.span.start.line, e.span.start.col);
                self.at.error_at(byte, e.code.to_string(), "the RON text of a machine")
            });
        }
        let position = self.at.position();
        let name = self.at.name("the name of a built-in machine, or a block with RON text")?;
        Machine::builtin(&name).ok_or_else(|| {
            let known: Vec<&str> = Machine::builtin_names().collect();
            self.at.error_at(position, format!("no built-in machine is named {name:?}"), known.join(", "))
        })
    }

    fn item(&mut self, program: &mut Program) -> Result<(), TextError> {
        const ITEMS: &str = "param, operator, claim, route, class, place, const, input, output or result";
        let Token::Word(word) = *self.at.token() else { return Err(self.at.error(ITEMS)) };
        match word {
            "param" => {
                let param = parse_data::param(&mut self.at)?;
                self.params.declare(&param.name, program.params.len());
                program.params.push(param);
            }
            "operator" => {
                let operator = self.operator()?;
                self.operators.declare(&operator.name, program.operators.len());
                program.operators.push(operator);
            }
            "claim" => program.claims.push(self.claim()?),
            "route" => program.routes.push(self.route()?),
            "class" => {
                let class = Scope::new(&mut self.at, &self.params, &self.operators).class()?;
                self.classes.declare(&class.name, program.classes.len());
                program.classes.push(class);
            }
            "place" => {
                self.at.advance()?;
                let class = self.classes.reference(&mut self.at, "a class")?;
                program.placements.push(Placement { region: region(&mut self.at)?, class });
            }
            "const" => program.constants.push(parse_data::constant(&mut self.at)?),
            "result" => program.readbacks.push(parse_data::readback(&mut self.at)?),
            "input" => program.ports.push(parse_data::port(&mut self.at, PortKind::Input)?),
            "output" => program.ports.push(parse_data::port(&mut self.at, PortKind::Output)?),
            _ => return Err(self.at.error(ITEMS)),
        }
        Ok(())
    }

    fn operator(&mut self) -> Result<Operator, TextError> {
        self.at.expect_word("operator")?;
        let name = self.at.name("the operator's name")?;
        let kind = self.at.name("the operator's kind, such as matmul")?;
        let region = region(&mut self.at)?;
        self.at.expect_word("flops")?;
        let flops = self.at.integer("a number of operations")?;
        self.at.expect_word("bytes")?;
        let bytes = self.at.integer("a number of bytes")?;
        Ok(Operator { name, kind, region, flops, bytes })
    }

    /// `claim product …`, `claim takes …` or `claim all_reduce …`.
    fn claim(&mut self) -> Result<Claim, TextError> {
        self.at.expect_word("claim")?;
        if self.at.eat_word("takes")? {
            self.takes().map(Claim::Takes)
        } else if self.at.eat_word("all_reduce")? {
            self.all_reduce().map(Claim::AllReduce)
        } else {
            self.product().map(Claim::Product)
        }
    }

    fn claim_line(&mut self) -> Result<ClaimLine, TextError> {
        let lines = [ClaimLine::Row, ClaimLine::Column, ClaimLine::Own];
        let line = lines.into_iter().find(|&line| self.at.at_word(claim_line_name(line)));
        let line = line.ok_or_else(|| self.at.error("row, column or own"))?;
        self.at.advance()?;
        Ok(line)
    }

    /// `row add at 0,0 size 2x2 count 4`.
    fn all_reduce(&mut self) -> Result<AllReduceClaim, TextError> {
        let line = self.claim_line()?;
        let op = VectorOp::ALL.into_iter().find(|(_, name)| self.at.at_word(name));
        let (op, _) = op.ok_or_else(|| self.at.error("add, max or min"))?;
        self.at.advance()?;
        let region = region(&mut self.at)?;
        self.at.expect_word("count")?;
        Ok(AllReduceClaim { region, line, op, count: self.at.integer("the elements of a vector")? })
    }

    /// `row f32 at 0,0 size 2x2 first 0 end 2 words 4 rank 1`.
    fn takes(&mut self) -> Result<TakesClaim, TextError> {
        let line = self.claim_line()?;
        let dtype = parse_data::dtype(&mut self.at)?;
        let region = region(&mut self.at)?;
        self.at.expect_word("first")?;
        let first = self.at.integer("the place of the first root")?;
        self.at.expect_word("end")?;
        let end = self.at.integer("the place behind the last root")?;
        self.at.expect_word("words")?;
        let words = self.at.integer("the words of a root")?;
        self.at.expect_word("rank")?;
        let rank = self.at.integer("the dimensions of a copy")?;
        Ok(TakesClaim { region, line, dtype, first, end, words, rank })
    }

    /// `product f32 at 0,0 size 2x2 rows 1 columns 1 inner 2 block 1 left … right … batch 2 by 1, 1`.
    fn product(&mut self) -> Result<ProductClaim, TextError> {
        let kinds = [ClaimKind::Product, ClaimKind::ColumnSums];
        let kind = kinds.into_iter().find(|&kind| self.at.at_word(claim_kind_name(kind)));
        let kind = kind.ok_or_else(|| self.at.error("product, column_sums, takes or all_reduce"))?;
        self.at.advance()?;
        let dtype = parse_data::dtype(&mut self.at)?;
        let region = region(&mut self.at)?;
        let [rows, columns, inner, block] = self.numbers(["rows", "columns", "inner", "block"])?;
        let (left, right) = (self.claim_operand("left")?, self.claim_operand("right")?);
        let mut batch = Vec::new();
        while self.at.eat_word("batch")? {
            let size = self.at.integer("the size of a batch dimension")?;
            self.at.expect_word("by")?;
            let left = self.at.integer("the left operand's stride in matrices")?;
            self.at.expect(",")?;
            batch.push(ClaimBatch { size, left, right: self.at.integer("the right operand's stride in matrices")? });
        }
        Ok(ProductClaim { kind, region, dtype, rows, columns, inner, block, left, right, batch })
    }

    /// `left split matrix 4 slot 4 line 2 step 1`.
    fn claim_operand(&mut self, side: &str) -> Result<ClaimOperand, TextError> {
        self.at.expect_word(side)?;
        let split = self.at.eat_word("split")?;
        let [matrix, slot, line, step] = self.numbers(["matrix", "slot", "line", "step"])?;
        Ok(ClaimOperand { split, matrix, slot, line, step })
    }

    /// Numbers with their names before them.
    fn numbers<const N: usize>(&mut self, names: [&str; N]) -> Result<[u32; N], TextError> {
        let mut numbers = [0; N];
        for (number, name) in numbers.iter_mut().zip(names) {
            self.at.expect_word(name)?;
            *number = self.at.integer("a number")?;
        }
        Ok(numbers)
    }

    fn route(&mut self) -> Result<ColorRoute, TextError> {
        self.at.expect_word("route")?;
        let color = Color(self.at.id('c', "a colour")?);
        let region = region(&mut self.at)?;
        let mut route = ColorRoute { color, region, positions: Vec::new(), start: 0, ring: false, filter: None };
        self.at.expect("{")?;
        while !self.at.eat("}")? {
            if self.at.eat_word("pos")? {
                let rx = port_set(&mut self.at)?;
                self.at.expect("->")?;
                let tx = port_set(&mut self.at)?;
                route.positions.push(Position { rx, tx });
            } else if self.at.eat_word("start")? {
                route.start = self.at.integer("a position from 0")?;
            } else if self.at.eat_word("ring")? {
                route.ring = true;
            } else if self.at.eat_word("filter")? {
                route.filter = Some(filter(&mut self.at)?);
            } else {
                return Err(self.at.error("pos, start, ring, filter or `}`"));
            }
            while self.at.eat(";")? {}
        }
        Ok(route)
    }
}

/// The byte at a line and column (both from 1) of a text.
fn byte_of(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[before..];
    before + rest.chars().take(column.saturating_sub(1)).map(char::len_utf8).sum::<usize>()
}

/// `at 0,0 size 4x1 step 2x1`; the size 1x1 and the step 1x1 may be left out.
pub(super) fn region(at: &mut Cursor<'_>) -> Result<Region, TextError> {
    at.expect_word("at")?;
    let Coord { x, y } = coord(at)?;
    let (width, height) = if at.eat_word("size")? { at.pair("a size such as 4x1")? } else { (1, 1) };
    let (step_x, step_y) = if at.eat_word("step")? { at.pair("two steps such as 2x1")? } else { (1, 1) };
    Ok(Region { x, y, width, height, step_x, step_y })
}

/// `3,0`.
pub(super) fn coord(at: &mut Cursor<'_>) -> Result<Coord, TextError> {
    let x = at.integer("a column")?;
    at.expect(",")?;
    let y = at.integer("a row")?;
    Ok(Coord { x, y })
}

/// One of the five ports, or `None` when the token is none of them.
pub(super) fn direction(at: &mut Cursor<'_>) -> Result<Option<Direction>, TextError> {
    let Token::Word(word) = *at.token() else { return Ok(None) };
    let found = Direction::ALL.into_iter().find(|&d| super::print::direction_name(d).eq_ignore_ascii_case(word));
    if found.is_some() {
        at.advance()?;
    }
    Ok(found)
}

fn port_set(at: &mut Cursor<'_>) -> Result<PortSet, TextError> {
    if at.eat_word("none")? {
        return Ok(PortSet(0));
    }
    let mut set = PortSet(0);
    let mut any = false;
    loop {
        if let Some(port) = direction(at)? {
            set.0 |= PortSet::of(&[port]).0;
        } else if matches!(at.token(), Token::Number(_)) {
            set.0 |= at.integer::<u8>("bits of a port set")?;
        } else if any {
            return Ok(set);
        } else {
            return Err(at.error("WEST, EAST, NORTH, SOUTH, RAMP or none"));
        }
        any = true;
    }
}

fn filter(at: &mut Cursor<'_>) -> Result<Filter, TextError> {
    if at.eat_word("range")? {
        let low = at.integer("the lowest index")?;
        at.expect("..=")?;
        let high = at.integer("the highest index")?;
        return Ok(Filter::Range { low, high });
    }
    if at.eat_word("count")? {
        at.expect_word("first")?;
        let first = at.integer("a wavelet's number")?;
        at.expect_word("pass")?;
        let pass = at.integer("a number of wavelets")?;
        at.expect_word("period")?;
        let period = at.integer("a number of wavelets")?;
        return Ok(Filter::Count { first, pass, period });
    }
    Err(at.error("range or count"))
}
