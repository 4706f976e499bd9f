//! The simulated machine, whatever moves its wavelets: the state of PEs and routers, the code and the numbers. Both engines
//! share it.
//!
//! - [`setup`]: from a program to the state of the fabric
//! - [`band`]: that state, of some rows
//! - [`pe`], [`router`], [`host`]: its parts
//! - [`decode`], [`steps`]: code
//! - [`operand`], [`element`], [`bulk`], [`floats`], [`numerics`]: vector instructions over memory
//! - [`unknown`]: which numbers a run for the time alone has
//! - [`collect`]: what a run gave
//! - [`stall`]: who waits for what when nothing moves any more

pub(crate) mod band;
pub(crate) mod bulk;
pub(crate) mod collect;
pub(crate) mod decode;
pub(crate) mod element;
pub(crate) mod floats;
pub(crate) mod host;
mod nest;
pub(crate) mod numerics;
pub(crate) mod operand;
pub(crate) mod pe;
pub(crate) mod router;
pub(crate) mod setup;
pub(crate) mod stall;
pub(crate) mod steps;
pub(crate) mod unknown;
