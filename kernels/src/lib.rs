//! Distributed kernels as generators of PE code.
//!
//! Every kernel runs on a whole rectangle of PEs that share one body of code. A kernel function appends instructions to a
//! [`Code`]; the [`mesh`] gives the colours, queues and routes that all kernels share. Tensors are dealt to the PEs by a
//! [`Distribution`](waferloom_fabric::Distribution): each PE holds one dense tile.
//!
//! One file a kernel:
//! [`matmul`] (SUMMA), [`stationary`] (products in which only the left operand travels), [`reduce`], [`softmax`], [`normalize`], [`elementwise`] with [`functions`], [`gather`], [`attention`],
//! [`relayout`], [`edge`] (host input and output), [`handoff`] (from a rectangle to the next).

pub mod attention;
pub mod catalog;
pub mod code;
pub mod cost;
pub mod edge;
pub mod elementwise;
pub mod functions;
pub mod gather;
pub mod handoff;
pub mod line;
pub mod matmul;
pub mod mesh;
pub mod nest;
pub mod normalize;
pub mod reduce;
pub mod relayout;
pub mod softmax;
pub mod stationary;

pub use code::{Code, Reg, Tile};
pub use mesh::Mesh;
