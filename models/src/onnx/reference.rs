//! The reference executor: tract's own plan of the imported model.

use std::collections::BTreeMap;
use std::sync::Arc;

use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::prelude::{DatumType, IntoRunnable, TValue, TractResult, TypedModel, TypedRunnableModel, tvec};

use super::guard::guarded;
use super::load::reasons;
use super::translate::host_tensor;
use crate::tensor::{Tensor, TensorData};

/// Runs a model in process, in single precision, independently of the graph.
#[derive(Clone, Debug)]
pub struct Reference {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<(String, DatumType, Vec<usize>)>,
    outputs: Vec<String>,
}

/// Why the reference executor cannot run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// No value was given for an input.
    #[error("no value for the input \"{0}\"; give one tensor for each input of the model")]
    MissingInput(String),
    /// A value does not fit the input.
    #[error(
        "the value for the input \"{name}\" has shape {found:?} where the model was imported for {expected:?}; give that shape, or import the model with this one"
    )]
    InputShape {
        /// The input.
        name: String,
        /// Shape of the model's input.
        expected: Vec<usize>,
        /// Shape of the value.
        found: Vec<usize>,
    },
    /// The execution failed.
    #[error("the reference executor failed: {0}; check the values of the inputs (indices out of range?)")]
    Run(String),
}

impl Reference {
    pub(super) fn new(model: TypedModel, outputs: Vec<String>) -> TractResult<Self> {
        let mut inputs = Vec::new();
        for (index, outlet) in model.input_outlets()?.iter().enumerate() {
            let fact = model.input_fact(index)?;
            let shape = fact.shape.as_concrete().map(<[usize]>::to_vec).unwrap_or_default();
            inputs.push((model.node(outlet.node).name.clone(), fact.datum_type, shape));
        }
        Ok(Self { plan: model.into_runnable()?, inputs, outputs })
    }

    /// The outputs for the given inputs, by name.
    ///
    /// # Errors
    /// When an input is missing or of the wrong shape, or the execution fails.
    pub fn run(&self, inputs: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>, ReferenceError> {
        let mut values = tvec!();
        for (name, datum_type, shape) in &self.inputs {
            let tensor = inputs.get(name).ok_or_else(|| ReferenceError::MissingInput(name.clone()))?;
            if tensor.shape != *shape || tensor.len() != shape.iter().product::<usize>() {
                return Err(ReferenceError::InputShape {
                    name: name.clone(),
                    expected: shape.clone(),
                    found: tensor.shape.clone(),
                });
            }
            values.push(value(tensor, *datum_type).map_err(|e| ReferenceError::Run(reasons(&e)))?);
        }
        let results = guarded(|| self.plan.run(values)).map_err(ReferenceError::Run)?;
        let results = results.map_err(|e| ReferenceError::Run(reasons(&e)))?;
        let tensors = results.iter().map(|value| host_tensor(value).map_err(ReferenceError::Run));
        self.outputs.iter().zip(tensors).map(|(name, tensor)| Ok((name.clone(), tensor?))).collect()
    }
}

fn value(tensor: &Tensor, datum_type: DatumType) -> TractResult<TValue> {
    let native: tract_onnx::prelude::Tensor = match &tensor.data {
        TensorData::F32(values) => ArrayD::from_shape_vec(tensor.shape.clone(), values.clone())?.into(),
        TensorData::I64(values) => ArrayD::from_shape_vec(tensor.shape.clone(), values.clone())?.into(),
    };
    Ok(native.cast_to_dt(datum_type)?.into_owned().into())
}
