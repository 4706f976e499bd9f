//! [`Tensor`]: values on the host, on their way into and out of a model.

use ndarray::{ArrayD, IxDyn};

use crate::graph::{ConstantData, ElementType, TensorType};

/// Elements of a [`Tensor`], row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Floating point; other widths are converted.
    F32(Vec<f32>),
    /// Integers of any width, and truth values as 0 and 1.
    I64(Vec<i64>),
}

/// A tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes; empty for a scalar.
    pub shape: Vec<usize>,
    /// As many elements as the shape says.
    pub data: TensorData,
}

/// The number of elements does not fit the shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{elements} elements do not fill the shape {shape:?}; give one element per index of the shape")]
pub struct ShapeError {
    /// Elements given.
    pub elements: usize,
    /// Shape asked for.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// A tensor of floats.
    ///
    /// # Errors
    /// When the number of elements differs from the shape's.
    pub fn from_f32(shape: &[usize], data: Vec<f32>) -> Result<Self, ShapeError> {
        check(shape, data.len())?;
        Ok(Self { shape: shape.to_vec(), data: TensorData::F32(data) })
    }

    /// A tensor of integers.
    ///
    /// # Errors
    /// When the number of elements differs from the shape's.
    pub fn from_i64(shape: &[usize], data: Vec<i64>) -> Result<Self, ShapeError> {
        check(shape, data.len())?;
        Ok(Self { shape: shape.to_vec(), data: TensorData::I64(data) })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            TensorData::F32(values) => values.len(),
            TensorData::I64(values) => values.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as floats; integers are converted.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            TensorData::F32(values) => values.clone(),
            TensorData::I64(values) => values.iter().map(|&v| v as f32).collect(),
        }
    }

    /// The elements as integers; floats are truncated.
    pub fn to_i64(&self) -> Vec<i64> {
        match &self.data {
            TensorData::F32(values) => values.iter().map(|&v| v as i64).collect(),
            TensorData::I64(values) => values.clone(),
        }
    }

    /// The tensor as an array of floats, or the tensor itself when it holds integers.
    ///
    /// # Errors
    /// The tensor, unchanged, when it holds integers or its elements do not fill its shape.
    pub fn into_array_f32(self) -> Result<ArrayD<f32>, Self> {
        match self.data {
            TensorData::F32(values) if values.len() == count(&self.shape) => {
                Ok(ArrayD::from_shape_vec(IxDyn(&self.shape), values).unwrap_or_default())
            }
            data => Err(Self { shape: self.shape, data }),
        }
    }

    /// The type that a graph gives to a tensor of these elements: `Float` or `Int`.
    pub fn tensor_type(&self) -> TensorType {
        let element = match self.data {
            TensorData::F32(_) => ElementType::Float,
            TensorData::I64(_) => ElementType::Int,
        };
        TensorType { element, shape: self.shape.clone() }
    }
}

impl From<ArrayD<f32>> for Tensor {
    fn from(array: ArrayD<f32>) -> Self {
        Self { shape: array.shape().to_vec(), data: TensorData::F32(array.iter().copied().collect()) }
    }
}

impl From<ArrayD<i64>> for Tensor {
    fn from(array: ArrayD<i64>) -> Self {
        Self { shape: array.shape().to_vec(), data: TensorData::I64(array.iter().copied().collect()) }
    }
}

impl From<TensorData> for ConstantData {
    fn from(data: TensorData) -> Self {
        match data {
            TensorData::F32(values) => Self::Float(values.into()),
            TensorData::I64(values) => Self::Int(values.into()),
        }
    }
}

impl From<ConstantData> for TensorData {
    fn from(data: ConstantData) -> Self {
        match data {
            ConstantData::Float(values) => Self::F32(values.to_vec()),
            ConstantData::Int(values) => Self::I64(values.to_vec()),
        }
    }
}

/// Number of elements of a shape.
pub(crate) fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn check(shape: &[usize], elements: usize) -> Result<(), ShapeError> {
    if count(shape) == elements { Ok(()) } else { Err(ShapeError { elements, shape: shape.to_vec() }) }
}
