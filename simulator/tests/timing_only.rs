//! Runs for the time alone: what they leave out, and what they refuse.

mod common;

use common::program;
use std::collections::BTreeMap;
use waferloom_fabric::{HostData, HostTensor};
use waferloom_simulator::{Engine, Options, Run, SimulateError, simulate};

fn run(text: &str, inputs: &[(&str, HostData)], timing_only: bool) -> Result<Run, SimulateError> {
    let tensor = |data: &HostData| {
        let length = match data {
            HostData::F32(values) => values.len(),
            HostData::I64(values) => values.len(),
        };
        HostTensor { shape: vec![length], data: data.clone() }
    };
    let inputs: BTreeMap<_, _> = inputs.iter().map(|(name, data)| ((*name).to_string(), tensor(data))).collect();
    simulate(&program(text), &inputs, &Options { engine: Engine::Stream, timing_only, ..Options::default() })
}

/// Everything but the outputs is that of a run with numbers.
fn same(text: &str, inputs: &[(&str, HostData)]) -> Run {
    let with = run(text, inputs, false).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let without = run(text, inputs, true).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert!(without.outputs.is_empty());
    assert_eq!(Run { outputs: with.outputs.clone(), ..without }, with, "{text}");
    with
}

fn refused(text: &str, inputs: &[(&str, HostData)], why: &str) {
    run(text, inputs, false).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let error = run(text, inputs, true).expect_err("it needs numbers").to_string();
    assert!(error.contains(why) && error.contains("cannot be run without numerics"), "{error}");
}

/// One PE whose memory holds 1.0, 3.0, 2.0 in f32 at 0 and the integer 3 at 16.
fn single(code: &str) -> String {
    format!(
        "program p machine bench16 grid 1x1
class c {{ buffer all at 0 bytes 64 scratch task 8 main local activated {{ {code} }} }}
place c at 0,0
const w : f32[3] at 0 origin 0,0 on 1x1 = [1.0, 3.0, 2.0]
const n : i32[1] at 16 origin 0,0 on 1x1 = [3]
result y : f32[3] at 32 origin 0,0 on 1x1"
    )
}

#[test]
fn arithmetic_is_left_out_and_takes_its_time() {
    let run = same(&single("mul [32 : f32 ; 3] <- [0 : f32 ; 3], f32 2.0"), &[]);
    assert_eq!(run.outputs["y"].data, HostData::F32(vec![2.0, 6.0, 4.0]));
}

#[test]
fn integers_in_memory_are_computed() {
    // The loop turns 3 + 3 times.
    same(
        &single(
            "add [20 : i32 ; 1] <- [16 : i32 ; 1], [16 : i32 ; 1] r1 = load i32 [20] loop r2 in r1 { r3 = add r2, 1 }",
        ),
        &[],
    );
}

#[test]
fn a_number_may_pass_through_a_register() {
    let code = "r1 = load f32 [4] store r1 -> i32 [24] r2 = add r1, 0 mac [32 : f32 ; 3] <- [32 : f32 ; 3], [0 : f32 ; 3], f32 r2";
    same(&single(code), &[]);
}

#[test]
fn what_weights_decide_is_refused() {
    let cases = [
        ("r1 = load f32 [4] r1 = shr r1, 28 loop r2 in r1 { r3 = add r2, 1 }", "the length of a loop"),
        (
            "lt [20 : i32 ; 1] <- [0 : f32 ; 1], [4 : f32 ; 1] r1 = load i32 [20] if r1 == 1 { r3 = add 2, 1 }",
            "a branch",
        ),
        (
            "mov [20 : i32 ; 1] <- [4 : f32 ; 1] r1 = load i32 [20] mov [32 : f32 ; r1] <- f32 1.0",
            "the shape of an operand",
        ),
        ("r2 = load f32 [4] mov [20 : i32 ; 1] <- i32 r2 r1 = load i32 [20] if r1 == 1 { r3 = add 2, 1 }", "a branch"),
        ("mov [20 : i32 ; 1] <- [0 : i32 ; 1] r1 = load i32 [20] r1 = and r1, 4 r2 = load i32 [r1 + 8]", "an address"),
    ];
    for (code, why) in cases {
        refused(&single(code), &[], why);
    }
}

#[test]
fn integers_of_the_host_decide_as_they_do_with_numbers() {
    // The input says how many elements PE 0 sends to PE 1, which counts them by a task a word.
    let text = "program p machine bench16 grid 2x1
route c0 at 0,0 { pos WEST -> RAMP }
route c1 at 0,0 { pos RAMP -> EAST }
route c1 at 1,0 { pos WEST -> RAMP }
class first { in q0 = c0 out q2 = c1 buffer all at 0 bytes 64 scratch
  task 8 main local activated { mov [0 : i32 ; 1] <- in q0 i32[1] r1 = load i32 [0] mov out q2 VALUE } }
class second { in q1 = c1 buffer all at 0 bytes 64 scratch task 4 word data q1 { r2 = add r2, 1 store r2 -> i32 [4] } }
place first at 0,0
place second at 1,0
const w : f32[1] at 8 origin 0,0 on 1x1 = [7.0]
input n : i32[1] on 1x1 edge WEST at 0,0 color c0
result y : i32[1] at 4 origin 1,0 on 1x1";
    let count = |n| [("n", HostData::I64(vec![n]))];
    let run = same(&text.replace("VALUE", "i32[r1] <- i32 7"), &count(5));
    assert_eq!(run.outputs["y"].data, HostData::I64(vec![5]));
    // What floats that are no weights decide, too.
    same(&text.replace("VALUE", "f32[r1] <- f32 7.0"), &count(5));
    let weights = text.replace("VALUE", "f32[r1] <- [8 : f32 ; r1:0]");
    refused(&weights, &count(5), "a word that starts a task");
}

#[test]
fn a_filter_by_value_needs_values() {
    let text = "program p machine bench16 grid 2x1
route c1 at 0,0 { pos RAMP -> EAST }
route c1 at 1,0 { pos WEST -> RAMP; filter range 0..=5 }
class first { out q2 = c1 buffer all at 0 bytes 64 scratch task 8 main local activated { mov out q2 VALUE } }
class second { in q1 = c1 buffer all at 0 bytes 64 scratch task 8 main local activated { mov [0 : i32 ; 2] <- in q1 i32[2] } }
place first at 0,0
place second at 1,0
const w : f32[2] at 8 origin 0,0 on 1x1 = [0.0, 0.0]
result y : i32[2] at 0 origin 1,0 on 1x1";
    same(&text.replace("VALUE", "i32[2] <- i32 7"), &[]);
    refused(&text.replace("VALUE", "f32[2] <- [8 : f32 ; 2]"), &[], "what a filter lets through");
}

#[test]
fn what_pes_side_by_side_forward_takes_them_as_long_as_alone() {
    // Four columns, in which the PE in the middle hands on what the first one sends to the third. Those in the middle begin later and
    // later from west to east; that of some delay of the senders begins with the first wavelet, so that those east of it find
    // some there already, and take as many cycles as it does all the same.
    let wait = |cycles: usize| "r2 = add r2, 1 ".repeat(cycles);
    let middle = wait(30);
    for delay in 0..40 {
        let senders = wait(delay);
        same(
            &format!(
                "program p machine bench16 grid 4x3 param x = columns [0..=3]
route c0 at 0,0 size 4x1 {{ pos RAMP -> SOUTH }} route c0 at 0,1 size 4x1 {{ pos NORTH -> RAMP }}
route c1 at 0,1 size 4x1 {{ pos RAMP -> SOUTH }} route c1 at 0,2 size 4x1 {{ pos NORTH -> RAMP }}
class a {{ buffer all at 0 bytes 32 scratch out q2 = c0
task 8 main local activated {{ {senders} mov out q2 f32[8] <- [0 : f32 ; 8] }} }}
class b {{ in q0 = c0 out q2 = c1
task 8 main local activated {{ {middle} loop r1 in $x {{ r2 = add r1, 1 }} mov out q2 f32[8] <- in q0 f32[8] }} }}
class c {{ buffer all at 0 bytes 32 scratch in q0 = c1 task 8 main local activated {{ mov [0 : f32 ; 8] <- in q0 f32[8] }} }}
place a at 0,0 size 4x1 place b at 0,1 size 4x1 place c at 0,2 size 4x1"
            ),
            &[],
        );
    }
}
