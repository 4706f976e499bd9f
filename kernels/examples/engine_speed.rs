//! How many wavelets the engines bring over a link (ramps included) in a second of the host's time: a chain reduce.
//!
//! Once with everything, as a caller waits for it, and once without what comes before the first cycle (the verifier, the state
//! of the fabric, the copies of the inputs), which is measured by a run that is stopped there.
//!
//! `cargo run --release -p waferloom-kernels --example engine_speed [PES] [ELEMENTS]`

use std::time::Instant;
use waferloom_fabric::Machine;
use waferloom_kernels::catalog::find;
use waferloom_simulator::{Engine, Options, simulate};

/// Runs of which the fastest counts.
const RUNS: usize = 101;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1);
    let pes = numbers.next().unwrap_or_else(|| "256".into());
    let elements = numbers.next().unwrap_or_else(|| "4096".into());
    let machine = Machine::builtin("wse2").ok_or("there is no machine wse2")?;
    let kernel = find("reduce").ok_or("there is no kernel reduce")?;
    let settings = [("p", pes.as_str()), ("elements", &elements), ("algorithm", "chain")];
    let settings: Vec<(String, String)> = settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let instance = kernel.instance(&settings, &machine)?;
    println!(
        "run                 cycles  wavelet-hops  set-up, s  cycles, s  million hops a second, of the cycles alone"
    );
    let ways = [("wavelet", Engine::Wavelet, false), ("stream", Engine::Stream, false)];
    for (name, engine, timing_only) in ways.into_iter().chain([("stream, time alone", Engine::Stream, true)]) {
        let (mut whole, mut before) = (f64::INFINITY, f64::INFINITY);
        let (mut hops, mut cycles) = (0, 0);
        let options = Options { engine, timing_only, threads: 1, ..Options::default() };
        for _ in 0..RUNS {
            let start = Instant::now();
            let run = simulate(&instance.program, &instance.inputs, &options)?;
            whole = whole.min(start.elapsed().as_secs_f64());
            hops = run.links.iter().flatten().sum::<u64>();
            cycles = run.cycles;
            let start = Instant::now();
            let stopped = Options { max_cycles: Some(0), ..options };
            if simulate(&instance.program, &instance.inputs, &stopped).is_ok() {
                return Err("nothing happens after cycle 0".into());
            }
            before = before.min(start.elapsed().as_secs_f64());
        }
        let after = whole - before;
        let [all, alone] = [whole, after].map(|seconds| hops as f64 / seconds / 1e6);
        println!("{name:18}  {cycles:6}  {hops:12}  {before:.6}   {after:.6}  {all:.1}, {alone:.1}");
    }
    Ok(())
}
