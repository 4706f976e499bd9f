//! The `stream` engine against the `wavelet` engine.

mod common;

use common::program;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use waferloom_fabric::HostTensor;
use waferloom_simulator::{Engine, Method, Options, Run, SimulateError, simulate};

fn both(text: &str, inputs: &[(&str, HostTensor)]) -> [Run; 2] {
    let program = program(text);
    let inputs: BTreeMap<_, _> = inputs.iter().map(|(name, tensor)| ((*name).to_string(), tensor.clone())).collect();
    [Engine::Wavelet, Engine::Stream].map(|engine| {
        let options = Options { engine, ..Options::default() };
        simulate(&program, &inputs, &options).unwrap_or_else(|e| panic!("{engine:?}: {e}\n{text}"))
    })
}

/// A row in which PE 0 runs `root` and the others `rest`; colour c0 is broadcast from PE 0.
fn broadcast(pes: u32, root: &str, rest: &str) -> String {
    format!(
        "program p machine bench16 grid {pes}x1
route c0 at 0,0 {{ pos RAMP -> EAST }}
route c0 at 1,0 size {}x1 {{ pos WEST -> EAST RAMP }}
route c0 at {last},0 {{ pos WEST -> RAMP }}
class root {{ out q2 = c0 buffer all at 0 bytes 40000 scratch task 8 main local activated {{ {root} }} }}
class rest {{ in q0 = c0 buffer all at 0 bytes 40000 scratch task 8 main local activated {{ {rest} }} }}
place root at 0,0
place rest at 1,0 size {last}x1
result y : f32[{elements}] at 0 origin {last},0 on 1x1",
        pes - 2,
        last = pes - 1,
        elements = 8
    )
}

#[test]
fn a_longer_instruction_than_anybody_waits_for_is_stopped() {
    let text = broadcast(3, "mov out q2 f32[2000000000] <- f32 1.5", "mov null <- in q0 f32[2000000000]");
    for method in [Method::Choose, Method::Apart] {
        let options = Options { engine: Engine::Stream, max_cycles: Some(100_000), method, ..Options::default() };
        let end = simulate(&program(&text), &BTreeMap::new(), &options);
        assert!(matches!(end, Err(SimulateError::CycleLimit { .. })), "{end:?}");
    }
}

/// A single group, a single PE: no other has to be looked at in between.
#[test]
fn code_that_nobody_waits_for_is_stopped() {
    let text = "program p machine bench16 grid 1x1
class c { task 8 main local activated { loop r1 in 2000000000 { r2 = add r1, 1 } } }
place c at 0,0";
    for method in [Method::Apart, Method::Together, Method::Events] {
        let options = Options { engine: Engine::Stream, method, ..Options::default() };
        let run = |options| simulate(&program(text), &BTreeMap::new(), &options);
        let limited = run(Options { max_cycles: Some(100_000), ..options });
        assert!(matches!(limited, Err(SimulateError::CycleLimit { .. })), "{limited:?}");
        let cancel = AtomicBool::new(true);
        let cancelled = run(Options { cancel: Some(&cancel), ..options });
        assert!(matches!(cancelled, Err(SimulateError::Cancelled { .. })), "{cancelled:?}");
    }
}

#[test]
fn who_waits_for_what_is_said_as_by_the_wavelet_engine() {
    let text = broadcast(3, "mov out q2 f32[3] <- f32 1.5", "mov null <- in q0 f32[5]");
    let [wavelet, stream] = [Engine::Wavelet, Engine::Stream].map(|engine| {
        let options = Options { engine, ..Options::default() };
        simulate(&program(&text), &BTreeMap::new(), &options).expect_err("a deadlock").to_string()
    });
    assert!(stream.contains("PE (1, 0), task main, step 0: waits for 2 more wavelets of colour c0"), "{stream}");
    let lines = |text: &str| text.lines().skip(1).map(str::to_string).collect::<Vec<_>>();
    assert_eq!(lines(&wavelet), lines(&stream));
}

#[test]
fn where_nothing_meets_the_cycles_are_the_same() {
    let texts = [
        broadcast(3, "mov out q2 f32[1] <- f32 1.5", "mov [0 : f32 ; 1] <- in q0 f32[1]"),
        broadcast(7, "mov out q2 f32[640] <- f32 1.5", "mov [0 : f32 ; 640] <- in q0 f32[640]"),
        broadcast(
            3,
            "mov out q2 f32[100] <- f32 1.5",
            "loop r1 in 149 { r2 = add r2, 1 } mov [0 : f32 ; 100] <- in q0 f32[100]",
        ),
        broadcast(
            4,
            "loop r1 in 5 { mov out q2 f32[90] <- f32 2.0 }",
            "loop r1 in 5 { add [0 : f32 ; 90] <- [0 : f32 ; 90], in q0 f32[90] }",
        ),
    ];
    for text in texts {
        let [wavelet, stream] = both(&text, &[]);
        assert_eq!(wavelet.outputs, stream.outputs);
        assert_eq!(wavelet.cycles, stream.cycles, "{text}");
        assert_eq!(wavelet.links, stream.links, "{text}");
        for (a, b) in wavelet.pes.iter().zip(&stream.pes) {
            assert_eq!((a, b.busy + b.fabric_in + b.fabric_out + b.memory + b.idle), (b, stream.cycles), "{text}");
        }
    }
}

/// What stages side by side load from one address are tables of their own, also where they say the same.
#[test]
fn tables_of_another_class_beside_are_not_those_of_a_class() {
    // Rows of the table: 5 and 5, 7 and 9; the PEs on the right give what they load.
    let text = "program p machine bench16 grid 2x2
class left { buffer all at 0 bytes 8 scratch task 8 main local activated { r1 = add 0, 0 } }
class right { buffer all at 0 bytes 8 scratch task 8 main local activated { r1 = load u16 [0] store r1 -> i32 [4] } }
place left at 0,0 size 1x2
place right at 1,0 size 1x2
const t : u16[2, 2, 2] at 0 origin 0,0 on 2x2 x dim 1 by 1 y dim 0 by 1 = [5, 0, 5, 0, 7, 0, 9, 0]
result y : i32[2, 1] at 4 origin 1,0 on 1x2 y dim 0 by 1";
    let [wavelet, stream] = both(text, &[]);
    assert_eq!([&wavelet, &stream].map(|run| common::integers(run, "y")), [[5, 9]; 2]);
    let program = program(text);
    for method in [Method::Together, Method::Apart, Method::Events] {
        let options = Options { engine: Engine::Stream, method, ..Options::default() };
        let run = simulate(&program, &BTreeMap::new(), &options).unwrap_or_else(|e| panic!("{method:?}: {e}"));
        assert_eq!(run.outputs, wavelet.outputs, "{method:?}");
    }
}

/// Without time, instructions over memory are put off, also where lengths and addresses differ from PE to PE.
#[test]
fn instructions_of_which_operands_differ_follow_each_other() {
    // PEs of a row do the same for up to 3 elements, by column, at addresses that differ by row; between them all double what they have. Those of the
    // last column have none, and none of its places is in memory.
    let text = "program p machine bench16 grid 7x3
param n = columns [3, 3, 1, 2, 2, 3, 0]
param at = rows [8, 0, 8]
param far = columns [0 * 6, 2000000]
class c { buffer all at 0 bytes 64 scratch task 8 main local activated {
r3 = add $at, $far
mov [r3 : f32 ; $n] <- f32 1.5
add [0 : f32 ; 5] <- [0 : f32 ; 5], [0 : f32 ; 5]
r1 = add r3, 4
loop r2 in 3 {
mac [r1 : f32 ; $n] <- [r3 : f32 ; $n], [0 : f32 ; $n], f32 0.5
mul [0 : f32 ; 5] <- [0 : f32 ; 5], f32 2.0
} } }
place c at 0,0 size 7x3
result y : f32[3, 35] at 0 origin 0,0 on 7x3 x dim 1 by 5 y dim 0 by 1";
    let [wavelet, stream] = both(text, &[]);
    assert_eq!(wavelet.outputs, stream.outputs);
    let options = Options { engine: Engine::Stream, method: Method::Apart, ..Options::default() };
    let apart = simulate(&program(text), &BTreeMap::new(), &options).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((apart.outputs, apart.cycles), (wavelet.outputs, stream.cycles));
}
