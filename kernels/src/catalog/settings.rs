//! Parameters of kernels and their values.

use super::{Kernel, KernelError};
use std::collections::BTreeMap;
use waferloom_fabric::Dtype;

/// The floating-point types that a `dtype` parameter may name.
pub(super) const FLOATS: &[&str] = &["f32", "f16", "bf16", "cb16"];

/// The type of a word of [`FLOATS`].
pub(super) fn float_type(word: &str) -> Dtype {
    [Dtype::F16, Dtype::Bf16, Dtype::Cb16].into_iter().find(|dtype| dtype.name() == word).unwrap_or(Dtype::F32)
}

/// Something that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Name.
    pub name: &'static str,
    /// What it is, with its unit.
    pub what: &'static str,
    /// Value when it is not set.
    pub default: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Whether it says how, not what, is computed: but for the order of sums, the same comes out.
    pub tunable: bool,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// An integer in a range, both ends included.
    Integer {
        /// The smallest.
        low: u32,
        /// The largest.
        high: u32,
    },
    /// One of several words.
    Choice(&'static [&'static str]),
}

/// Values of a kernel's parameters, checked against their kinds.
#[derive(Clone, Debug)]
pub struct Settings {
    kernel: &'static Kernel,
    values: BTreeMap<&'static str, String>,
    reference: bool,
}

impl Settings {
    /// Defaults, overridden by `name=value` settings; a name set twice takes its last value.
    ///
    /// # Errors
    /// Names that the kernel does not know, and values that do not fit.
    pub fn new(kernel: &'static Kernel, settings: &[(String, String)]) -> Result<Self, KernelError> {
        let mut values: BTreeMap<&'static str, String> =
            kernel.parameters.iter().map(|p| (p.name, p.default.to_string())).collect();
        for (name, value) in settings {
            let Some(parameter) = kernel.parameters.iter().find(|p| p.name == name) else {
                let known = kernel.parameters.iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
                return Err(KernelError::UnknownParameter { kernel: kernel.name, name: name.clone(), known });
            };
            parameter.check(value)?;
            values.insert(parameter.name, value.clone());
        }
        Ok(Self { kernel, values, reference: true })
    }

    /// The same for an instance whose results nobody looks at.
    #[must_use]
    pub fn without_reference(self) -> Self {
        Self { reference: false, ..self }
    }

    /// Whether the instance is to say what its results must be. A kernel may leave that out only when it takes long.
    pub fn wants_reference(&self) -> bool {
        self.reference
    }

    /// The name of the kernel.
    pub fn kernel(&self) -> &'static str {
        self.kernel.name
    }

    /// An integer parameter.
    ///
    /// # Panics
    /// When the kernel did not declare it as one: a fault of the kernel.
    pub fn integer(&self, name: &str) -> u32 {
        self.values[name].parse().unwrap_or_else(|_| panic!("`{name}` of `{}` is no integer", self.kernel.name))
    }

    /// An integer parameter as a number of PEs.
    ///
    /// # Panics
    /// As [`Settings::integer`].
    pub fn pes(&self, name: &str) -> u16 {
        self.integer(name).min(u32::from(u16::MAX)) as u16
    }

    /// A parameter's word.
    ///
    /// # Panics
    /// When the kernel did not declare it: a fault of the kernel.
    pub fn word(&self, name: &str) -> &str {
        &self.values[name]
    }

    /// The error for a parameter whose value the kernel cannot use.
    pub fn refuse(&self, name: &'static str, must: impl Into<String>) -> KernelError {
        KernelError::Value { name, value: self.values.get(name).cloned().unwrap_or_default(), must: must.into() }
    }
}

impl Parameter {
    /// An integer parameter.
    pub const fn integer(
        name: &'static str,
        default: &'static str,
        (low, high): (u32, u32),
        what: &'static str,
    ) -> Self {
        Self { name, what, default, kind: Kind::Integer { low, high }, tunable: false }
    }

    /// A parameter that takes one of several words.
    pub const fn choice(
        name: &'static str,
        default: &'static str,
        words: &'static [&'static str],
        what: &'static str,
    ) -> Self {
        Self { name, what, default, kind: Kind::Choice(words), tunable: false }
    }

    /// The same, declared as one that says how, not what, is computed.
    #[must_use]
    pub const fn tunable(self) -> Self {
        Self { tunable: true, ..self }
    }

    fn check(&self, value: &str) -> Result<(), KernelError> {
        let bad = |must: String| Err(KernelError::Value { name: self.name, value: value.into(), must });
        match self.kind {
            Kind::Integer { low, high } => match value.parse::<u32>() {
                Ok(n) if (low..=high).contains(&n) => Ok(()),
                _ => bad(format!("give an integer from {low} to {high}")),
            },
            Kind::Choice(words) if words.contains(&value) => Ok(()),
            Kind::Choice(words) => bad(format!("give one of {}", words.join(", "))),
        }
    }
}
