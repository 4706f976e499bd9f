//! Every kernel on the engine, against a plain reference.

mod elements;
mod matmul;
mod movement;
mod rig;
mod rows;
mod stationary;
