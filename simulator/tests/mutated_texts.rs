//! Texts that somebody has spoilt: the parser, the verifier and the engine answer, and never panic.

use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use waferloom_fabric::text::{parse, print};
use waferloom_fabric::{HostTensor, PortKind, Program, verify};
use waferloom_simulator::{Options, simulate};

const SEEDS: [&str; 3] = [
    include_str!("../../examples/programs/pipeline4.wlt"),
    include_str!("../../examples/programs/reduce_chain.wlt"),
    // What the examples lack: switches, filters, FIFOs, loops, microthreads, 16-bit types, teardown.
    "program rest machine bench16 grid 3x2
param x = columns [0..=2] param y = rows [0, 1]
operator step any at 0,0 size 3x2 flops 0 bytes 0
route c0 at 0,0 size 1x2 { pos RAMP -> EAST; pos EAST -> RAMP }
route c0 at 1,0 size 1x2 { pos WEST -> EAST RAMP; pos RAMP -> WEST EAST; pos EAST -> WEST RAMP }
route c0 at 2,0 size 1x2 { pos WEST -> RAMP; pos RAMP -> WEST; ring; filter range 0..=65535 }
route c1 at 0,0 size 3x1 { pos NORTH -> RAMP; filter count first 0 pass 3 period 3 }
route c2 at 0,0 size 3x1 { pos RAMP -> NORTH }
route c2 at 0,1 size 3x1 { pos RAMP -> SOUTH }
class w { in q0 = c0 in q1 = c1 out q2 = c0 out q3 = c2
  fifo f0 at 256 words 8
  buffer a at 0 bytes 128 activation live 0..=0
  buffer b at 128 bytes 128 table
  task 8 main local activated { mark step
    loop r1 in 3 {
      if r1 == $x {
        mov out q2 f32[4] <- [@b : f32 ; 4] async u1 then activate 9
        control q2 [advance, advance, nop] task 12 payload r1
      } else { mov [@a : f32 ; 2:2, 2] <- in q0 f32[4] }
    }
    mac [@a : f32 ; 4:0, 3] <- [@a : f32 ; 4:0, 3], [@b : f16 ; 4, 3:0], f32 1.5
    r2 = load u16 [@a + 2] store r2 -> i32 [@b] r3 = clock
    mov fifo f0 i32[2] <- [@b : i32 ; 2] mov out q3 i32[2] <- fifo f0 i32[2] }
  task 9 sent local { unblock 10 activate 10 position c0 = 0 }
  task 10 last local blocked { r4 = shl r3, 2 }
  task 12 word control { r5 = add r0, 1 }
  task 20 closed teardown c0 { position c0 = 0 }
  task 4 given data q1 { r6 = max r6, r0 } }
place w at 0,0 size 3x2
const b : f16[3, 8] at 128 origin 0,0 on 3x1 x dim 0 by 1 = [0.5 , 1.0, -2.0, inf, 0x7e01, 6e-8, 7.0, 8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
input x : u16[3, 6] on 3x1 x dim 0 by 1 edge NORTH at 0,0 color c1
output y : i32[3, 2] on 3x1 x dim 0 by 1 edge NORTH at 0,0 color c2
output z : i32[3, 2] on 3x1 x dim 0 by 1 edge SOUTH at 0,1 color c2",
];

/// The pieces of a text: words, numbers, symbols, blanks.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for c in text.chars() {
        let joins = |piece: &String| {
            let last = piece.chars().last();
            c.is_alphanumeric() && last.is_some_and(char::is_alphanumeric) || c == ' ' && last == Some(' ')
        };
        match pieces.last_mut() {
            Some(piece) if joins(piece) => piece.push(c),
            _ => pieces.push(c.into()),
        }
    }
    pieces
}

/// One change, steered by two random numbers.
fn mutate(pieces: &mut Vec<String>, what: u32, at: prop::sample::Index, other: prop::sample::Index) {
    const NUMBERS: [&str; 18] = [
        "0",
        "1",
        "2",
        "3",
        "5",
        "7",
        "8",
        "15",
        "16",
        "17",
        "24",
        "64",
        "255",
        "4095",
        "65535",
        "65536",
        "2147483647",
        "4294967295",
    ];
    if pieces.is_empty() {
        return;
    }
    let (i, j) = (at.index(pieces.len()), other.index(pieces.len()));
    let number = |piece: &String| piece.chars().all(|c| c.is_ascii_digit());
    match what {
        // A number somewhere behind `at`, most of all: such texts still parse.
        0..=5 => {
            if let Some(piece) = pieces.iter_mut().skip(i).find(|p| number(p)) {
                *piece = NUMBERS[other.index(NUMBERS.len())].into();
            }
        }
        6 => {
            pieces.remove(i);
        }
        7 => pieces[i] = pieces[j].clone(),
        8 => pieces.swap(i, j),
        9 => pieces.truncate(i),
        10 => pieces[i].push(['"', '{', '-', 'é', '\0', '@', '}'][other.index(7)]),
        // A piece for another of its kind.
        _ => {
            let words: Vec<&str> = vec![
                "WEST", "EAST", "NORTH", "SOUTH", "RAMP", "local", "control", "data", "blocked", "ring", "f16", "bf16",
                "cb16", "u16", "q0", "q1", "c0", "c1", "c2", "r1", "teardown", "advance", "reset", "in", "out", "null",
                "x", "y",
            ];
            if let Some(piece) = pieces.iter_mut().skip(i).find(|p| p.len() > 1 && !number(p)) {
                *piece = words[other.index(words.len())].into();
            }
        }
    }
}

fn inputs(program: &Program) -> BTreeMap<String, HostTensor> {
    let tensor = |port: &waferloom_fabric::Port| {
        let shape: Vec<usize> = port.distribution.shape.iter().map(|&n| n as usize).collect();
        let count = port.distribution.elements();
        if port.dtype.is_float() {
            HostTensor::f32(&shape, vec![1.5; count])
        } else {
            HostTensor::i64(&shape, vec![3; count])
        }
    };
    program.ports.iter().filter(|p| p.kind == PortKind::Input).map(|p| (p.name.clone(), tensor(p))).collect()
}

#[test]
fn spoilt_texts_are_answered() {
    let [parsed, sound, ran] = [Cell::new(0u32), Cell::new(0u32), Cell::new(0u32)];
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        ProptestConfig {
            cases: ProptestConfig::default().cases.max(1500),
            failure_persistence: None,
            ..ProptestConfig::default()
        },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let change = (0..12u32, any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let strategy = (0..SEEDS.len(), prop::collection::vec(change, 1..4));
    let result = runner.run(&strategy, |(seed, changes)| {
        let mut pieces = pieces(SEEDS[seed]);
        for (what, at, other) in changes {
            mutate(&mut pieces, what, at, other);
        }
        let Ok(program) = parse(&pieces.concat()) else { return Ok(()) };
        parsed.set(parsed.get() + 1);
        let printed = print(&program);
        let again = parse(&printed).map_err(|e| TestCaseError::fail(format!("{e}\n{printed}")))?;
        prop_assert_eq!(print(&again), printed);
        if verify(&program).has_errors() {
            return Ok(());
        }
        sound.set(sound.get() + 1);
        // Large tensors only take time.
        if program.ports.iter().all(|p| p.distribution.elements().max(p.distribution.tile_elements()) < 1 << 18) {
            let options = Options { max_cycles: Some(2000), ..Options::default() };
            ran.set(ran.get() + u32::from(simulate(&program, &inputs(&program), &options).is_ok()));
        }
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
    let counts = (parsed.get(), sound.get(), ran.get());
    assert!(counts.0 > 300 && counts.1 > 100 && counts.2 > 30, "too few texts get far enough: {counts:?}");
}

#[test]
fn the_seeds_themselves_run() {
    for seed in SEEDS {
        let program = parse(seed).unwrap_or_else(|e| panic!("{e}"));
        let found = verify(&program);
        assert!(!found.has_errors(), "{found}");
    }
}
