//! How many wavelets the engines bring over a link (ramps included) in a second of the host's time: a chain reduce.
//!
//! What comes before the first cycle (the verifier, the state of the fabric, the copies of the inputs) is measured by a run
//! that is stopped there, and does not count.
//!
//! `cargo run --release -p waferloom-kernels --example engine_speed [PES] [ELEMENTS]`

use std::time::Instant;
use waferloom_fabric::Machine;
use waferloom_kernels::catalog::find;
use waferloom_simulator::{Engine, Options, simulate};

/// Runs of which the fastest counts.
const RUNS: usize = 21;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1);
    let pes = numbers.next().unwrap_or_else(|| "256".into());
    let elements = numbers.next().unwrap_or_else(|| "4096".into());
    let machine = Machine::builtin("wse2").ok_or("there is no machine wse2")?;
    let kernel = find("reduce").ok_or("there is no kernel reduce")?;
    let settings = [("p", pes.as_str()), ("elements", &elements), ("algorithm", "chain")];
    let settings: Vec<(String, String)> = settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let instance = kernel.instance(&settings, &machine)?;
    println!("engine   cycles  wavelet-hops  set-up, s  cycles, s  million wavelet-hops a second");
    for (name, engine) in [("wavelet", Engine::Wavelet), ("stream", Engine::Stream)] {
        let (mut whole, mut before) = (f64::INFINITY, f64::INFINITY);
        let (mut hops, mut cycles) = (0, 0);
        let options = Options { engine, ..Options::default() };
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
        let seconds = whole - before;
        println!("{name:8} {cycles:6}  {hops:12}  {before:.6}   {seconds:.6}   {:.1}", hops as f64 / seconds / 1e6);
    }
    Ok(())
}
