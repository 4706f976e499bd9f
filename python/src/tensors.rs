//! Arrays of numpy as tensors of the host and back, without copies.

use numpy::{PyArray1, PyArrayMethods as _, PyReadonlyArrayDyn, PyUntypedArrayMethods as _};
use pyo3::prelude::*;
use waferloom_fabric::{HostData, HostSlice, HostTensor, HostView};

/// An array that a program takes: `arrays.py` has made it one of these, contiguous.
#[derive(FromPyObject)]
pub(crate) enum Array<'py> {
    /// Numbers.
    F32(PyReadonlyArrayDyn<'py, f32>),
    /// Integers.
    I64(PyReadonlyArrayDyn<'py, i64>),
}

impl Array<'_> {
    /// The array's memory as a tensor.
    pub(crate) fn view(&self) -> PyResult<HostView<'_>> {
        Ok(match self {
            Array::F32(array) => HostView { shape: array.shape(), data: HostSlice::F32(array.as_slice()?) },
            Array::I64(array) => HostView { shape: array.shape(), data: HostSlice::I64(array.as_slice()?) },
        })
    }
}

/// A tensor as an array that owns the tensor's memory.
pub(crate) fn to_array(py: Python<'_>, tensor: HostTensor) -> PyResult<Bound<'_, PyAny>> {
    Ok(match tensor.data {
        HostData::F32(values) => PyArray1::from_vec(py, values).reshape(tensor.shape.as_slice())?.into_any(),
        HostData::I64(values) => PyArray1::from_vec(py, values).reshape(tensor.shape.as_slice())?.into_any(),
    })
}
