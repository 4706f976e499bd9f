//! Text in, text out.

use super::{parse, print};

/// One of everything, in the printer's own spelling.
const ALL: &str = r#"program "all"
machine bench16
grid 4x1

param x = columns [0..=3]
param "odd name" = pes [7 * 4]
operator pass mov at 0,0 size 4x1 flops 0 bytes 64
claim product f16 at 0,0 size 4x1 rows 2 columns 3 inner 7 block 2 left split matrix 4 slot 0 line 2 step 1 right matrix 24 slot 6 line 1 step 3 batch 2 by 1, 0 batch 3 by 2, 1
claim column_sums f32 at 1,0 size 2x1 rows 1 columns 1 inner 1 block 1 left split matrix 0 slot 0 line 1 step 1 right split matrix 0 slot 0 line 1 step 1
route c0 at 0,0 size 4x1 step 2x1 { pos RAMP -> EAST; pos WEST -> EAST RAMP; start 1; ring; filter range 3..=9 }
route c1 at 0,0 size 1x1 { pos WEST -> none; filter count first 1 pass 2 period 4 }

class worker {
  in q0 = c0
  out q1 = $x
  fifo f0 at 4096 words 64
  buffer acc at 0 bytes 64 activation live 0..=0
  task 8 main local activated {
    mark pass
    r3 = add $x, 1
    r4 = load u16 [r3 + 64]
    store r4 -> u16 [@acc + 4]
    r5 = clock
    mov [@acc : f32 ; 4:4, 4] <- in q0 f32[16]
    mac out q1 f32[4] <- [128 : f32 ; 4], [$"odd name" - 16 : f32 ; 4:0], f32 1.5 async u2 then activate 9
    mov null <- f16 -0.0
    mov null <- bf16 1.5
    mov [@acc : cb16 ; 4] <- cb16 -inf
    mov fifo f0 i32[4] <- i32 r3
    loop r1 in $x {
      add null <- in q0 f32[1], f32 0x7fc00001
    }
    if r1 <= -2 {
      unblock 9
    } else {
      block 9
      activate 9
    }
    control q1 [advance, nop] task 10 payload r3
    position c0 = 1
    mark pass + r3
    claim #1 [@acc], [r3 + 16] -> [$x - 4] {
      mark pass
    }
  }
  task 9 "the end" teardown c3 blocked {
  }
}
place worker at 0,0 size 4x1
const w : f16[2, 2] at 1024 origin 0,0 on 4x1 x dim 1 by 1 = [1.0, -inf, 0x7e01, 6e-8]
const b : bf16[3] at 1032 origin 0,0 on 1x1 = [3.3895314e38, 0x7fc1, -9.1835e-41]
const c : cb16[3] at 1040 origin 0,0 on 1x1 = [4290773000.0, 0x7f01, 1.8189894e-12]
const v : u16[] at 1028 origin 0,0 on 1x1 = file "v.bin" offset 3 sha256 "00"
input x : f32[4] on 4x1 x dim 0 by 1 edge WEST at 0,0 color c0
output y : f32[4] on 4x1 x dim 0 by 1 edge EAST at 3,0 color c1
result z : f16[4, 2] at 1024 origin 1,0 on 2x1 x dim 0 by 2
"#;

#[test]
fn one_of_everything_prints_as_it_was_written() {
    let program = parse(ALL).unwrap_or_else(|e| panic!("{e}"));
    let printed = print(&program);
    // The printer gives every digit of a half-precision number.
    assert_eq!(printed.replace("5.9604645e-8", "6e-8"), ALL);
    assert_eq!(parse(&printed).expect("own text"), program);
}

#[test]
fn the_example_of_the_documentation_parses() {
    let source = include_str!("mod.rs");
    let example: String = source
        .lines()
        .skip_while(|l| *l != "//! ```text")
        .skip(1)
        .take_while(|l| *l != "//! ```")
        .map(|l| l.trim_start_matches("//!").replace("base64 \"…\"", "base64 \"AAAA\"") + "\n")
        .collect();
    let program = parse(&example).unwrap_or_else(|e| panic!("{e}\n{example}"));
    assert_eq!(parse(&print(&program)).expect("own text"), program);
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let cases = [
        ("program p\nmachine bench17", "line 2, column 9", "bench16"),
        ("program p machine bench16 grid 4", "line 1, column 32", "4x1"),
        ("program p machine bench16 grid 4x1\nplace w at 0,0", "line 2, column 7", "class"),
        ("program p machine bench16 grid 4x1\nclass w {\n  task 1 a local {\n    frob 3\n", "line 4, column 5", "mov"),
        ("program p machine bench16 grid 4x1\nclass w {\n  fifo f1 at 0 words 1", "line 3, column 8", "f0"),
        ("program p machine bench16 grid 4x1 param x = rows [0 * 99999999999]", "line 1, column 52", "at most"),
        ("program p machine {\n  (name: 3)\n} grid 1x1", "line 2", "RON"),
        ("program \"p", "line 1, column 9", "quote"),
    ];
    for (text, place, expected) in cases {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.starts_with(place) && error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn names_that_stand_for_two_things_are_printed_as_indices() {
    let text = "program p machine bench16 grid 1x1 param a = rows [1] param a = rows [2]\n\
                class w { task 1 t local { r0 = add $#1, $#7 mark #3 } } class w { } place #1 at 0,0";
    let program = parse(text).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(parse(&print(&program)).expect("own text"), program);
    assert!(parse(&text.replace("$#1", "$a")).expect_err("two of them").to_string().contains("several"));
}

#[test]
fn endless_nesting_is_refused() {
    let deep = "if 0 == 0 { ".repeat(100_000);
    let text = format!("program p machine bench16 grid 1x1 class w {{ task 1 t local {{ {deep}");
    assert!(parse(&text).expect_err("too deep").to_string().contains("too deep"));
}

#[test]
fn a_machine_that_is_not_built_in_is_printed_in_full() {
    let mut program = parse(ALL).unwrap_or_else(|e| panic!("{e}"));
    program.machine.name = "my \"own\" } machine".into();
    program.machine.clock_hz = 0.1 + 0.2;
    assert_eq!(parse(&print(&program)).unwrap_or_else(|e| panic!("{e}\n{}", print(&program))), program);
}
