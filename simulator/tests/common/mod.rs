//! What the tests of the engine share.
#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use waferloom_fabric::text::parse;
use waferloom_fabric::{HostData, HostTensor, Program};
use waferloom_simulator::{Engine, Options, Run, SimulateError, simulate};

/// The program that a text stands for.
pub(crate) fn program(text: &str) -> Program {
    parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Runs a text without inputs.
pub(crate) fn run(text: &str) -> Run {
    run_with(text, &[])
}

/// Runs a text with inputs, on both engines: the outputs are the same, the cycles nearly so. Gives what the `wavelet` engine
/// gave.
pub(crate) fn run_with(text: &str, inputs: &[(&str, HostTensor)]) -> Run {
    let inputs: BTreeMap<_, _> = inputs.iter().map(|(name, tensor)| ((*name).to_string(), tensor.clone())).collect();
    let [wavelet, stream] = [Engine::Wavelet, Engine::Stream].map(|engine| {
        let options = Options { engine, ..Options::default() };
        simulate(&program(text), &inputs, &options).unwrap_or_else(|e| panic!("{engine:?}: {e}\n{text}"))
    });
    assert_eq!(wavelet.outputs, stream.outputs, "{text}");
    // These runs are short: a few cycles are more than 5 %.
    let off = wavelet.cycles.abs_diff(stream.cycles);
    assert!(off <= 4 + wavelet.cycles / 20, "{} and {} cycles\n{text}", wavelet.cycles, stream.cycles);
    wavelet
}

/// The error of a text that cannot run to its end.
pub(crate) fn fails(text: &str) -> SimulateError {
    simulate(&program(text), &BTreeMap::new(), &Options::default()).expect_err(text)
}

/// An output of floats.
pub(crate) fn floats(run: &Run, name: &str) -> Vec<f32> {
    match &run.outputs[name].data {
        HostData::F32(values) => values.clone(),
        HostData::I64(values) => panic!("{name} holds integers: {values:?}"),
    }
}

/// An output of integers.
pub(crate) fn integers(run: &Run, name: &str) -> Vec<i64> {
    match &run.outputs[name].data {
        HostData::I64(values) => values.clone(),
        HostData::F32(values) => panic!("{name} holds floats: {values:?}"),
    }
}

/// An input of integers.
pub(crate) fn words(values: &[i64]) -> HostTensor {
    HostTensor::i64(&[values.len()], values.to_vec())
}
