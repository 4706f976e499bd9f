//! The contract between waferloom's compiler and its simulator.
//!
//! - [`Machine`]: the parameters of a wafer, from RON files;
//! - [`Program`]: per class of PE the code, the memory map and the queues; the routes; the constants; the host ports.
//!
//! This crate knows nothing of models or kernels. A kernel researcher can write a [`Program`] with it, or as text.

pub mod cb16;
pub mod claim;
pub mod code;
pub mod file;
mod float;
pub mod geometry;
pub mod machine;
pub mod program;
mod spec;
pub mod tensor;
pub mod text;
mod tiles;
pub mod verify;

pub use cb16::Cb16;
pub use claim::{
    Address, AllReduceClaim, Claim, ClaimBatch, ClaimKind, ClaimLine, ClaimOperand, ProductClaim, TakesClaim,
};
pub use code::{
    Async, Compare, Completion, Control, Dim, Instruction, MemDsd, Operand, ScalarOp, SwitchCommand, Task, TaskKind,
    Value, VectorOp,
};
pub use file::{FileError, PayloadError, from_bytes, read_program, to_bytes, write_program};
pub use geometry::{Coord, Direction, Extent, PortSet, Region};
pub use machine::{Machine, MachineError};
pub use program::{
    Buffer, BufferKind, Class, Color, ColorRef, ColorRoute, Constant, Fifo, Filter, Operator, Param, ParamValues,
    Payload, Placement, Port, PortKind, Position, Program, QueueBinding, Readback,
};
pub use spec::TensorSpec;
pub use tensor::{Distribution, Dtype, HostData, HostSlice, HostTensor, HostView, Split};
pub use text::TextError;
pub use tiles::Tiles;
pub use verify::{Finding, Findings, verify};
