//! The `stream` engine against the `wavelet` engine on every kernel, with what claims say of its numbers and without.

use super::estimates::SWEEPS;
use super::instance;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};
use waferloom_simulator::{Claims, Engine, Method, Options, Run, SimulateError, simulate};

#[test]
fn engines_agree_on_every_kernel() {
    let mut wrong = Vec::new();
    for (name, settings) in SWEEPS.iter().flat_map(|(name, list)| list.iter().map(move |s| (name, s))) {
        let instance = instance(name, settings).unwrap_or_else(|e| panic!("{name} {settings}: {e}"));
        let run = |engine, method| {
            let options = Options { engine, method, claims: Claims::Check, ..Options::default() };
            simulate(&instance.program, &instance.inputs, &options)
        };
        let done = |run: Result<Run, SimulateError>| run.unwrap_or_else(|e| panic!("{name} {settings}: {e}"));
        let wavelet = done(run(Engine::Wavelet, Method::Choose));
        let [stream, events] = [Method::Together, Method::Events].map(|method| done(run(Engine::Stream, method)));
        match run(Engine::Stream, Method::Apart) {
            Err(SimulateError::Inseparable) if has_no_groups(name, settings) => {}
            run => assert_eq!(done(run), stream, "{name} {settings}: apart"),
        }
        for run in [&stream, &events] {
            assert_eq!(wavelet.outputs, run.outputs, "{name} {settings}");
            assert_eq!(wavelet.links, run.links, "{name} {settings}");
        }
        let timed = Options { engine: Engine::Stream, timing_only: true, ..Options::default() };
        let timed = simulate(&instance.program, &instance.inputs, &timed).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(timed.outputs.is_empty());
        let (outputs, claimed) = (stream.outputs.clone(), stream.claimed.clone());
        assert_eq!(Run { outputs, claimed, ..timed }, stream, "{name} {settings}: without numerics");
        for (way, run) in [("stream", &stream), ("event by event", &events)] {
            let ratio = run.cycles as f64 / wavelet.cycles as f64;
            let line =
                format!("{name} {settings}, {way}: {} and {} cycles, ratio {ratio:.3}", wavelet.cycles, run.cycles);
            println!("{line}");
            if !(0.95..=1.05).contains(&ratio) {
                wrong.push(line);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tiles of 21 words, and so many the way to the neighbour holds: what waits there for a PE that is busy is sent, and holds up the third PE,
/// the control wavelet behind it, and what the next root does.
#[test]
fn tiles_that_wait_on_their_way_hold_up_others() {
    let instance = instance("gather", "p=3 rows=3 words=20 width=7 tokens=19 part=84").expect("it can be built");
    let cycles = |engine, method, timing_only| {
        let options = Options { engine, method, timing_only, ..Options::default() };
        simulate(&instance.program, &instance.inputs, &options).unwrap_or_else(|e| panic!("{method:?}: {e}")).cycles
    };
    let expected = cycles(Engine::Wavelet, Method::Choose, false);
    for method in [Method::Together, Method::Apart, Method::Events] {
        let cycles = cycles(Engine::Stream, method, false);
        assert!(cycles.abs_diff(expected) <= expected / 50, "{method:?}: {cycles} for {expected}");
    }
    assert_eq!(cycles(Engine::Stream, Method::Choose, true), cycles(Engine::Stream, Method::Together, false));
}

/// So many PEs that instructions over memory are done in some of them at a time, whose number is no multiple of such a part.
#[test]
fn many_pes_compute_what_few_do() {
    let settings = "p=41 rows=27 m=54 n=90";
    for name in ["softmax", "layernorm", "gelu"] {
        let instance = instance(name, settings).unwrap_or_else(|e| panic!("{name} {settings}: {e}"));
        let run = |engine, method, timing_only| {
            let options = Options { engine, method, timing_only, ..Options::default() };
            simulate(&instance.program, &instance.inputs, &options).unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let wavelet = run(Engine::Wavelet, Method::Choose, false);
        // For the time alone all PEs go on together.
        let timed = run(Engine::Stream, Method::Choose, true);
        for method in [Method::Together, Method::Apart] {
            let computed = run(Engine::Stream, method, false);
            assert_eq!(wavelet.outputs, computed.outputs, "{name} {method:?}");
            let (outputs, claimed) = (computed.outputs.clone(), computed.claimed.clone());
            assert_eq!(Run { outputs, claimed, ..timed.clone() }, computed, "{name} {method:?}");
        }
    }
}

/// More rows than groups simulate at once, none of which are full: vectors that go from PE to PE along rows, and along columns.
#[test]
fn chains_in_many_rows_are_those_of_few() {
    for settings in ["p=5 q=39 m=117 k=35 algorithm=chain", "p=39 q=5 m=35 k=117 algorithm=chain"] {
        let instance = instance("gemv", settings).unwrap_or_else(|e| panic!("{settings}: {e}"));
        let run = |engine, method| {
            let options = Options { engine, method, ..Options::default() };
            simulate(&instance.program, &instance.inputs, &options).unwrap_or_else(|e| panic!("{settings}: {e}"))
        };
        let wavelet = run(Engine::Wavelet, Method::Choose);
        for method in [Method::Together, Method::Apart] {
            let stream = run(Engine::Stream, method);
            assert_eq!(wavelet.outputs, stream.outputs, "{settings} {method:?}");
            assert_eq!((wavelet.cycles, &wavelet.links), (stream.cycles, &stream.links), "{settings} {method:?}");
        }
    }
}

/// Whether a kernel's PEs have threads or control tasks, or queues with several writers at a time.
fn has_no_groups(name: &str, settings: &str) -> bool {
    let kernels = ["allgather", "allreduce", "conv1d", "conv2d", "shift", "sparse_gemm", "sparse_gemv"];
    let ways = ["cannon", "mesh-gemm", "auto", "star", "two-phase"];
    kernels.contains(&name) || ways.iter().any(|way| settings.contains(way))
}

/// A kernel with settings that nobody has chosen; not the star, in which the order of arrival decides about rounding.
fn any_kernel() -> impl Strategy<Value = (&'static str, String)> {
    let grid = (1..9u32, 1..7u32).prop_map(|(p, rows)| format!("p={p} rows={rows}"));
    let square = (2..9u32, 1..20u32, 1..20u32, 1..20u32).prop_map(|(p, m, n, k)| format!("p={p} m={m} n={n} k={k}"));
    let product = (square, prop::sample::select(vec!["summa", "auto"]), prop::sample::select(vec!["f32", "f16"]))
        .prop_map(|(s, algorithm, dtype)| ("gemm", format!("{s} algorithm={algorithm} dtype={dtype}")));
    let line = (2..40u32, 1..300u32, prop::sample::select(vec!["chain", "tree", "two-phase"]))
        .prop_filter("as many PEs as a tree has", |(p, _, algorithm)| *algorithm != "tree" || p.is_power_of_two())
        .prop_map(|(p, elements, algorithm)| ("reduce", format!("p={p} elements={elements} algorithm={algorithm}")));
    let rows = (grid.clone(), 1..30u32, 1..40u32, prop::sample::select(vec!["softmax", "layernorm", "rmsnorm"]))
        .prop_map(|(grid, m, n, name)| (name, format!("{grid} m={m} n={n}")));
    let moved =
        (grid.clone(), 1..40u32, 1..40u32).prop_map(|(grid, m, n)| ("transpose", format!("{grid} m={m} n={n}")));
    let chosen = (grid, 1..60u32, 1..30u32, 1..30u32, 4..200u32).prop_map(|(grid, words, width, tokens, part)| {
        ("gather", format!("{grid} words={words} width={width} tokens={tokens} part={part}"))
    });
    prop_oneof![product, line, rows, moved, chosen]
}

proptest! {
    #![proptest_config(Config { cases: Config::default().cases.max(128), failure_persistence: None, ..Config::default() })]

    /// In groups, with time and numbers apart or together, event by event, wavelet by wavelet: the same bits, the same wavelets over each link, about the same cycles.
    #[test]
    fn ways_to_simulate_agree_on_any_kernel((name, settings) in any_kernel()) {
        // Some settings do not go together.
        let Ok(instance) = instance(name, &settings) else { return Ok(()) };
        let run = |engine, method, timing_only| {
            let options = Options { engine, method, timing_only, ..Options::default() };
            match simulate(&instance.program, &instance.inputs, &options) {
                Err(SimulateError::Inseparable) if has_no_groups(name, &settings) => Ok(None),
                Err(e) => Err(TestCaseError::fail(format!("{name} {settings} {engine:?} {method:?}: {e}"))),
                Ok(run) => Ok(Some(run)),
            }
        };
        let Some(wavelet) = run(Engine::Wavelet, Method::Choose, false)? else { return Ok(()) };
        let Some(groups) = run(Engine::Stream, Method::Together, false)? else { return Ok(()) };
        if let Some(apart) = run(Engine::Stream, Method::Apart, false)? {
            prop_assert_eq!(&apart, &groups, "{} {}", name, settings);
        }
        let Some(timed) = run(Engine::Stream, Method::Choose, true)? else { return Ok(()) };
        let Some(events) = run(Engine::Stream, Method::Events, false)? else { return Ok(()) };
        let (outputs, claimed) = (groups.outputs.clone(), groups.claimed.clone());
        prop_assert_eq!(&Run { outputs, claimed, ..timed }, &groups, "{} {}", name, settings);
        for stream in [&groups, &events] {
            prop_assert_eq!(&wavelet.outputs, &stream.outputs, "{} {}", name, settings);
            prop_assert_eq!(&wavelet.links, &stream.links, "{} {}", name, settings);
            let off = wavelet.cycles.abs_diff(stream.cycles);
            prop_assert!(off <= 16 + wavelet.cycles / 8, "{} {}: {} and {}", name, settings, wavelet.cycles, stream.cycles);
        }
    }
}
