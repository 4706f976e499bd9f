//! Kernels on their own: each as a whole [`Program`] with its data, what it must compute and how long it should take.
//!
//! [`all`] lists them; `waferloom kernel` and `waferloom validate` run them. One file a kernel. A kernel declares its
//! [`Parameter`]s and builds an [`Instance`] from [`Settings`]; it refuses what it cannot do with an error that names the
//! parameter to change. Operands lie in SRAM before the first cycle and results are read from it after the last one, so that
//! the cycles of a run are those of the kernel.

mod allgather;
mod allreduce;
mod attention;
mod broadcast;
mod conv;
mod data;
mod elementary;
mod gather;
mod gemm;
mod gemv;
mod halo;
mod layernorm;
mod matvec;
mod plane;
mod pool;
mod reduce;
mod reduce_scatter;
mod relayout;
mod rmsnorm;
mod rows;
mod settings;
mod shift;
mod sketch;
mod softmax;
mod sparse_cover;
mod sparse_gemm;
mod sparse_gemv;
mod transpose;

pub use settings::{Kind, Parameter, Settings};

use std::collections::BTreeMap;
use waferloom_fabric::{HostTensor, Machine, Program};

/// A kernel that runs on its own.
#[derive(Debug)]
pub struct Kernel {
    /// Name, as `waferloom kernel` takes it.
    pub name: &'static str,
    /// What it computes and where the algorithms come from.
    pub summary: &'static str,
    /// What can be set.
    pub parameters: &'static [Parameter],
    /// Builds the kernel for settings and a machine.
    pub build: fn(&Settings, &Machine) -> Result<Instance, KernelError>,
}

/// A kernel for given settings.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The program.
    pub program: Program,
    /// Tensors for the program's input ports; most kernels have none.
    pub inputs: BTreeMap<String, HostTensor>,
    /// What each result must be, worked out in double precision.
    pub expected: BTreeMap<String, Vec<f64>>,
    /// The algorithm that runs: the one that was set, or the choice of `auto`.
    pub algorithm: String,
    /// Cycles by the closed form of `docs/cost-model.md`.
    pub estimate_cycles: u64,
    /// Useful floating-point operations.
    pub flops: u64,
}

/// Why a kernel cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// A setting that the kernel does not know.
    #[error("the kernel `{kernel}` has no parameter `{name}`; it has {known}")]
    UnknownParameter {
        /// The kernel.
        kernel: &'static str,
        /// What was set.
        name: String,
        /// What can be set.
        known: String,
    },
    /// A value that a parameter cannot take.
    #[error("`{name}` cannot be {value}: {must}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        must: String,
    },
    /// The machine is too small for the settings.
    #[error("{what} needs {needed} {unit}, {machine} has {available}: change `{change}`")]
    TooLarge {
        /// What does not fit.
        what: String,
        /// How much it needs.
        needed: u64,
        /// Of what.
        unit: &'static str,
        /// The machine.
        machine: String,
        /// How much there is.
        available: u64,
        /// The parameter to change.
        change: &'static str,
    },
}

/// All kernels, by name.
pub fn all() -> &'static [Kernel] {
    const KERNELS: &[Kernel] = &[
        allgather::KERNEL,
        allreduce::KERNEL,
        attention::KERNEL,
        broadcast::KERNEL,
        conv::CONV1D,
        conv::CONV2D,
        elementary::COS,
        elementary::ERF,
        elementary::EXP,
        gather::KERNEL,
        elementary::GELU,
        gemm::KERNEL,
        gemv::KERNEL,
        layernorm::KERNEL,
        elementary::LOG,
        pool::KERNEL,
        reduce::KERNEL,
        reduce_scatter::KERNEL,
        relayout::KERNEL,
        rmsnorm::KERNEL,
        elementary::RSQRT,
        shift::KERNEL,
        elementary::SIGMOID,
        elementary::SILU,
        elementary::SIN,
        softmax::KERNEL,
        sparse_gemm::KERNEL,
        sparse_gemv::KERNEL,
        elementary::TANH,
        transpose::KERNEL,
    ];
    KERNELS
}

/// The kernel of a name.
pub fn find(name: &str) -> Option<&'static Kernel> {
    all().iter().find(|kernel| kernel.name == name)
}

impl Kernel {
    /// Builds the kernel from `name=value` settings; what is not set takes its default.
    ///
    /// # Errors
    /// Settings that the kernel does not know or cannot fulfil, and machines that are too small.
    pub fn instance(&'static self, settings: &[(String, String)], machine: &Machine) -> Result<Instance, KernelError> {
        (self.build)(&Settings::new(self, settings)?, machine)
    }

    /// As [`Kernel::instance`], for a run of which only the time counts: nothing is expected of the results.
    ///
    /// # Errors
    /// As [`Kernel::instance`].
    pub fn timed_instance(
        &'static self,
        settings: &[(String, String)],
        machine: &Machine,
    ) -> Result<Instance, KernelError> {
        let instance = (self.build)(&Settings::new(self, settings)?.without_reference(), machine)?;
        Ok(Instance { expected: BTreeMap::new(), ..instance })
    }
}
