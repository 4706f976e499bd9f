//! Executes a [`Program`] with real numbers and cycle-approximate time.
//!
//! The simulator sees a program and the host's tensors, nothing else: it knows no graph and no kernel.

mod machine;
pub mod report;
mod stream;
mod twins;
mod wavelet;

pub use machine::pe::PeCounters;
pub use report::{Facts, Report, Totals};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use waferloom_fabric::{Findings, HostTensor, HostView, Program, verify};

/// What moves the wavelets. The outputs are the same bits, unless the program is a race: its result depends on which of two
/// streams arrives first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Every wavelet at every router, cycle by cycle: the reference.
    #[default]
    Wavelet,
    /// Runs of wavelets from instruction to instruction: much faster on long vectors, with approximate cycles.
    Stream,
}

impl Engine {
    /// Its name, as reports and the command line give it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Wavelet => "wavelet",
            Engine::Stream => "stream",
        }
    }
}

/// What becomes of a program's claims in the stream engine; the wavelet engine never looks at them, nor do runs for the time alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Claims {
    /// The numbers of what they cover are worked out on the host, whole kernels at once.
    #[default]
    Use,
    /// The PEs compute everything themselves.
    Ignore,
    /// Both, one after the other: a difference ends the run with an error that says where it is.
    Check,
}

/// How the stream engine works a program out. Outputs, cycles and counters are the same in groups, whether apart or together; event
/// by event, cycles may differ a little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// The way that is likely to be the fastest, and another one if it is none for this program.
    #[default]
    Choose,
    /// In groups of PEs, time and numbers each alone, side by side on two host threads; an error where these depend on each other.
    Apart,
    /// In groups of PEs, time and numbers in one go; event by event where there is no such way.
    Together,
    /// Event by event.
    Events,
}

/// How a run is done; but for the engine, whose cycles differ a little, nothing here changes its result.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// What moves the wavelets.
    pub engine: Engine,
    /// Host threads; 0 lets the engine choose. The stream engine runs on one if this is 1; else it works time and numbers out on two,
    /// where they are apart ([`Method`]), and large products of claims on all.
    pub threads: usize,
    /// Only the time counts: the run has no outputs, all else is the same. The stream engine then leaves out all
    /// that depends on floating-point constants, and refuses programs whose time does; the wavelet engine leaves out nothing.
    pub timing_only: bool,
    /// How [`Engine::Stream`] goes about it.
    pub method: Method,
    /// What becomes of the program's claims: every choice gives the same result, unless a claim is false.
    pub claims: Claims,
    /// Folder to which the paths of constants in files are relative; the current one when there is none.
    pub base_dir: Option<&'a Path>,
    /// Stop with an error after so many cycles.
    pub max_cycles: Option<u64>,
    /// Called now and then.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
    /// Stop with an error soon after this becomes true.
    pub cancel: Option<&'a AtomicBool>,
}

/// The tensors that a run takes, by name; somebody else owns them.
#[derive(Clone, Debug, Default)]
pub struct Inputs<'a>(pub BTreeMap<&'a str, HostView<'a>>);

impl<'a> From<&'a BTreeMap<String, HostTensor>> for Inputs<'a> {
    fn from(tensors: &'a BTreeMap<String, HostTensor>) -> Self {
        Self(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect())
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The cycle at hand.
    pub cycle: u64,
    /// Wavelets that the host has received.
    pub received_wavelets: u64,
}

/// What a run gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The tensors of the output ports, and those that were read back from SRAM; none of a run for the time alone.
    pub outputs: BTreeMap<String, HostTensor>,
    /// Cycles until the last PE was done and the last output had arrived.
    pub cycles: u64,
    /// When each of the program's items went in and came out.
    pub items: Vec<ItemTime>,
    /// Where each PE's cycles went, row by row.
    pub pes: Vec<PeCounters>,
    /// Wavelets that each router sent to the west, east, north, south and down its ramp, row by row.
    pub links: Vec<[u64; 5]>,
    /// Time of each of the program's operators.
    pub operators: Vec<OperatorTime>,
    /// By operator: whether numbers of it were worked out as claims say.
    pub claimed: Vec<bool>,
    /// Wavelets that nobody had taken when everything was done: a sign of a mistake in the program.
    pub leftover_wavelets: u64,
}

/// An item's way through the fabric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemTime {
    /// The host sent its first wavelet; 0 without an input.
    pub start_cycle: u64,
    /// The host had received its last wavelet; the end of the run without an output.
    pub end_cycle: u64,
}

/// When an operator ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperatorTime {
    /// The first cycle of any PE in it.
    pub start_cycle: u64,
    /// The last cycle of any PE in it.
    pub end_cycle: u64,
    /// What it adds to the time at which the operators before it were done; these add up to the whole run. With several
    /// items, whose operators overlap, it says little: see `pe_cycles`.
    pub cycles: u64,
    /// Busy cycles, over all PEs.
    pub busy_cycles: u64,
    /// Cycles that PEs spent in it, waits included, over all PEs.
    pub pe_cycles: u64,
}

/// Why a program could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// An input port has no tensor.
    #[error("input `{name}` is missing")]
    InputMissing {
        /// The port.
        name: String,
    },
    /// A tensor has no input port.
    #[error("there is no input `{name}`; the program's inputs are: {known}")]
    InputUnknown {
        /// The tensor.
        name: String,
        /// The ports.
        known: String,
    },
    /// A tensor has another shape than its port.
    #[error("input `{name}` has shape {got:?}, the program was made for {expected:?}")]
    InputShape {
        /// The port.
        name: String,
        /// The port's shape.
        expected: Vec<usize>,
        /// The tensor's.
        got: Vec<usize>,
    },
    /// A tensor has another type than its port.
    #[error("input `{name}` is {got}, the program takes {expected}")]
    InputDtype {
        /// The port.
        name: String,
        /// What it takes.
        expected: &'static str,
        /// What was given.
        got: &'static str,
    },
    /// An integer does not fit the port.
    #[error("input `{name}` holds {value}, which does not fit {dtype}")]
    InputRange {
        /// The port.
        name: String,
        /// The number.
        value: i64,
        /// The type on the mesh.
        dtype: &'static str,
    },
    /// The verifier, or the engine, refuses the program.
    #[error("the program is not valid:\n{findings}")]
    Invalid {
        /// What is wrong, a line each.
        findings: String,
    },
    /// An instruction did what it may not.
    #[error("{place}, cycle {cycle}: {message}")]
    Fault {
        /// PE, task and step.
        place: String,
        /// When.
        cycle: u64,
        /// What.
        message: String,
    },
    /// With and without claims the run gives different results.
    #[error("some claim is false: {difference}")]
    ClaimsDiffer {
        /// What differs.
        difference: String,
    },
    /// Nothing can move any more, and not everything is done.
    #[error("deadlock in cycle {cycle}: nothing can move any more{waits}")]
    Deadlock {
        /// The cycle from which on nothing can move.
        cycle: u64,
        /// Who waits for what, a line each.
        waits: String,
    },
    /// [`Method::Apart`] was asked for, and is no way to run the program.
    #[error(
        "time and numbers of the program depend on each other, or its PEs do not do one thing after another: choose another method"
    )]
    Inseparable,
    /// [`Options::max_cycles`] is reached.
    #[error("not done after {cycles} cycles, the limit that was set")]
    CycleLimit {
        /// The cycle.
        cycles: u64,
    },
    /// [`Options::cancel`] became true.
    #[error("stopped in cycle {cycle}")]
    Cancelled {
        /// The cycle.
        cycle: u64,
    },
}

/// Runs a program on the engine of the options, after the verifier has found no error in it.
///
/// Up to 64 MiB of the PEs' memories are kept for the next run of the process.
///
/// # Errors
/// See [`SimulateError`]. No program makes this panic.
pub fn simulate<'a>(
    program: &Program,
    inputs: impl Into<Inputs<'a>>,
    options: &Options<'_>,
) -> Result<Run, SimulateError> {
    let Findings { errors, warnings, omitted } = verify(program);
    if !errors.is_empty() {
        let findings = Findings { errors, warnings: Vec::new(), omitted }.to_string();
        return Err(SimulateError::Invalid { findings });
    }
    for warning in warnings {
        tracing::info!("{warning}");
    }
    let inputs = inputs.into();
    match options.engine {
        Engine::Wavelet => wavelet::run(program, &inputs, options),
        Engine::Stream if options.claims == Claims::Check && !options.timing_only => {
            twins::check::both(program, &inputs, options)
        }
        Engine::Stream => stream::run(program, &inputs, options),
    }
}
