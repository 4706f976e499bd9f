//! The `stream` engine against the `wavelet` engine on every kernel, with what claims say of its numbers and without.

use super::estimates::SWEEPS;
use super::instance;
use waferloom_simulator::{Claims, Engine, Options, Run, simulate};

#[test]
fn engines_agree_on_every_kernel() {
    let mut wrong = Vec::new();
    for (name, settings) in SWEEPS.iter().flat_map(|(name, list)| list.iter().map(move |s| (name, s))) {
        let instance = instance(name, settings).unwrap_or_else(|e| panic!("{name} {settings}: {e}"));
        let [wavelet, stream] = [Engine::Wavelet, Engine::Stream].map(|engine| {
            let options = Options { engine, claims: Claims::Check, ..Options::default() };
            let run = simulate(&instance.program, &instance.inputs, &options);
            run.unwrap_or_else(|e| panic!("{name} {settings} {engine:?}: {e}"))
        });
        assert_eq!(wavelet.outputs, stream.outputs, "{name} {settings}");
        assert_eq!(wavelet.links, stream.links, "{name} {settings}");
        let timed = Options { engine: Engine::Stream, timing_only: true, ..Options::default() };
        let timed = simulate(&instance.program, &instance.inputs, &timed).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(timed.outputs.is_empty());
        assert_eq!(Run { outputs: stream.outputs.clone(), ..timed }, stream, "{name} {settings}: without numerics");
        let ratio = stream.cycles as f64 / wavelet.cycles as f64;
        let line = format!("{name} {settings}: {} and {} cycles, ratio {ratio:.3}", wavelet.cycles, stream.cycles);
        println!("{line}");
        if !(0.95..=1.05).contains(&ratio) {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
