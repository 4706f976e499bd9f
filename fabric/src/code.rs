//! The code of a PE: tasks of instructions over vector descriptors (DSDs) and scalar registers.

use crate::claim::Address;
use crate::machine::Machine;
use crate::tensor::Dtype;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::cell::Cell;

/// A piece of code that runs to its end once it has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Id, unique in its class: what is activated, blocked and unblocked.
    pub id: u8,
    /// Name, for people.
    pub name: String,
    /// What starts it.
    pub kind: TaskKind,
    /// Whether it waits for an unblock from the first cycle on.
    pub blocked: bool,
    /// Whether it is activated at the first cycle.
    pub activated: bool,
    /// The code.
    pub body: Vec<Instruction>,
}

/// What starts a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskKind {
    /// A data wavelet in the input queue: it is taken out and its 32 bits are put into register 0.
    Data {
        /// The input queue.
        queue: u8,
    },
    /// An activation: by an instruction, or by the end of an asynchronous one.
    Local,
    /// A control wavelet that names the task: its payload is put into register 0.
    Control,
    /// A teardown wavelet has closed the route of the colour at this PE.
    Teardown {
        /// The colour.
        color: u8,
    },
}

/// A 32-bit integer that an instruction uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    /// This number.
    Imm(i32),
    /// The contents of a register.
    Reg(u8),
    /// The PE's value of a parameter (index into [`crate::Program::params`]).
    Param(u32),
}

impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Value::Imm(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Value::Imm(n as i32)
    }
}

/// One dimension of a memory descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Dim {
    /// Turns of this dimension; below 0 counts as 0.
    pub len: Value,
    /// Elements between two turns; may be 0 or negative.
    pub stride: Value,
}

/// A vector in memory: affine access in up to four dimensions, the outermost first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemDsd {
    /// Address of the first element in bytes, before `offset` is added.
    pub base: Value,
    /// Bytes added to `base`.
    pub offset: i32,
    /// Type of the elements.
    pub dtype: Dtype,
    /// One to [`MemDsd::MOST_DIMS`] dimensions.
    pub dims: Vec<Dim>,
}

impl MemDsd {
    /// Dimensions of a vector at most.
    pub const MOST_DIMS: usize = 4;
}

/// A source or the destination of a vector instruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operand {
    /// A vector in memory.
    Mem(MemDsd),
    /// A source: the next `len` wavelets of an input queue, one element each (16-bit elements in the low half).
    FabIn {
        /// The input queue.
        queue: u8,
        /// How the wavelets are read.
        dtype: Dtype,
        /// Elements.
        len: Value,
    },
    /// A destination: `len` wavelets into an output queue, one element each (16-bit elements in the low half).
    FabOut {
        /// The output queue.
        queue: u8,
        /// How elements are written.
        dtype: Dtype,
        /// Elements.
        len: Value,
    },
    /// `len` words popped from (source) or pushed to (destination) a FIFO (index into [`crate::Class::fifos`]).
    Fifo {
        /// Which FIFO.
        fifo: u8,
        /// How its words are read or written.
        dtype: Dtype,
        /// Elements.
        len: Value,
    },
    /// A source: the same number for every element; the value's 32 bits read as `dtype` (16-bit types use the low half).
    Scalar {
        /// The bits.
        value: Value,
        /// How they are read.
        dtype: Dtype,
    },
    /// A destination that throws everything away.
    Null,
}

/// What a vector instruction does with each element.
///
/// Floating-point arithmetic: operands are widened to f32, the operation is done in f32 with one rounding, and the result
/// is rounded to the destination's type (to nearest, ties to even). A result that is not a number is always the same (quiet,
/// positive) NaN; moves, `Abs` and `Neg` keep theirs. Integers wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VectorOp {
    /// `d = a`, with conversion: float to integer truncates towards zero and saturates, NaN becomes 0.
    Mov,
    /// `d = a`, float to integer rounded to nearest, ties to even.
    Round,
    /// `d = a + b`.
    Add,
    /// `d = a - b`.
    Sub,
    /// `d = a * b`.
    Mul,
    /// `d = a + b * c`, floats with one rounding.
    Mac,
    /// `d = max(a, b)`; a NaN operand gives NaN.
    Max,
    /// `d = min(a, b)`; a NaN operand gives NaN.
    Min,
    /// `d = |a|`.
    Abs,
    /// `d = -a`.
    Neg,
    /// `d = a & b`, integers.
    And,
    /// `d = a | b`, integers.
    Or,
    /// `d = a ^ b`, integers.
    Xor,
    /// `d = a << b`, integers; shifts of 32 and more give 0.
    Shl,
    /// `d = a >> b` with the sign, integers; shifts of 32 and more give the sign.
    Shr,
    /// `d = (a == b)` as 0 or 1; a NaN equals nothing.
    Eq,
    /// `d = (a < b)` as 0 or 1.
    Lt,
    /// `d = (a <= b)` as 0 or 1.
    Le,
    /// `d = a != 0 ? b : c`.
    Select,
}

impl VectorOp {
    /// All operations with their names in the text form.
    pub const ALL: [(VectorOp, &'static str); 19] = [
        (VectorOp::Mov, "mov"),
        (VectorOp::Round, "round"),
        (VectorOp::Add, "add"),
        (VectorOp::Sub, "sub"),
        (VectorOp::Mul, "mul"),
        (VectorOp::Mac, "mac"),
        (VectorOp::Max, "max"),
        (VectorOp::Min, "min"),
        (VectorOp::Abs, "abs"),
        (VectorOp::Neg, "neg"),
        (VectorOp::And, "and"),
        (VectorOp::Or, "or"),
        (VectorOp::Xor, "xor"),
        (VectorOp::Shl, "shl"),
        (VectorOp::Shr, "shr"),
        (VectorOp::Eq, "eq"),
        (VectorOp::Lt, "lt"),
        (VectorOp::Le, "le"),
        (VectorOp::Select, "select"),
    ];

    /// Number of sources.
    pub fn arity(self) -> usize {
        match self {
            VectorOp::Mov | VectorOp::Round | VectorOp::Abs | VectorOp::Neg => 1,
            VectorOp::Mac | VectorOp::Select => 3,
            _ => 2,
        }
    }

    /// Whether only integers may be operands.
    pub fn integer_only(self) -> bool {
        matches!(self, VectorOp::And | VectorOp::Or | VectorOp::Xor | VectorOp::Shl | VectorOp::Shr)
    }
}

/// Integer arithmetic on registers; it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScalarOp {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b` towards zero; 0 when `b` is 0.
    Div,
    /// Remainder of that division; 0 when `b` is 0.
    Rem,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// `a & b`.
    And,
    /// `a | b`.
    Or,
    /// `a ^ b`.
    Xor,
    /// `a << b`; 0 from 32 on.
    Shl,
    /// `a >> b` with the sign.
    Shr,
}

impl ScalarOp {
    /// All operations with their names in the text form.
    pub const ALL: [(ScalarOp, &'static str); 12] = [
        (ScalarOp::Add, "add"),
        (ScalarOp::Sub, "sub"),
        (ScalarOp::Mul, "mul"),
        (ScalarOp::Div, "div"),
        (ScalarOp::Rem, "rem"),
        (ScalarOp::Min, "min"),
        (ScalarOp::Max, "max"),
        (ScalarOp::And, "and"),
        (ScalarOp::Or, "or"),
        (ScalarOp::Xor, "xor"),
        (ScalarOp::Shl, "shl"),
        (ScalarOp::Shr, "shr"),
    ];
}

/// A comparison of two integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Compare {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
}

impl Compare {
    /// Whether it holds between two integers.
    pub fn holds(self, a: i32, b: i32) -> bool {
        match self {
            Compare::Eq => a == b,
            Compare::Ne => a != b,
            Compare::Lt => a < b,
            Compare::Le => a <= b,
        }
    }
}

/// What the end of an asynchronous instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Completion {
    /// Activates the task of this id.
    Activate(u8),
    /// Unblocks the task of this id.
    Unblock(u8),
}

/// How an instruction runs beside the main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Async {
    /// The microthread that carries it; the issue waits while it is taken.
    pub microthread: u8,
    /// What its end does.
    pub then: Option<Completion>,
}

/// What a control wavelet does to the switch of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SwitchCommand {
    /// Nothing.
    Nop,
    /// To the next position.
    Advance,
    /// Back to the starting position.
    Reset,
    /// Closes the route and starts the PE's teardown task for the colour.
    Teardown,
}

/// A control wavelet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Control {
    /// One to eight commands: the first for the sender's own router, the next for the routers one hop on, and so on;
    /// the last one holds for all routers further on. A router forwards the wavelet by the position in force, then obeys.
    pub commands: Vec<SwitchCommand>,
    /// The control task that runs at each PE whose ramp the wavelet comes down; without one it is dropped there.
    pub task: Option<u8>,
    /// 16 bits for that task.
    pub payload: Value,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Instruction {
    /// `dst = op(sources)`, element by element. Its length is that of its memory and fabric operands, which must agree.
    ///
    /// An operand whose queue, FIFO side or microthread is taken by an asynchronous instruction makes the issue wait.
    Vector {
        /// The operation.
        op: VectorOp,
        /// The destination.
        dst: Operand,
        /// The sources, as many as the operation takes.
        srcs: Vec<Operand>,
        /// Beside the main thread, or `None`: the main thread waits for its end.
        run_async: Option<Async>,
    },
    /// `dst = op(a, b)` on registers.
    Scalar {
        /// The operation.
        op: ScalarOp,
        /// The register.
        dst: u8,
        /// First operand; `add r, v, 0` copies.
        a: Value,
        /// Second operand.
        b: Value,
    },
    /// Reads one element (its bits, zero-extended) from the byte address `base + offset` into a register.
    Load {
        /// The register.
        dst: u8,
        /// Type of the element.
        dtype: Dtype,
        /// Address in bytes.
        base: Value,
        /// Added to the address.
        offset: i32,
    },
    /// Writes the low bits of a value to the byte address `base + offset`.
    Store {
        /// What is written.
        src: Value,
        /// Type of the element.
        dtype: Dtype,
        /// Address in bytes.
        base: Value,
        /// Added to the address.
        offset: i32,
    },
    /// Puts the low 32 bits of the PE's cycle counter into a register.
    ReadClock {
        /// The register.
        dst: u8,
    },
    /// Runs the body `count` times (taken when the loop starts; below 0 counts as 0) with the counter 0, 1, 2, …
    Loop {
        /// The register that counts. The body may change it; the next turn sets it anew.
        counter: u8,
        /// Number of turns.
        count: Value,
        /// The body.
        #[serde(deserialize_with = "nested")]
        body: Vec<Instruction>,
    },
    /// Runs one of two bodies.
    If {
        /// The comparison.
        compare: Compare,
        /// Left side.
        a: Value,
        /// Right side.
        b: Value,
        /// Runs when it holds.
        #[serde(deserialize_with = "nested")]
        then: Vec<Instruction>,
        /// Runs when it does not; may be empty.
        #[serde(deserialize_with = "nested")]
        otherwise: Vec<Instruction>,
    },
    /// Activates a task.
    Activate(u8),
    /// Blocks a task.
    Block(u8),
    /// Unblocks a task.
    Unblock(u8),
    /// Puts a control wavelet into an output queue.
    SendControl {
        /// The output queue.
        queue: u8,
        /// The wavelet.
        control: Control,
    },
    /// Sets the switch of the PE's own router for a colour to a position and opens a route that a teardown has closed.
    SetPosition {
        /// The colour.
        color: u8,
        /// The position, from 0.
        position: u8,
    },
    /// From here on cycles are those of the operator `operator + plus` (index into [`crate::Program::operators`]): a loop
    /// that runs one layer after another adds the layer's first one. Takes no time and no memory.
    Mark {
        /// The operator, or the first of those that the instruction may mean.
        operator: u32,
        /// Added to it.
        plus: Value,
    },
    /// Runs the body once, of which a claim says what it computes. Takes no time and no memory beyond the body's.
    Claim {
        /// The claim (index into [`crate::Program::claims`]).
        claim: u32,
        /// The PE's tile of the left operand, or of what others take.
        left: Address,
        /// The PE's tile of the right operand, or the list of what it takes.
        right: Address,
        /// The PE's tile of the result. Nothing else that the body writes to memory is read behind it, or that it writes to registers.
        result: Address,
        /// The body.
        #[serde(deserialize_with = "nested")]
        body: Vec<Instruction>,
    },
}

/// Loops, conditions and claims that may lie inside each other. Whoever walks over code may recurse this deep.
pub const MAX_NESTING: usize = 64;

thread_local! {
    /// Bodies that [`nested`] is inside of.
    static NESTING: Cell<usize> = const { Cell::new(0) };
}

/// Reads a body inside another, and refuses one that lies so deep that reading it could exhaust the stack.
fn nested<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Instruction>, D::Error> {
    let depth = NESTING.get();
    if depth >= MAX_NESTING {
        return Err(D::Error::custom(format_args!("more than {MAX_NESTING} loops and conditions inside each other")));
    }
    NESTING.set(depth + 1);
    let body = Vec::deserialize(deserializer);
    NESTING.set(depth);
    body
}

/// Bytes of SRAM that a body of code takes: every instruction, and the memory, fabric and FIFO descriptors of vector ones.
/// More than 32 bits can hold counts as the most that they can.
pub fn code_bytes(body: &[Instruction], machine: &Machine) -> u32 {
    body.iter().map(|instruction| instruction.code_bytes(machine)).fold(0, u32::saturating_add)
}

impl Instruction {
    /// As [`code_bytes`], of one instruction with the bodies in it.
    pub fn code_bytes(&self, machine: &Machine) -> u32 {
        match self {
            Instruction::Vector { dst, srcs, .. } => {
                let inline = |operand: &&Operand| matches!(operand, Operand::Scalar { .. } | Operand::Null);
                let descriptors = srcs.iter().chain([dst]).filter(|o| !inline(o)).count() as u32;
                machine.instruction_bytes.saturating_add(descriptors.saturating_mul(machine.descriptor_bytes))
            }
            Instruction::Loop { body, .. } => machine.instruction_bytes.saturating_add(code_bytes(body, machine)),
            Instruction::If { then, otherwise, .. } => {
                let bodies = code_bytes(then, machine).saturating_add(code_bytes(otherwise, machine));
                machine.instruction_bytes.saturating_add(bodies)
            }
            Instruction::Claim { body, .. } => code_bytes(body, machine),
            Instruction::Mark { .. } => 0,
            _ => machine.instruction_bytes,
        }
    }
}
