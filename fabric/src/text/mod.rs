//! The text form of a [`Program`]: terse enough to write by hand, exact enough to store.
//!
//! [`print`] and [`parse`] are each other's inverse, to the bit. Line ends mean no more than spaces. `//` starts a comment.
//! Numbers are decimal or `0x` hexadecimal; for a floating-point number the hexadecimal form gives its bits. A name that is
//! not a plain identifier stands in quotes. Ports of routers are `WEST EAST NORTH SOUTH RAMP`.
//!
//! ```text
//! program "ping-pong"
//! machine bench16                        // or: machine { RON text of a machine file }
//! grid 4x1
//!
//! param x = columns [0..=3]              // or: rows [...], pes [...]; `7 * 100` is a hundred sevens
//! operator pass mov at 0,0 size 4x1 flops 0 bytes 64
//! claim product f32 at 0,0 size 4x1 rows 1 columns 2 inner 8 block 2 left split matrix 0 slot 0 line 2 step 1 right matrix 0 slot 4 line 1 step 2
//!
//! route c0 at 0,0 size 4x1 step 2x1 { pos RAMP -> EAST; pos WEST -> RAMP EAST; start 0; ring; filter range 3..=9 }
//!
//! class worker {
//!   in q0 = c0                           // or a parameter's value: in q0 = $x
//!   out q1 = c1
//!   fifo f0 at 4096 words 64             // f0, f1, … in order
//!   buffer acc at 0 bytes 64 activation live 0..=0     // weight, activation, scratch, table
//!   task 8 main local activated {        // local | control | data q0 | teardown c3; `blocked`, `activated`
//!     mark pass                          // the operator, by name or as #0
//!     r3 = add $x, 1                     // a parameter is $name, or $#index
//!     r4 = load u16 [r3 + 64]
//!     store r4 -> u16 [@acc + 4]         // the address of a buffer is @name
//!     r5 = clock
//!     mov [@acc : f32 ; 4:4, 4] <- in q0 f32[16]         // dimensions len:stride, outermost first; the stride 1 may be left out
//!     mac out q1 f32[4] <- [0 : f32 ; 4], [16 : f32 ; 4:0], f32 1.5 async u2 then activate 9
//!     mov fifo f0 i32[4] <- i32 r3
//!     loop r1 in $x { mov null <- in q0 f32[1] }
//!     if r1 == $x { unblock 9 } else { block 9 }         // == != < <=
//!     control q1 [advance, nop] task 10 payload r3
//!     position c0 = 1
//!     claim #0 [64], [r3 + 72] -> [@acc] { }             // left and right operand, result; what the claim says of the body
//!   }
//! }
//! place worker at 0,0 size 4x1           // or by index: place #0 at ...
//!
//! const w : f32[4, 8] at 1024 origin 0,0 on 4x1 x dim 1 by 2 = base64 "…"   // or [1.0, …], or file "p" offset 0 sha256 "…"
//! result y : f32[4] at 1056 origin 0,0 on 4x1 x dim 0 by 1   // read from SRAM when all is done
//! input x : f32[4] on 4x1 x dim 0 by 1 edge WEST at 0,0 color c0
//! output y : f32[4] on 4x1 x dim 0 by 1 edge EAST at 3,0 color c1
//! ```

mod lexer;
mod number;
mod parse;
mod parse_code;
mod parse_data;
mod print;
mod print_code;

#[cfg(test)]
mod tests;

pub use parse::parse;
pub(crate) use print::direction_name;
pub use print::print;

#[cfg(doc)]
use crate::program::Program;

/// Where and why a text is not a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}; expected {expected}")]
pub struct TextError {
    /// Line of the fault, from 1.
    pub line: usize,
    /// Column of the fault in characters, from 1.
    pub column: usize,
    /// What is there.
    pub message: String,
    /// What could stand there instead.
    pub expected: String,
}

/// Whether a name can stand without quotes.
fn is_plain(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Values that a list in the text may stand for; a repetition must not fill the memory.
const MAX_LIST: usize = 1 << 26;
