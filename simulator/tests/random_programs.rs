//! Random programs: none makes the engine panic, all end or say why not, and host threads change nothing.

mod common;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use waferloom_fabric::text::parse;
use waferloom_fabric::{Extent, HostTensor, Port, PortKind, Program, Region, verify};
use waferloom_simulator::{Engine, Method, Options, Run, SimulateError, simulate};

/// Cycles after which a random program is stopped.
const LIMIT: u64 = 3000;

/// Inputs of zeros and small numbers for every input port.
fn inputs(program: &Program) -> BTreeMap<String, HostTensor> {
    let tensor = |port: &Port| {
        let shape: Vec<usize> = port.distribution.shape.iter().map(|&n| n as usize).collect();
        let count = port.distribution.elements();
        if port.dtype.is_float() {
            HostTensor::f32(&shape, (0..count).map(|i| (i % 17) as f32 - 8.0).collect())
        } else {
            HostTensor::i64(&shape, (0..count).map(|i| (i % 23) as i64).collect())
        }
    };
    program.ports.iter().filter(|p| p.kind == PortKind::Input).map(|p| (p.name.clone(), tensor(p))).collect()
}

/// The whole outcome as text, so that NaNs equal themselves.
fn outcome(program: &Program, inputs: &BTreeMap<String, HostTensor>, threads: usize) -> (String, Kind) {
    let options = Options { threads, max_cycles: Some(LIMIT), ..Options::default() };
    match simulate(program, inputs, &options) {
        Ok(run) => (format!("{run:?}"), Kind::Done),
        Err(e) => (e.to_string(), kind(&e)),
    }
}

fn kind(error: &SimulateError) -> Kind {
    match error {
        SimulateError::Deadlock { .. } => Kind::Deadlock,
        SimulateError::Fault { .. } => Kind::Fault,
        SimulateError::CycleLimit { .. } => Kind::Limit,
        _ => Kind::Refused,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Done,
    Deadlock,
    Fault,
    Limit,
    Refused,
}

/// A choice of one of some strings.
fn one_of(choices: &[&str]) -> BoxedStrategy<String> {
    proptest::sample::select(choices.iter().map(ToString::to_string).collect::<Vec<_>>()).boxed()
}

/// Lengths: mostly small, some from registers and parameters.
fn length() -> BoxedStrategy<String> {
    prop_oneof![6 => (0..9u32).prop_map(|n| n.to_string()), 1 => Just("40".into()), 1 => one_of(&["r2", "$x", "$y"])]
        .boxed()
}

fn value() -> BoxedStrategy<String> {
    // Those around 1024 lead out of memory as addresses.
    prop_oneof![4 => (-9..99i32).prop_map(|n| n.to_string()), 1 => (990..1100i32).prop_map(|n| n.to_string()), 3 => one_of(&["r0", "r1", "r2", "$x", "$y"])].boxed()
}

/// Memory of `n` elements; the last ones may fault, or be refused.
fn memory(n: &str) -> BoxedStrategy<String> {
    let n = n.to_string();
    let base = one_of(&["0", "64", "@all + 400", "@all + 600", "r3", "r2 + 40"]);
    let dtype = one_of(&["f32", "f32", "i32", "f16", "bf16", "cb16", "u16"]);
    let stride = one_of(&["", "", ":2", ":0", ":$y", ":$x"]);
    (base, dtype, stride).prop_map(move |(base, dtype, stride)| format!("[{base} : {dtype} ; {n}{stride}]")).boxed()
}

fn source(n: &str) -> BoxedStrategy<String> {
    let n = n.to_string();
    prop_oneof![
        40 => memory(&n),
        1 => (0..3u32, one_of(&["f32", "i32", "f16", "bf16", "cb16"])).prop_map(move |(q, dtype)| format!("in q{q} {dtype}[{n}]")),
        12 => one_of(&["f32 1.5", "i32 3", "i32 r0", "f32 nan", "bf16 -0.1", "cb16 1e9", "u16 $x"]),
    ]
    .boxed()
}

fn destination(n: &str) -> BoxedStrategy<String> {
    let (out, fifo) = (n.to_string(), n.to_string());
    prop_oneof![
        30 => memory(n),
        // The own loop: on the lines only the roots can send (see `program`).
        1 => Just(format!("out q2 f32[{out}]")),
        1 => Just(format!("fifo f0 i32[{fifo}]")),
        4 => Just("null".to_string()),
    ]
    .boxed()
}

fn vector() -> BoxedStrategy<String> {
    let asynchronous = one_of(&["", "", "", " async u0", " async u1 then activate 9", " async u2 then unblock 10"]);
    (length(), asynchronous)
        .prop_flat_map(|(n, asynchronous)| {
            let one = (one_of(&["mov", "neg", "abs", "round"]), destination(&n), source(&n))
                .prop_map(|(op, dst, a)| format!("{op} {dst} <- {a}"));
            let two = (one_of(&["add", "sub", "mul", "max", "min", "lt"]), destination(&n), source(&n), source(&n))
                .prop_map(|(op, dst, a, b)| format!("{op} {dst} <- {a}, {b}"));
            let three = (destination(&n), memory(&n), source(&n), source(&n))
                .prop_map(|(dst, a, b, c)| format!("mac {dst} <- {a}, {b}, {c}"));
            prop_oneof![3 => one, 2 => two, 1 => three].prop_map(move |text| format!("{text}{asynchronous}"))
        })
        .boxed()
}

/// Sends and receptions that fit each other: along a line, in the own loop, through the FIFO.
fn exchange() -> BoxedStrategy<String> {
    let line = |position: &'static str, q: u32| {
        (0..9u32, memory("8"), one_of(&["", " async u3"])).prop_map(move |(n, to, asynchronous)| {
            let to = to.replace("; 8", &format!("; {n}"));
            format!(
                "if {position} == 0 {{ mov out q{q} f32[{n}] <- f32 2.5{asynchronous} }} else {{ mov {to} <- in q{q} f32[{n}] }}"
            )
        })
    };
    let own = (0..12u32, memory("8")).prop_map(|(n, to)| {
        format!("mov out q2 i32[{n}] <- i32 r1 add {} <- in q2 i32[{n}], i32 4", to.replace("; 8", &format!("; {n}")))
    });
    let fifo = (0..9u32, value())
        .prop_map(|(n, v)| format!("mov fifo f0 i32[{n}] <- i32 {v} async u4 mov null <- fifo f0 i32[{n}]"));
    prop_oneof![3 => line("$x", 0), 2 => line("$y", 1), 2 => own, 2 => fifo].boxed()
}

fn body(depth: u32) -> BoxedStrategy<String> {
    let simple = prop_oneof![
        6 => vector(),
        4 => exchange(),
        2 => (0..4u32, one_of(&["add", "mul", "div", "shl", "and"]), value(), value())
            .prop_map(|(r, op, a, b)| format!("r{r} = {op} {a}, {b}")),
        1 => one_of(&["r3 = load u16 [@all + 2]", "store r1 -> i32 [r3]", "r1 = clock", "mark step"]),
        1 => one_of(&["activate 9", "block 9", "unblock 9", "activate 10", "unblock 10"]),
        1 => one_of(&[
            "if $x == 0 { control q0 [nop] } else { }",
            "if $x == 0 { control q0 [nop, advance] mov out q0 i32[2] <- i32 7 } else { }",
            "if $y == 0 { control q1 [advance] task 12 payload r0 } else { }",
            "control q2 [nop] task 12 payload 5",
            "if $x == 0 { control q0 [nop, teardown] } else { }",
            "position c0 = 0",
        ]),
    ]
    .boxed();
    let instruction = if depth == 0 {
        simple
    } else {
        let inner = body(depth - 1);
        let (a, b) = (inner.clone(), inner.clone());
        prop_oneof![
            6 => simple,
            2 => (one_of(&["$x == 0", "$y == 0", "r1 < 3", "$x != 1"]), a, b)
                .prop_map(|(condition, a, b)| format!("if {condition} {{ {a} }} else {{ {b} }}")),
            1 => (value(), inner).prop_map(|(n, body)| format!("loop r1 in {n} {{ {body} }}")),
        ]
        .boxed()
    };
    proptest::collection::vec(instruction, 0..5).prop_map(|lines| lines.join("\n")).boxed()
}

/// A mesh of up to 3 x 3 PEs: c0 is broadcast along rows, c1 along columns, c2 is each PE's own loop; c8 and c9 are the host's.
fn routes(width: u32, height: u32, middle: &str, filter: &str) -> String {
    let mut lines = vec![format!("route c2 at 0,0 size {width}x{height} {{ pos RAMP -> RAMP }}")];
    let row = |from: u32, count: u32| format!("at {from},0 size {count}x{height}");
    let column = |from: u32, count: u32| format!("at 0,{from} size {width}x{count}");
    lines.extend(line(0, width, ["WEST", "EAST"], &row, middle, filter));
    lines.extend(line(1, height, ["NORTH", "SOUTH"], &column, middle, filter));
    lines.join("\n")
}

/// The routes of a broadcast along a line of PEs; `part` gives the region of some of them.
fn line(
    color: u32,
    size: u32,
    [inn, out]: [&str; 2],
    part: &dyn Fn(u32, u32) -> String,
    middle: &str,
    filter: &str,
) -> Vec<String> {
    if size == 1 {
        return vec![format!("route c{color} {} {{ pos RAMP -> RAMP }}", part(0, 1))];
    }
    let middle = middle.replace("IN", inn).replace("OUT", out);
    let mut lines = vec![
        format!("route c{color} {} {{ pos RAMP -> {out} }}", part(0, 1)),
        format!("route c{color} {} {{ pos {inn} -> RAMP }}", part(size - 1, 1)),
    ];
    if size > 2 {
        lines.push(format!("route c{color} {} {{ {middle}{filter} }}", part(1, size - 2)));
    }
    lines
}

/// The text of a program; most of them pass the verifier.
fn program() -> impl Strategy<Value = String> {
    let middle = one_of(&[
        "pos IN -> OUT RAMP",
        "pos IN -> OUT RAMP; pos IN -> RAMP",
        "pos IN -> RAMP; pos IN -> OUT RAMP; ring",
        "pos RAMP -> OUT; pos IN -> RAMP OUT; start 1",
    ]);
    let filter = one_of(&["", "", "", "", "", "; filter count first 1 pass 1 period 2", "; filter range 0..=20000"]);
    // The roots of the lines send; everybody runs the rest.
    let send = |q: u32, what: &'static str| {
        (0..9u32).prop_map(move |n| format!("if {what} == 0 {{ mov out q{q} f32[{n}] <- f32 2.5 }} else {{ }}\n"))
    };
    let tasks = (body(2), body(1), body(1), body(1), body(0));
    let head = (1..4u32, 1..4u32, middle, filter, any::<bool>());
    (head, send(0, "$x"), send(1, "$y"), tasks).prop_map(|(head, row, column, tasks)| {
        let (width, height, middle, filter, data) = head;
        let (main, next, late, control, word) = tasks;
        let columns: Vec<String> = (0..width).map(|x| x.to_string()).collect();
        let rows: Vec<String> = (0..height).map(|y| y.to_string()).collect();
        let data = if data { format!("task 4 word data q3 {{ {word} }}") } else { String::new() };
        format!(
            "program random machine bench16 grid {width}x{height}
param x = columns [{}] param y = rows [{}]
operator step any at 0,0 flops 0 bytes 0
{}
route c8 at 0,0 {{ pos WEST -> RAMP }}
class w {{ in q0 = c0 in q1 = c1 in q2 = c2 in q3 = c8 out q0 = c0 out q1 = c1 out q2 = c2
fifo f0 at 1024 words 4
buffer all at 0 bytes 1024 scratch
task 8 main local activated {{ {row}{column}{main} }}
task 9 next local {{ {next} }}
task 10 late local blocked {{ {late} }}
task 12 command control {{ {control} }}
{data} }}
place w at 0,0 size {width}x{height}
input in : i32[5] on 1x1 edge WEST at 0,0 color c8",
            columns.join(", "),
            rows.join(", "),
            routes(width, height, &middle, &filter),
        )
    })
}

/// Other machines: what is 2 or 6 on the built-in ones may be 0 or 1, and the other way round.
fn machines() -> impl Strategy<Value = [u32; 6]> {
    let cycles = || proptest::sample::select(vec![0, 1, 2, 7]);
    let some = || proptest::sample::select(vec![1, 1, 3, 4]);
    prop_oneof![
        Just([2, 1, 6, 2, 4, 2]),
        (cycles(), some(), cycles(), cycles(), some(), some()).prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f]),
    ]
}

#[test]
fn random_programs_end_the_same_at_every_number_of_threads() {
    let counts: [Cell<u32>; 5] = Default::default();
    let mut runner = TestRunner::new_with_rng(
        Config { cases: Config::default().cases.max(400), failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let result = runner.run(&(program(), machines()), |(text, [ramp, hop, startup, switch, depth, reads])| {
        let mut program = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        let machine = &mut program.machine;
        (machine.ramp_cycles, machine.hop_cycles, machine.vector_startup_cycles) = (ramp, hop, startup);
        (machine.task_switch_cycles, machine.router_queue_depth, machine.sram_reads_per_cycle) =
            (switch, depth as u16, reads);
        let inputs = inputs(&program);
        let refused = verify(&program).has_errors();
        let (one, kind) = outcome(&program, &inputs, 1);
        prop_assert_eq!(refused, kind == Kind::Refused, "{}", one);
        counts[kind as usize].set(counts[kind as usize].get() + 1);
        for threads in if refused { vec![] } else { vec![2, 3] } {
            prop_assert_eq!(&one, &outcome(&program, &inputs, threads).0, "{} threads\n{}", threads, text);
        }
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
    // The test means something only as long as all kinds of ends occur.
    let counts = counts.map(|c| c.get());
    for kind in [Kind::Done, Kind::Deadlock, Kind::Fault, Kind::Limit, Kind::Refused] {
        assert!(counts[kind as usize] >= 4, "too few ended as {kind:?}: {counts:?}");
    }
}

/// A program whose control wavelets start tasks is simulated element by element: one that would send them, but never does, has
/// to end as the same program without.
#[test]
fn rows_of_elements_do_what_single_ones_do() {
    let mut runner = TestRunner::new_with_rng(
        Config { cases: Config::default().cases.max(400), failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let compared = Cell::new(0);
    let result = runner.run(&program(), |text| {
        let never = "task 14 never local { control q2 [nop] task 12 payload 0 }";
        let single = text.replace("task 12 command", &format!("{never}\ntask 12 command"));
        let [rows, single] = [&text, &single].map(|text| parse(text).map(|program| (inputs(&program), program)));
        let ((inputs, rows), (_, single)) =
            rows.and_then(|rows| Ok((rows, single?))).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        if !verify(&rows).has_errors() && !verify(&single).has_errors() {
            let [rows, single] = [rows, single].map(|program| outcome(&program, &inputs, 1));
            prop_assert_eq!(rows.1, single.1, "{}", text);
            if rows.1 == Kind::Done {
                prop_assert_eq!(rows.0, single.0, "{}", text);
                compared.set(compared.get() + u32::from(!text.contains("] task 12 payload")));
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
    assert!(compared.get() >= 50, "only {} programs may have rows", compared.get());
}

/// The program without what makes memory depend on times: instructions beside the main thread, and the clock. (Tasks that the
/// host's words start are a third race.)
fn without_races(text: &str) -> String {
    let mut parts = text.split(" async u");
    let mut calm = parts.next().unwrap_or_default().to_string();
    for part in parts {
        // " async u1", and perhaps " then activate 9".
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let rest = match rest.strip_prefix(" then ") {
            Some(then) => {
                then.trim_start_matches(|c: char| !c.is_ascii_digit()).trim_start_matches(|c: char| c.is_ascii_digit())
            }
            None => rest,
        };
        calm += rest;
    }
    calm.replace("r1 = clock", "r1 = add 1, 2")
}

/// The words of every PE's buffer, as results; numbers that a run without numerics does not know lie at its start.
fn with_results(text: &str, program: &Program) -> Program {
    let mut text = text.to_string();
    let Extent { width, height } = program.grid;
    let _ = write!(text, "\nconst w : f32[4] at 0 origin 0,0 on {width}x{height} = [0.5, -2.0, 1.0, 3.0]");
    for at in Region::all(program.grid).coords() {
        let (x, y) = (at.x, at.y);
        let _ = write!(text, "\nresult y{x}_{y} : i32[256] at 0 origin {x},{y} on 1x1");
    }
    parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

#[test]
fn both_engines_leave_the_same_memory() {
    let mut runner = TestRunner::new_with_rng(
        Config { cases: Config::default().cases.max(800), failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let counts: [Cell<u32>; 5] = Default::default();
    let (exact, done) = (Cell::new(0), Cell::new(0));
    let (refused, timed_too) = (Cell::new(0), Cell::new(0));
    let (inseparable, apart) = (Cell::new(0), Cell::new(0));
    let result = runner.run(&program(), |text| {
        let text = without_races(&text);
        if text.contains("task 4 word") {
            return Ok(());
        }
        let program = with_results(&text, &parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?);
        let inputs = inputs(&program);
        let run = |engine| {
            let run = simulate(&program, &inputs, &Options { engine, max_cycles: Some(LIMIT), ..Options::default() });
            let kind = run.as_ref().map_or_else(kind, |_| Kind::Done);
            (run.ok(), kind)
        };
        let options =
            Options { engine: Engine::Stream, max_cycles: Some(LIMIT), timing_only: true, ..Options::default() };
        let timed = simulate(&program, &inputs, &options);
        let ((wavelet, kind), (stream, other)) = (run(Engine::Wavelet), run(Engine::Stream));
        counts[kind as usize].set(counts[kind as usize].get() + 1);
        prop_assert_eq!(kind, other, "{}", text);
        // Without numbers everything is the same, or it is refused.
        match (timed, &stream) {
            (Err(error), _) if error.to_string().contains("without numerics") => refused.set(refused.get() + 1),
            (Ok(timed), Some(stream)) => {
                prop_assert_eq!(&Run { outputs: stream.outputs.clone(), ..timed }, stream, "{}", text);
                timed_too.set(timed_too.get() + 1);
            }
            (timed, _) => prop_assert!(timed.is_err() && stream.is_none(), "{}", text),
        }
        if let (Some(wavelet), Some(stream)) = (wavelet, stream) {
            prop_assert_eq!(&wavelet.outputs, &stream.outputs, "{}", text);
            let by = |method| simulate(&program, &inputs, &Options { method, timing_only: false, ..options });
            let events = by(Method::Events).ok().map(|run| run.outputs);
            prop_assert_eq!(events.as_ref(), Some(&wavelet.outputs), "event by event\n{}", text);
            match by(Method::Apart) {
                Err(SimulateError::Inseparable) => inseparable.set(inseparable.get() + 1),
                run => {
                    prop_assert!(run.is_ok_and(|run| run == stream), "time and numbers apart\n{}", text);
                    apart.set(apart.get() + 1);
                }
            }
            // A few cycles may be lost or won wherever streams meet, and these programs are short.
            let off = wavelet.cycles.abs_diff(stream.cycles);
            prop_assert!(off <= 12 + wavelet.cycles / 10, "{} and {}\n{}", wavelet.cycles, stream.cycles, text);
            done.set(done.get() + 1);
            exact.set(exact.get() + u32::from(off == 0));
        }
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
    println!("{counts:?}, {} of {} exact", exact.get(), done.get());
    println!("without numbers: {} refused, {} the same", refused.get(), timed_too.get());
    println!("apart: {}, inseparable: {}", apart.get(), inseparable.get());
    assert!(timed_too.get() >= 100, "{} refused, {} the same", refused.get(), timed_too.get());
    assert!(done.get() >= 100 && exact.get() * 10 >= done.get() * 9, "{} of {} exact", exact.get(), done.get());
}
