use super::{Groups, Way};
use crate::machine::setup::{Fabric, LayOut};
use crate::{Engine, Inputs, Options, Run};
use waferloom_fabric::Program;

/// Runs a program for its time alone, after a change to what is about to run; gives what is told of it afterwards as well.
pub(super) fn run_for_time<T>(
    program: &Program,
    change: impl FnOnce(&mut Groups<'_>),
    tell: impl FnOnce(&Groups<'_>) -> T,
) -> Option<(Run, T)> {
    let (inputs, options) =
        (Inputs::default(), Options { engine: Engine::Stream, timing_only: true, ..Options::default() });
    let fabric = Fabric::new(program, &inputs, &options).ok()?;
    let mut store = fabric.store(LayOut::AtOnce).ok()?;
    let mut groups = Groups::new(fabric.shared(), fabric.bands(&mut store, LayOut::AtOnce, 1).ok()?.pop()?)?;
    groups.prepare_way(Way::TimeByClass, program, &options);
    change(&mut groups);
    groups.run(&options, None).ok()?;
    let told = tell(&groups);
    Some((groups.finish(program, &fabric), told))
}
