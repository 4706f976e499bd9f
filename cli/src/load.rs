//! Reads what the command line names.

use crate::args::{Optimize, SizeArgs, TargetArgs};
use crate::errors::Error;
use std::collections::BTreeMap;
use std::path::Path;
use waferloom_compiler::{Objective, Options};
use waferloom_driver::{Target, load};
use waferloom_models::{ImportOptions, Model, Tensor};

/// What to compile for.
pub(crate) fn target(args: &TargetArgs) -> Result<Options, Error> {
    let objective = args.optimize.map(|optimize| match optimize {
        Optimize::Throughput => Objective::Throughput,
        Optimize::Latency => Objective::Latency,
    });
    let target = Target {
        machine: load::machine(&args.machine)?,
        grid: args.grid,
        whole_grid: args.whole_grid,
        dtype: args.dtype.dtype(),
        items: args.items,
        objective,
        stages: args.stages,
        overrides: args.plan.as_deref().map(load::overrides).transpose()?.unwrap_or_default(),
    };
    Ok(target.options("--grid")?)
}

/// Imports a model; the shapes of `inputs` and the options bind what the file leaves open.
pub(crate) fn model(path: &Path, sizes: &SizeArgs, inputs: Option<&BTreeMap<String, Tensor>>) -> Result<Model, Error> {
    let given = sizes.shapes.iter().cloned();
    let read = inputs.into_iter().flatten().map(|(name, tensor)| (name.clone(), tensor.shape.clone()));
    // Later ones win: what the user has typed.
    let input_shapes = read.chain(given).collect();
    let options = ImportOptions { input_shapes, dims: sizes.dims.iter().cloned().collect() };
    Ok(load::model(path, &options)?)
}
