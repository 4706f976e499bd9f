//! Long streams that meet, stop and go on: nodes that do the same in every cycle are not visited, which must not be seen.
//!
//! A program with a control wavelet that starts a task is simulated node by node and element by element: one that would
//! send it, but never does, has to end as the same program without, in the same cycles and with the same counters.

mod common;

use common::program;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use waferloom_fabric::{HostTensor, PortKind, Program, verify};
use waferloom_simulator::{Engine, Options, simulate};

/// More cycles than any of the programs takes.
const LIMIT: u64 = 20_000;

/// Words of a stream that the host sends and gets back.
const HOST_WORDS: u32 = 150;

/// A stream of up to 120 elements, in parts, with pauses before each part: (elements, pause).
fn parts() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((1..60u32, prop_oneof![2 => Just(0), 1 => 1..90u32]), 1..3)
}

/// What a PE does for one part of a stream: `instruction` with `N` for the number of elements.
fn spread(parts: &[(u32, u32)], instruction: &str) -> String {
    let part = |&(n, pause): &(u32, u32)| {
        let pause = if pause == 0 { String::new() } else { format!("loop r1 in {pause} {{ r2 = add r2, 1 }}\n") };
        format!("{pause}{}\n", instruction.replace('N', &n.to_string()))
    };
    parts.iter().map(part).collect()
}

/// The same number of elements in other parts.
fn split_anew(parts: &[(u32, u32)], at: u32, pause: u32) -> Vec<(u32, u32)> {
    let all = parts.iter().map(|&(n, _)| n).sum::<u32>();
    let first = 1 + at % all;
    if first == all { vec![(all, pause)] } else { vec![(first, 0), (all - first, pause)] }
}

/// A stream through some PEs: senders, those between and receivers each cut it into parts of their own.
fn stream() -> impl Strategy<Value = String> {
    let cuts = (any::<u8>(), 0..60u32, any::<u8>(), 0..60u32);
    let sums = ["add", "sub", "max"];
    (0..6u32, parts(), cuts, prop::sample::select(sums.to_vec()), any::<bool>()).prop_map(
        |(kind, parts, (cut, pause, other_cut, other_pause), sum, memory)| {
            let between = split_anew(&parts, cut.into(), pause);
            let end = split_anew(&parts, other_cut.into(), other_pause);
            let from = if memory { "[0 : f32 ; N]" } else { "f32 1.5" };
            let send = |queue: u32, then: &str| spread(&parts, &format!("mov out q{queue} f32[N] <- {from}{then}"));
            match kind {
                // Along a row from PE to PE; between them the sum of what comes and of memory.
                0 | 1 => format!(
                    "if $x == 0 {{ {} }} else {{ if $last == 1 {{ {} }} else {{ {} }} }}",
                    send(0, ""),
                    spread(&end, "mov [512 : f32 ; N] <- in q0 f32[N]"),
                    spread(&between, &format!("{sum} out q0 f32[N] <- in q0 f32[N], {from}")),
                ),
                // Down a column to all of its PEs.
                2 | 3 => format!(
                    "if $y == 0 {{ {} }} else {{ {} }}",
                    send(2, if kind == 2 { " async u0" } else { "" }),
                    spread(&end, &format!("{sum} [512 : f32 ; N] <- in q2 f32[N], {from}")),
                ),
                // Past all others of a row to its last PE.
                4 => format!(
                    "if $x == 0 {{ {} }} else {{ }}\nif $last == 1 {{ {} }} else {{ }}",
                    send(3, " async u1"),
                    spread(&end, "mov [512 : f32 ; N] <- in q3 f32[N]"),
                ),
                // Each PE for itself.
                _ => {
                    spread(&parts, &format!("mov out q4 f32[N] <- {from} async u2"))
                        + &spread(&end, "mov [512 : f32 ; N] <- in q4 f32[N]")
                }
            }
        },
    )
}

/// A program on up to 6 x 4 PEs, each of which does its part of some streams.
fn streams() -> impl Strategy<Value = String> {
    let steps = prop::collection::vec(stream(), 1..6);
    (2..7u32, 2..5u32, steps, any::<bool>()).prop_map(|(width, height, steps, host)| {
        let last = width - 1;
        let columns = |value: &dyn Fn(u32) -> u32| {
            (0..width).map(|x| value(x).to_string()).collect::<Vec<_>>().join(", ")
        };
        let rows: Vec<String> = (0..height).map(|y| y.to_string()).collect();
        let mut text = format!(
            "program streams machine bench16 grid {width}x{height}
param x = columns [{}] param y = rows [{}] param last = columns [{}]
param from = columns [{}] param to = columns [{}]
route c4 at 0,0 size {width}x{height} {{ pos RAMP -> RAMP }}
route c3 at 0,0 size 1x{height} {{ pos RAMP -> EAST }} route c3 at {last},0 size 1x{height} {{ pos WEST -> RAMP }}
route c2 at 0,0 size {width}x1 {{ pos RAMP -> SOUTH }}
route c2 at 0,{} size {width}x1 {{ pos NORTH -> RAMP }}\n",
            columns(&|x| x),
            rows.join(", "),
            columns(&|x| u32::from(x == last)),
            columns(&|x| (x + 1) % 2),
            columns(&|x| x % 2),
            height - 1,
        );
        if width > 2 {
            let _ = writeln!(text, "route c3 at 1,0 size {}x{height} {{ pos WEST -> EAST }}", width - 2);
        }
        if height > 2 {
            let _ =
                writeln!(text, "route c2 at 0,1 size {width}x{} {{ pos NORTH -> SOUTH RAMP }}", height - 2);
        }
        for x in 0..last {
            // PE x sends to x + 1.
            let _ = writeln!(text, "route c{} at {x},0 size 1x{height} {{ pos RAMP -> EAST }}", x % 2);
            let _ = writeln!(text, "route c{} at {},0 size 1x{height} {{ pos WEST -> RAMP }}", x % 2, x + 1);
        }
        let (mut echo, mut ports) = (String::new(), String::new());
        if host {
            // From the west over the first PE of each row and back to the west.
            let _ = writeln!(text, "route c8 at 0,0 size 1x{height} {{ pos WEST -> RAMP }}");
            let _ = writeln!(text, "route c9 at 0,0 size 1x{height} {{ pos RAMP -> WEST }}");
            echo = format!(
                "if $x == 0 {{ mul out q5 f32[{HOST_WORDS}] <- in q5 f32[{HOST_WORDS}], f32 0.5 }} else {{ }}"
            );
            ports = format!(
                "input in : f32[{height}, {HOST_WORDS}] on 1x{height} y dim 0 by 1 edge WEST at 0,0 color c8
output out : f32[{height}, {HOST_WORDS}] on 1x{height} y dim 0 by 1 edge WEST at 0,0 color c9"
            );
        }
        let _ = write!(
            text,
            "class w {{ in q0 = $from in q2 = c2 in q3 = c3 in q4 = c4 {} out q0 = $to out q2 = c2 out q3 = c3 out q4 = c4 {}
buffer all at 0 bytes 1024 scratch
task 8 main local activated {{ loop r1 in $x {{ add [0 : f32 ; 128] <- [0 : f32 ; 128], f32 0.125 }}
{}
{echo} }}
}}
place w at 0,0 size {width}x{height}
{ports}
const w : f32[128] at 0 origin 0,0 on {width}x{height} = [{}]",
            if host { "in q5 = c8" } else { "" },
            if host { "out q5 = c9" } else { "" },
            steps.join("\n"),
            (0..128).map(|i| format!("{:?}", i as f32 * 0.75 - 40.0)).collect::<Vec<_>>().join(", "),
        );
        for (x, y) in (0..width).flat_map(|x| (0..height).map(move |y| (x, y))) {
            let _ = write!(text, "\nresult y{x}_{y} : i32[256] at 0 origin {x},{y} on 1x1");
        }
        text
    })
}

/// The cycles of the ramp, of a hop and of the start of an instruction, and the depth of routers' queues.
fn machines() -> impl Strategy<Value = (u32, u32, u32, u16)> {
    prop_oneof![Just((2, 1, 6, 4)), (0..4u32, 1..4u32, 0..8u32, 1..7u16)]
}

/// The whole outcome as text.
fn outcome(program: &Program, threads: usize) -> String {
    let words = program.ports.iter().filter(|p| p.kind == PortKind::Input).map(|port| {
        let shape: Vec<usize> = port.distribution.shape.iter().map(|&n| n as usize).collect();
        let values = (0..port.distribution.elements()).map(|i| i as f32 * 0.5 - 9.0).collect();
        (port.name.clone(), HostTensor::f32(&shape, values))
    });
    let options = Options { threads, engine: Engine::Wavelet, max_cycles: Some(LIMIT), ..Options::default() };
    match simulate(program, &words.collect::<BTreeMap<_, _>>(), &options) {
        Ok(run) => format!("{run:?}"),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn nodes_that_are_not_visited_do_what_visited_ones_do() {
    let mut runner = TestRunner::new_with_rng(
        Config { cases: Config::default().cases.max(300), failure_persistence: None, ..Config::default() },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let done = Cell::new(0);
    let result = runner.run(&(streams(), machines()), |(text, (ramp, hop, startup, depth))| {
        let never = "task 14 never local { control q4 [nop] task 12 payload 0 } task 12 command control { }";
        let visited = text.replace("\n}\nplace w", &format!("\n{never}\n}}\nplace w"));
        let [program, visited] = [&text, &visited].map(|text| {
            let mut program = program(text);
            let machine = &mut program.machine;
            (machine.ramp_cycles, machine.hop_cycles) = (ramp, hop);
            (machine.vector_startup_cycles, machine.router_queue_depth) = (startup, depth);
            program
        });
        prop_assert_ne!(&program, &visited);
        prop_assert!(!verify(&program).has_errors(), "{}\n{}", verify(&program), text);
        let expected = outcome(&visited, 1);
        for threads in 1..4 {
            prop_assert_eq!(&outcome(&program, threads), &expected, "{} threads\n{}", threads, text);
        }
        done.set(done.get() + u32::from(!expected.starts_with("error")));
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
    println!("{} done", done.get());
    assert!(done.get() >= 200, "only {} came to their end", done.get());
}

/// PE (1, 0) sends 100 words down to (1, 1) in two parts, while 400 words pass it on their way from (0, 0) to (2, 0). Between the
/// parts its PE is busy, and its router may flow on for the words that pass: its neighbour below has to see that
/// nothing comes any more, whenever that is.
#[test]
fn a_node_may_stop_one_stream_while_another_one_flows_on() {
    for first in 1..=60 {
        let text = format!(
            "program p machine bench16 grid 3x2
param x = columns [0, 1, 2] param y = rows [0, 1]
route c2 at 1,0 {{ pos RAMP -> SOUTH }} route c2 at 1,1 {{ pos NORTH -> RAMP }}
route c3 at 0,0 {{ pos RAMP -> EAST }} route c3 at 1,0 {{ pos WEST -> EAST }} route c3 at 2,0 {{ pos WEST -> RAMP }}
class w {{ in q2 = c2 in q3 = c3 out q2 = c2 out q3 = c3 buffer all at 0 bytes 2048 scratch
task 8 main local activated {{
if $y == 0 {{
if $x == 0 {{ mov out q3 f32[400] <- f32 1.5 }} else {{ }}
if $x == 1 {{ mov out q2 f32[{first}] <- f32 2.5 mov [0 : f32 ; 90] <- f32 1.0 mov out q2 f32[{}] <- f32 2.5 }} else {{ }}
if $x == 2 {{ mov [0 : f32 ; 400] <- in q3 f32[400] }} else {{ }}
}} else {{ if $x == 1 {{ mov [0 : f32 ; 100] <- in q2 f32[100] }} else {{ }} }} }} }}
place w at 0,0 size 3x2
result passed : f32[401] at 0 origin 2,0 on 1x1
result below : f32[101] at 0 origin 1,1 on 1x1",
            100 - first
        );
        let run = common::run(&text);
        // West, east, north, south, down the ramp; row by row.
        let links = [[0, 400, 0, 0, 0], [0, 400, 0, 100, 0], [0, 0, 0, 0, 400], [0; 5], [0, 0, 0, 0, 100], [0; 5]];
        assert_eq!((&run.links[..], run.leftover_wavelets), (&links[..], 0), "{first}");
        let words = |count: usize, word: f32| [vec![word; count], vec![0.0]].concat();
        assert_eq!(common::floats(&run, "passed"), words(400, 1.5));
        assert_eq!(common::floats(&run, "below"), words(100, 2.5));
    }
}
