//! The built binary on small programs and on bad input. `tests/models.rs` runs whole models.

mod bad_input;
mod kernel;
mod rig;
mod simulate;
