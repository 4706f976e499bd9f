//! The simulated machine, whatever moves its wavelets: the state of PEs and routers, the code and the numbers. Both engines
//! share it.
//!
//! - [`setup`]: from a program to the state of the fabric
//! - [`store`]: what all PEs and routers hold, side by side
//! - [`lent`]: memories that nobody has written to yet
//! - [`band`]: that state, of some rows
//! - [`pe`], [`router`], [`host`]: its parts
//! - [`decode`], [`steps`]: code
//! - [`operand`], [`element`], [`numerics`]: vector instructions, element by element
//! - [`nest`], [`compute`], [`products`], [`formats`]: those over memory whose operands have one shape, all elements at once
//! - [`bulk`], [`floats`]: any over memory, row by row
//! - [`lockstep`], [`planes`], [`abreast`]: any in PEs side by side at once
//! - [`conflicts`]: waits for memory
//! - [`unknown`]: which numbers a run for the time alone has
//! - [`collect`]: what a run gave
//! - [`stall`]: who waits for what when nothing moves any more

pub(crate) mod abreast;
pub(crate) mod band;
pub(crate) mod bulk;
pub(crate) mod collect;
pub(crate) mod compute;
pub(crate) mod conflicts;
pub(crate) mod decode;
pub(crate) mod element;
pub(crate) mod floats;
mod formats;
pub(crate) mod host;
pub(crate) mod lent;
pub(crate) mod lockstep;
pub(crate) mod nest;
pub(crate) mod numerics;
pub(crate) mod operand;
pub(crate) mod pe;
pub(crate) mod planes;
mod products;
pub(crate) mod router;
pub(crate) mod setup;
pub(crate) mod stall;
pub(crate) mod steps;
pub(crate) mod store;
pub(crate) mod unknown;
