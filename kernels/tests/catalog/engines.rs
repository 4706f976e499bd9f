//! The `stream` engine against the `wavelet` engine on every kernel.

use super::estimates::SWEEPS;
use super::instance;
use waferloom_simulator::{Engine, Options, simulate};

#[test]
fn engines_agree_on_every_kernel() {
    let mut wrong = Vec::new();
    for (name, settings) in SWEEPS.iter().flat_map(|(name, list)| list.iter().map(move |s| (name, s))) {
        let instance = instance(name, settings).unwrap_or_else(|e| panic!("{name} {settings}: {e}"));
        let [wavelet, stream] = [Engine::Wavelet, Engine::Stream].map(|engine| {
            let start = std::time::Instant::now();
            let options = Options { engine, ..Options::default() };
            let run = simulate(&instance.program, &instance.inputs, &options);
            (run, start.elapsed())
        });
        let wavelet_run = wavelet.0.unwrap_or_else(|e| panic!("{name} {settings}: {e}"));
        let stream_run = match stream.0 {
            Ok(run) => run,
            Err(e) => {
                println!("{name} {settings}: {e}");
                wrong.push(format!("{name} {settings}: {e}"));
                continue;
            }
        };
        let ratio = stream_run.cycles as f64 / wavelet_run.cycles as f64;
        let line = format!("{name} {settings}: wavelet {} cycles {:?}, stream {} cycles {:?}, ratio {ratio:.3}", wavelet_run.cycles, wavelet.1, stream_run.cycles, stream.1);
        println!("{line}");
        if wavelet_run.outputs != stream_run.outputs || wavelet_run.links != stream_run.links || !(0.95..=1.05).contains(&ratio) {
            wrong.push(format!("{line} outputs {} links {}", wavelet_run.outputs == stream_run.outputs, wavelet_run.links == stream_run.links));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
