//! The tensors that a program takes and gives, for those who call it.

use crate::program::{PortKind, Program};
use crate::tensor::Dtype;

/// Name, shape and type of a tensor that a program takes or gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// Its shape, of one item.
    pub shape: Vec<usize>,
    /// Its type on the mesh.
    pub dtype: Dtype,
}

impl TensorSpec {
    fn new(name: &str, shape: &[u32], dtype: Dtype) -> Self {
        Self { name: name.into(), shape: shape.iter().map(|&n| n as usize).collect(), dtype }
    }

    /// The type of the host's elements, as users know it.
    pub fn host_dtype(&self) -> &'static str {
        if self.dtype.is_float() { "float32" } else { "int64" }
    }
}

impl Program {
    /// What the program takes.
    pub fn inputs(&self) -> Vec<TensorSpec> {
        self.port_specs(PortKind::Input).collect()
    }

    /// What the program gives: output ports, then what is read back.
    pub fn outputs(&self) -> Vec<TensorSpec> {
        let read = self.readbacks.iter().map(|r| TensorSpec::new(&r.name, &r.distribution.shape, r.dtype));
        self.port_specs(PortKind::Output).chain(read).collect()
    }

    fn port_specs(&self, kind: PortKind) -> impl Iterator<Item = TensorSpec> {
        let ports = self.ports.iter().filter(move |p| p.kind == kind);
        ports.map(|p| TensorSpec::new(&p.name, &p.distribution.shape, p.dtype))
    }
}
