//! [`Code`]: a body of instructions under construction, with registers and descriptors.

use waferloom_fabric::code::{Control, Dim, Instruction, MemDsd, Operand, ScalarOp, Task, TaskKind};
use waferloom_fabric::{Address, Compare, Dtype, Value, VectorOp};

/// A scalar register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(pub u8);

impl From<Reg> for Value {
    fn from(reg: Reg) -> Self {
        Value::Reg(reg.0)
    }
}

/// A dense vector in SRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Address of the first element, the same in every PE.
    pub address: u32,
    /// Elements, padding included.
    pub elements: u32,
    /// Type of the elements.
    pub dtype: Dtype,
}

impl Tile {
    /// 32-bit words that the tile fills.
    pub fn words(self) -> u32 {
        (self.elements * self.dtype.bytes()).div_ceil(4)
    }

    /// Bytes to reserve for it: whole words.
    pub fn bytes(self) -> u32 {
        self.words() * 4
    }

    /// The tile as a vector of its elements.
    pub fn vector(self) -> Operand {
        memory(self.address as i32, 0, self.dtype, &[(self.elements.into(), 1.into())])
    }

    /// The tile as a vector of whole words, which is how it travels.
    pub fn as_words(self) -> Operand {
        words_at(self.address as i32, self.words())
    }
}

/// `count` words from an address.
pub fn words_at(base: impl Into<Value>, count: impl Into<Value>) -> Operand {
    memory(base, 0, Dtype::I32, &[(count.into(), 1.into())])
}

/// A memory operand; dimensions are (length, stride), the outermost first.
pub fn memory(base: impl Into<Value>, offset: i32, dtype: Dtype, dims: &[(Value, Value)]) -> Operand {
    Operand::Mem(MemDsd {
        base: base.into(),
        offset,
        dtype,
        dims: dims.iter().map(|&(len, stride)| Dim { len, stride }).collect(),
    })
}

/// A floating-point number as an operand.
pub fn float(value: f32) -> Operand {
    Operand::Scalar { value: Value::Imm(value.to_bits() as i32), dtype: Dtype::F32 }
}

/// An integer as an operand.
pub fn int(value: i32) -> Operand {
    Operand::Scalar { value: Value::Imm(value), dtype: Dtype::I32 }
}

/// Wavelets from an input queue, as words.
pub fn words_in(queue: u8, len: impl Into<Value>) -> Operand {
    Operand::FabIn { queue, dtype: Dtype::I32, len: len.into() }
}

/// Wavelets into an output queue, as words.
pub fn words_out(queue: u8, len: impl Into<Value>) -> Operand {
    Operand::FabOut { queue, dtype: Dtype::I32, len: len.into() }
}

/// Instructions under construction.
///
/// Registers are taken in the order of a stack: those taken inside [`Code::scope`] are free again behind it.
#[derive(Debug, Default)]
pub struct Code {
    body: Vec<Instruction>,
    registers_taken: u8,
    registers_peak: u8,
}

impl Code {
    /// Empty code.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty code to which registers are free that are free here.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { body: Vec::new(), ..*self }
    }

    /// Appends code that was made apart.
    pub fn append(&mut self, other: Self) {
        self.registers_peak = self.registers_peak.max(other.registers_peak);
        self.body.extend(other.body);
    }

    /// The code as the local task that starts the program.
    pub fn into_main_task(self, id: u8) -> Task {
        Task { id, name: "main".into(), kind: TaskKind::Local, blocked: false, activated: true, body: self.body }
    }

    /// The instructions so far.
    pub fn instructions(&self) -> &[Instruction] {
        &self.body
    }

    /// The most registers that are in use at once.
    pub fn registers(&self) -> u8 {
        self.registers_peak
    }

    /// A register that nothing else uses inside the current scope.
    pub fn register(&mut self) -> Reg {
        let reg = Reg(self.registers_taken);
        self.registers_taken += 1;
        self.registers_peak = self.registers_peak.max(self.registers_taken);
        reg
    }

    /// Runs `emit`, then frees the registers that it took.
    pub fn scope<T>(&mut self, emit: impl FnOnce(&mut Self) -> T) -> T {
        let taken = self.registers_taken;
        let result = emit(self);
        self.registers_taken = taken;
        result
    }

    /// Appends an instruction.
    pub fn push(&mut self, instruction: Instruction) {
        self.body.push(instruction);
    }

    /// Appends a vector instruction on the main thread.
    pub fn vector(&mut self, op: VectorOp, dst: Operand, srcs: &[Operand]) {
        self.push(Instruction::Vector { op, dst, srcs: srcs.to_vec(), run_async: None });
    }

    /// `dst = src`.
    pub fn mov(&mut self, dst: Operand, src: Operand) {
        self.vector(VectorOp::Mov, dst, &[src]);
    }

    /// `dst = op(a, b)` on registers.
    pub fn scalar(&mut self, op: ScalarOp, dst: Reg, a: impl Into<Value>, b: impl Into<Value>) {
        self.push(Instruction::Scalar { op, dst: dst.0, a: a.into(), b: b.into() });
    }

    /// `dst = value`.
    pub fn set(&mut self, dst: Reg, value: impl Into<Value>) {
        self.scalar(ScalarOp::Add, dst, value, 0);
    }

    /// Reads an unsigned 16-bit number from memory.
    pub fn load_u16(&mut self, dst: Reg, base: impl Into<Value>, offset: i32) {
        self.push(Instruction::Load { dst: dst.0, dtype: Dtype::U16, base: base.into(), offset });
    }

    /// Appends a control wavelet.
    pub fn send_control(&mut self, queue: u8, control: Control) {
        self.push(Instruction::SendControl { queue, control });
    }

    fn nested(&mut self, emit: impl FnOnce(&mut Self)) -> Vec<Instruction> {
        let outer = std::mem::take(&mut self.body);
        self.scope(emit);
        std::mem::replace(&mut self.body, outer)
    }

    /// Runs the body `count` times; it is given the register that counts. A single turn needs no loop.
    pub fn repeat(&mut self, count: u32, body: impl FnOnce(&mut Self, Value)) {
        if count == 1 {
            self.scope(|code| body(code, Value::Imm(0)));
        } else {
            self.repeat_value(count.into(), body);
        }
    }

    /// Runs the body as often as a run-time value says.
    pub fn repeat_value(&mut self, count: Value, body: impl FnOnce(&mut Self, Value)) {
        self.scope(|code| {
            let counter = code.register();
            let body = code.nested(|code| body(code, counter.into()));
            code.push(Instruction::Loop { counter: counter.0, count, body });
        });
    }

    /// Puts everything so far into a loop with a counter that nothing else uses.
    pub fn repeat_all(&mut self, counter: Reg, count: u32) {
        let body = std::mem::take(&mut self.body);
        self.push(Instruction::Loop { counter: counter.0, count: count.into(), body });
    }

    /// Runs the body, of which a claim of the program (its index) says what it computes from tiles of the left and the right
    /// operand into one of the result.
    pub fn claim(&mut self, claim: u32, tiles: [impl Into<Address>; 3], body: impl FnOnce(&mut Self)) {
        let body = self.nested(body);
        let [left, right, result] = tiles.map(Into::into);
        self.push(Instruction::Claim { claim, left, right, result, body });
    }

    /// Runs one of two bodies. A comparison of two immediates is decided here.
    pub fn branch(
        &mut self,
        compare: Compare,
        a: impl Into<Value>,
        b: impl Into<Value>,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let (a, b) = (a.into(), b.into());
        if let (Value::Imm(a), Value::Imm(b)) = (a, b) {
            return if compare.holds(a, b) { self.scope(then) } else { self.scope(otherwise) };
        }
        let then = self.nested(then);
        let otherwise = self.nested(otherwise);
        self.push(Instruction::If { compare, a, b, then, otherwise });
    }
}
