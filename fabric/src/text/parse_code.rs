//! Classes, tasks and instructions read from text.

use super::TextError;
use super::lexer::{Cursor, Token};
use super::number::plain_u8;
use super::parse::Names;
use super::parse_data::dtype;
use crate::claim::Address;
use crate::code::{
    Async, Compare, Completion, Control, Dim, Instruction, MAX_NESTING, MemDsd, Operand, ScalarOp, SwitchCommand, Task,
    TaskKind, Value, VectorOp,
};
use crate::program::{Buffer, BufferKind, Class, Color, ColorRef, Fifo, QueueBinding};
use crate::tensor::Dtype;
use std::collections::BTreeMap;

const INSTRUCTIONS: &str = "an instruction (mov, add, …; `r0 = …`; store, loop, if, activate, block, unblock, control, \
                            position, mark, claim) or `}`";

/// What a class's text may refer to.
pub(super) struct Scope<'c, 'a> {
    at: &'c mut Cursor<'a>,
    params: &'c Names,
    operators: &'c Names,
    /// Addresses of the class's buffers; `None` for a name that several have.
    buffers: BTreeMap<String, Option<u32>>,
    depth: usize,
}

impl<'c, 'a> Scope<'c, 'a> {
    pub(super) fn new(at: &'c mut Cursor<'a>, params: &'c Names, operators: &'c Names) -> Self {
        Self { at, params, operators, buffers: BTreeMap::new(), depth: 0 }
    }

    pub(super) fn class(mut self) -> Result<Class, TextError> {
        self.at.expect_word("class")?;
        let name = self.at.name("the class's name")?;
        let mut class = Class {
            name,
            input_queues: Vec::new(),
            output_queues: Vec::new(),
            fifos: Vec::new(),
            buffers: Vec::new(),
            tasks: Vec::new(),
        };
        self.at.expect("{")?;
        while !self.at.eat("}")? {
            if self.at.eat_word("in")? {
                class.input_queues.push(self.binding()?);
            } else if self.at.eat_word("out")? {
                class.output_queues.push(self.binding()?);
            } else if self.at.eat_word("fifo")? {
                class.fifos.push(self.fifo(class.fifos.len())?);
            } else if self.at.eat_word("buffer")? {
                class.buffers.push(self.buffer()?);
            } else if self.at.eat_word("task")? {
                class.tasks.push(self.task()?);
            } else {
                return Err(self.at.error("in, out, fifo, buffer, task or `}`"));
            }
        }
        Ok(class)
    }

    fn binding(&mut self) -> Result<QueueBinding, TextError> {
        let queue = self.at.id('q', "a queue")?;
        self.at.expect("=")?;
        let color = if self.at.eat("$")? {
            ColorRef::Param(self.params.reference(self.at, "a parameter")?)
        } else {
            ColorRef::Fixed(Color(self.at.id('c', "a colour")?))
        };
        Ok(QueueBinding { queue, color })
    }

    fn fifo(&mut self, index: usize) -> Result<Fifo, TextError> {
        let position = self.at.position();
        let id = self.at.word("a FIFO's id")?;
        if id.strip_prefix('f').and_then(|digits| digits.parse().ok()) != Some(index) {
            return Err(self.at.error_at(position, format!("found `{id}`"), format!("f{index}: FIFOs count from f0")));
        }
        self.at.expect_word("at")?;
        let address = self.at.integer("an address in bytes")?;
        self.at.expect_word("words")?;
        let words = self.at.integer("a number of words")?;
        Ok(Fifo { address, words })
    }

    fn buffer(&mut self) -> Result<Buffer, TextError> {
        let name = self.at.name("the buffer's name")?;
        self.at.expect_word("at")?;
        let address = self.at.integer("an address in bytes")?;
        self.at.expect_word("bytes")?;
        let bytes = self.at.integer("a number of bytes")?;
        let kinds = [BufferKind::Weight, BufferKind::Activation, BufferKind::Scratch, BufferKind::Table];
        let kind = kinds.into_iter().find(|&kind| self.at.at_word(super::print::kind_name(kind)));
        let kind = kind.ok_or_else(|| self.at.error("weight, activation, scratch or table"))?;
        self.at.advance()?;
        let owner = if self.at.eat_word("of")? { Some(self.at.integer("the operator's index")?) } else { None };
        let mut live = None;
        if self.at.eat_word("live")? {
            let first = self.at.integer("the first operator's index")?;
            self.at.expect("..=")?;
            live = Some((first, self.at.integer("the last operator's index")?));
        }
        self.buffers.entry(name.clone()).and_modify(|known| *known = None).or_insert(Some(address));
        Ok(Buffer { name, address, bytes, kind, owner, live })
    }

    fn task(&mut self) -> Result<Task, TextError> {
        let id = self.at.integer("a task id")?;
        let name = self.at.name("the task's name")?;
        let kind = if self.at.eat_word("data")? {
            TaskKind::Data { queue: self.at.id('q', "a queue")? }
        } else if self.at.eat_word("local")? {
            TaskKind::Local
        } else if self.at.eat_word("control")? {
            TaskKind::Control
        } else if self.at.eat_word("teardown")? {
            TaskKind::Teardown { color: self.at.id('c', "a colour")? }
        } else {
            return Err(self.at.error("data, local, control or teardown"));
        };
        let blocked = self.at.eat_word("blocked")?;
        let activated = self.at.eat_word("activated")?;
        Ok(Task { id, name, kind, blocked, activated, body: self.body()? })
    }

    fn body(&mut self) -> Result<Vec<Instruction>, TextError> {
        if self.depth > MAX_NESTING {
            return Err(self.at.error_at(
                self.at.position(),
                "found a block too deep inside others".into(),
                format!("at most {MAX_NESTING} blocks inside each other"),
            ));
        }
        self.depth += 1;
        self.at.expect("{")?;
        let mut body = Vec::new();
        while !self.at.eat("}")? {
            body.push(self.instruction()?);
        }
        self.depth -= 1;
        Ok(body)
    }

    fn instruction(&mut self) -> Result<Instruction, TextError> {
        let Token::Word(word) = *self.at.token() else { return Err(self.at.error(INSTRUCTIONS)) };
        if let Some((op, _)) = VectorOp::ALL.into_iter().find(|(_, name)| *name == word) {
            self.at.advance()?;
            return self.vector(op);
        }
        if register_id(word).is_some() {
            return self.assignment();
        }
        let keyword = self.at.position();
        self.at.advance()?;
        Ok(match word {
            "store" => {
                let src = self.value()?;
                self.at.expect("->")?;
                let dtype = dtype(self.at)?;
                let (base, offset) = self.address_in_brackets()?;
                Instruction::Store { src, dtype, base, offset }
            }
            "loop" => {
                let counter = self.register()?;
                self.at.expect_word("in")?;
                Instruction::Loop { counter, count: self.value()?, body: self.body()? }
            }
            "if" => self.condition()?,
            "activate" => Instruction::Activate(self.at.integer("a task id")?),
            "block" => Instruction::Block(self.at.integer("a task id")?),
            "unblock" => Instruction::Unblock(self.at.integer("a task id")?),
            "control" => Instruction::SendControl { queue: self.at.id('q', "a queue")?, control: self.control()? },
            "position" => {
                let color = self.at.id('c', "a colour")?;
                self.at.expect("=")?;
                Instruction::SetPosition { color, position: self.at.integer("a position from 0")? }
            }
            "mark" => {
                let operator = self.operators.reference(self.at, "an operator")?;
                let plus = if self.at.eat("+")? { self.value()? } else { Value::Imm(0) };
                Instruction::Mark { operator, plus }
            }
            "claim" => {
                self.at.expect("#")?;
                let claim = self.at.integer("the index of a claim")?;
                let left = self.place()?;
                self.at.expect(",")?;
                let right = self.place()?;
                self.at.expect("->")?;
                Instruction::Claim { claim, left, right, result: self.place()?, body: self.body()? }
            }
            _ => return Err(self.at.error_at(keyword, format!("found `{word}`"), INSTRUCTIONS)),
        })
    }

    fn vector(&mut self, op: VectorOp) -> Result<Instruction, TextError> {
        let dst = self.operand()?;
        self.at.expect("<-")?;
        let mut srcs = Vec::new();
        if self.operand_follows() {
            srcs.push(self.operand()?);
            while self.at.eat(",")? {
                srcs.push(self.operand()?);
            }
        }
        let mut run_async = None;
        if self.at.eat_word("async")? {
            let microthread = self.at.id('u', "a microthread")?;
            let then = if !self.at.eat_word("then")? {
                None
            } else if self.at.eat_word("activate")? {
                Some(Completion::Activate(self.at.integer("a task id")?))
            } else if self.at.eat_word("unblock")? {
                Some(Completion::Unblock(self.at.integer("a task id")?))
            } else {
                return Err(self.at.error("activate or unblock"));
            };
            run_async = Some(Async { microthread, then });
        }
        Ok(Instruction::Vector { op, dst, srcs, run_async })
    }

    fn assignment(&mut self) -> Result<Instruction, TextError> {
        let dst = self.register()?;
        self.at.expect("=")?;
        if self.at.eat_word("clock")? {
            return Ok(Instruction::ReadClock { dst });
        }
        if self.at.eat_word("load")? {
            let dtype = dtype(self.at)?;
            let (base, offset) = self.address_in_brackets()?;
            return Ok(Instruction::Load { dst, dtype, base, offset });
        }
        let op = ScalarOp::ALL.into_iter().find(|(_, name)| self.at.at_word(name));
        let (op, _) = op.ok_or_else(|| {
            let names: Vec<&str> = ScalarOp::ALL.iter().map(|(_, name)| *name).collect();
            self.at.error(format!("clock, load or one of {}", names.join(", ")))
        })?;
        self.at.advance()?;
        let a = self.value()?;
        self.at.expect(",")?;
        Ok(Instruction::Scalar { op, dst, a, b: self.value()? })
    }

    fn condition(&mut self) -> Result<Instruction, TextError> {
        let a = self.value()?;
        let compare = match self.at.token() {
            Token::Symbol("==") => Compare::Eq,
            Token::Symbol("!=") => Compare::Ne,
            Token::Symbol("<") => Compare::Lt,
            Token::Symbol("<=") => Compare::Le,
            // `a<-1` is cut as `<-`: there is no telling it from an arrow without spaces.
            _ => return Err(self.at.error("==, !=, < or <= (with a space before a minus sign)")),
        };
        self.at.advance()?;
        let b = self.value()?;
        let then = self.body()?;
        let otherwise = if self.at.eat_word("else")? { self.body()? } else { Vec::new() };
        Ok(Instruction::If { compare, a, b, then, otherwise })
    }

    fn control(&mut self) -> Result<Control, TextError> {
        self.at.expect("[")?;
        let mut commands = Vec::new();
        while !self.at.eat("]")? {
            let position = self.at.position();
            commands.push(match self.at.word("nop, advance, reset or teardown")? {
                "nop" => SwitchCommand::Nop,
                "advance" => SwitchCommand::Advance,
                "reset" => SwitchCommand::Reset,
                "teardown" => SwitchCommand::Teardown,
                other => {
                    let message = format!("found `{other}`");
                    return Err(self.at.error_at(position, message, "nop, advance, reset or teardown"));
                }
            });
            if !self.at.eat(",")? && !self.at.at_symbol("]") {
                return Err(self.at.error("`,` or `]`"));
            }
        }
        let task = if self.at.eat_word("task")? { Some(self.at.integer("a task id")?) } else { None };
        let payload = if self.at.eat_word("payload")? { self.value()? } else { Value::Imm(0) };
        Ok(Control { commands, task, payload })
    }

    fn register(&mut self) -> Result<u8, TextError> {
        self.at.id('r', "a register")
    }

    fn value(&mut self) -> Result<Value, TextError> {
        if self.at.eat("$")? {
            return self.params.reference(self.at, "a parameter").map(Value::Param);
        }
        match *self.at.token() {
            Token::Word(_) => self.register().map(Value::Reg),
            Token::Number(_) | Token::Symbol("-") => self.at.word32("an integer").map(Value::Imm),
            _ => Err(self.at.error("an integer, a register such as r0 or a parameter such as $x")),
        }
    }

    /// `base + offset` with a number, a register, a parameter or a buffer as its base.
    fn address(&mut self) -> Result<(Value, i32), TextError> {
        let position = self.at.position();
        let base = if self.at.eat("@")? {
            let name = self.at.name("a buffer's name")?;
            match self.buffers.get(&name) {
                Some(Some(address)) => Value::Imm(*address as i32),
                Some(None) => {
                    let message = format!("several buffers of this class are named {name:?}");
                    return Err(self.at.error_at(position, message, "the address itself"));
                }
                None => {
                    let known: Vec<&str> = self.buffers.keys().take(8).map(String::as_str).collect();
                    let message = format!("no buffer before this line of the class is named {name:?}");
                    return Err(self.at.error_at(position, message, format!("a buffer (known: {})", known.join(", "))));
                }
            }
        } else {
            self.value()?
        };
        let negative = self.at.at_symbol("-");
        let offset = if negative || self.at.eat("+")? { self.at.word32("an offset in bytes")? } else { 0 };
        Ok((base, offset))
    }

    fn address_in_brackets(&mut self) -> Result<(Value, i32), TextError> {
        self.at.expect("[")?;
        let address = self.address()?;
        self.at.expect("]")?;
        Ok(address)
    }

    fn place(&mut self) -> Result<Address, TextError> {
        self.address_in_brackets().map(|(base, offset)| Address { base, offset })
    }

    fn operand_follows(&self) -> bool {
        match *self.at.token() {
            Token::Symbol("[") | Token::Word("in" | "out" | "fifo" | "null") => true,
            Token::Word(word) => Dtype::ALL.iter().any(|dtype| dtype.name() == word),
            _ => false,
        }
    }

    fn operand(&mut self) -> Result<Operand, TextError> {
        if self.at.at_symbol("[") {
            return self.memory().map(Operand::Mem);
        }
        if self.at.eat_word("null")? {
            return Ok(Operand::Null);
        }
        for (word, letter) in [("in", 'q'), ("out", 'q'), ("fifo", 'f')] {
            if self.at.eat_word(word)? {
                let id = self.at.id(letter, if letter == 'q' { "a queue" } else { "a FIFO" })?;
                let dtype = dtype(self.at)?;
                self.at.expect("[")?;
                let len = self.value()?;
                self.at.expect("]")?;
                return Ok(match word {
                    "in" => Operand::FabIn { queue: id, dtype, len },
                    "out" => Operand::FabOut { queue: id, dtype, len },
                    _ => Operand::Fifo { fifo: id, dtype, len },
                });
            }
        }
        if !self.operand_follows() {
            return Err(self.at.error("an operand: [memory], in, out, fifo, null or a number with its type"));
        }
        let dtype = dtype(self.at)?;
        let by_name = self.at.at_symbol("$") || matches!(*self.at.token(), Token::Word(w) if register_id(w).is_some());
        let value = if by_name { self.value()? } else { Value::Imm(self.at.element(dtype)? as i32) };
        Ok(Operand::Scalar { value, dtype })
    }

    fn memory(&mut self) -> Result<MemDsd, TextError> {
        self.at.expect("[")?;
        let (base, offset) = self.address()?;
        self.at.expect(":")?;
        let dtype = dtype(self.at)?;
        let mut dims = Vec::new();
        if self.at.eat(";")? {
            loop {
                let len = self.value()?;
                let stride = if self.at.eat(":")? { self.value()? } else { Value::Imm(1) };
                dims.push(Dim { len, stride });
                if !self.at.eat(",")? {
                    break;
                }
            }
        }
        self.at.expect("]")?;
        Ok(MemDsd { base, offset, dtype, dims })
    }
}

/// The number of a register's name.
fn register_id(word: &str) -> Option<u8> {
    word.strip_prefix('r').and_then(plain_u8)
}
