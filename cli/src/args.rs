//! The command line.

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use waferloom_fabric::{Dtype, Extent};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "Exit codes:
  0  done; where outputs were compared: equal
  1  outputs differ from the expected ones
  2  bad usage or input
  3  the program failed while running: deadlock, fault, cycle limit
  101  a bug in waferloom";

const RUN_EXAMPLES: &str = "Examples:
  waferloom run model.onnx --inputs in.npz
  waferloom run model.onnx --inputs in.npz --expect out.npz --grid 32x32 --dtype f16
  waferloom run dnabert.onnx --fasta chr10.fa --shape input_ids=4x64 --windows 16
  waferloom run model.onnx --inputs in.npz --machine my.ron --report report.json --out out.npz";

const COMPILE_EXAMPLES: &str = "Examples:
  waferloom compile model.onnx --inputs in.npz -o model.wlp
  waferloom compile model.onnx --dim batch=4 --shape input_ids=4x32 -o model.wlt
  waferloom compile model.onnx --inputs in.npz -o model.wlp --explain";

const SIMULATE_EXAMPLES: &str = "Examples:
  waferloom simulate model.wlp --inputs in.npz --out out.npz
  waferloom simulate hand-written.wlt --max-cycles 100000 --json";

const VERIFY_EXAMPLES: &str = "Examples:
  waferloom verify model.onnx --inputs in.npz --expect out.npz
  waferloom verify model.onnx --inputs in.npz --expect out.npz --dtype f16 --rtol 2e-2 --atol 2e-2";

const INSPECT_EXAMPLES: &str = "Examples:
  waferloom inspect model.wlp | less
  waferloom inspect model.onnx --dim batch=4";

const KERNEL_EXAMPLES: &str = "Examples:
  waferloom kernel --list
  waferloom kernel reduce --set p=256 --set elements=4096 --set algorithm=chain
  waferloom kernel reduce --set p=64 --sweep elements=1..4096:x2 --sweep algorithm=chain,tree --csv reduce.csv";

const VALIDATE_EXAMPLES: &str = "Examples:
  waferloom validate
  waferloom validate --points --most-pes 64";

/// Compile genomic and imaging transformers onto a wafer-scale mesh, and run them there in a simulator with real numbers
/// and cycle-approximate time.
#[derive(Debug, Parser)]
#[command(name = "waferloom", version, styles = STYLES, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Say more on stderr; twice for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "General", display_order = 900)]
    pub(crate) verbose: u8,
    /// Say only errors, and show no progress
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "General", display_order = 901)]
    pub(crate) quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compile a model, run it on the simulated machine, and report
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Compile a model into a program file
    #[command(after_help = COMPILE_EXAMPLES)]
    Compile(CompileArgs),
    /// Run a program file on the simulated machine, and report
    #[command(after_help = SIMULATE_EXAMPLES)]
    Simulate(SimulateArgs),
    /// Compile and run a model, and hold its outputs against expected ones
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
    /// Print a program as text, or what a model consists of
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectArgs),
    /// Run one distributed kernel alone, or sweep its parameters
    #[command(after_help = KERNEL_EXAMPLES)]
    Kernel(KernelArgs),
    /// Search the tunables of a kernel, or of the planner for a model (needs the Python package)
    #[command(disable_help_flag = true)]
    Tune(TuneArgs),
    /// Hold the simulator against published measurements and models
    #[command(after_help = VALIDATE_EXAMPLES)]
    Validate(ValidateArgs),
}

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Hold the outputs against those of an npz file; exit 1 when they differ
    #[arg(long, value_name = "F.npz", help_heading = "Comparison", conflicts_with = "no_numerics")]
    pub(crate) expect: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tolerance: ToleranceArgs,
    /// Print the compiler's decisions
    #[arg(long, help_heading = "Results")]
    pub(crate) explain: bool,
}

/// Options of `compile`.
#[derive(Debug, Args)]
pub(crate) struct CompileArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Where the program goes: .wlt is text, anything else the compact form
    #[arg(short, long, visible_alias = "out", value_name = "F.wlp", help_heading = "Results")]
    pub(crate) output: PathBuf,
    /// Print the compiler's decisions
    #[arg(long, help_heading = "Results")]
    pub(crate) explain: bool,
    /// Print a report of no run as JSON on stdout: memory, operators, the host's seconds
    #[arg(long, help_heading = "Results")]
    pub(crate) json: bool,
}

/// Options of `simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Program file, compact or text
    #[arg(value_name = "F.wlp|F.wlt")]
    pub(crate) program: PathBuf,
    /// Input tensors, one entry a name
    #[arg(long, value_name = "F.npz", help_heading = "Model")]
    pub(crate) inputs: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Hold the outputs against those of an npz file; exit 1 when they differ
    #[arg(long, value_name = "F.npz", help_heading = "Comparison", conflicts_with = "no_numerics")]
    pub(crate) expect: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tolerance: ToleranceArgs,
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// The expected outputs, one entry a name
    #[arg(long, value_name = "F.npz", help_heading = "Comparison", conflicts_with = "no_numerics")]
    pub(crate) expect: PathBuf,
    #[command(flatten)]
    pub(crate) tolerance: ToleranceArgs,
}

/// Options of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Program file, or ONNX model
    #[arg(value_name = "F.wlp|F.wlt|MODEL.onnx")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) sizes: SizeArgs,
}

/// Options of `kernel`.
#[derive(Debug, Args)]
pub(crate) struct KernelArgs {
    /// The kernel
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Show every kernel and its parameters
    #[arg(long)]
    pub(crate) list: bool,
    /// Set a parameter
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub(crate) settings: Vec<(String, String)>,
    /// Simulate so many times, for the host's time of the fastest run
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// Run once a value: A,B,C or A..B or A..B:+STEP or A..B:xFACTOR; several sweeps are combined
    #[arg(long, value_name = "NAME=VALUES", value_parser = parse_sweep)]
    pub(crate) sweep: Vec<Sweep>,
    /// Write the sweep as comma-separated values
    #[arg(long, value_name = "F.csv")]
    pub(crate) csv: Option<PathBuf>,
    /// A built-in machine (wse2, wse3, bench16), or a machine file
    #[arg(long, value_name = "NAME|F.ron", default_value = "wse2")]
    pub(crate) machine: String,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Print the result as JSON on stdout, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `tune`.
#[derive(Debug, Args)]
pub(crate) struct TuneArgs {
    /// What the Python package takes; --help shows it
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) rest: Vec<std::ffi::OsString>,
}

/// Options of `validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Show every point of the sweeps
    #[arg(long)]
    pub(crate) points: bool,
    /// Leave out points with more PEs
    #[arg(long, value_name = "P", default_value_t = 512)]
    pub(crate) most_pes: u32,
    /// Leave out points with longer vectors
    #[arg(long, value_name = "B", default_value_t = 4096)]
    pub(crate) most_elements: u32,
    /// Print the rows as JSON on stdout, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
}

/// A parameter and the values that it takes one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// The parameter.
    pub(crate) name: String,
    /// Its values.
    pub(crate) values: Vec<String>,
}

/// A model and its inputs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// ONNX file
    #[arg(help_heading = None)]
    pub(crate) model: PathBuf,
    /// Input tensors, one entry a name; their shapes bind the model's open dimensions
    #[arg(long, value_name = "F.npz")]
    pub(crate) inputs: Option<PathBuf>,
    /// Windows of DNA as the inputs of a model over k-mers, in the model's batches
    #[arg(long, value_name = "F.fa", conflicts_with = "inputs")]
    pub(crate) fasta: Option<PathBuf>,
    /// Windows to take; those of N are skipped [default: one batch]
    #[arg(long, value_name = "N", requires = "fasta")]
    pub(crate) windows: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    pub(crate) sizes: SizeArgs,
}

/// Sizes that the model's file leaves open.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct SizeArgs {
    /// Shape of an input, such as ids=1x32
    #[arg(long = "shape", value_name = "NAME=AxB", value_parser = parse_shape)]
    pub(crate) shapes: Vec<(String, Vec<usize>)>,
    /// Size of an open dimension, such as batch=4
    #[arg(long = "dim", value_name = "NAME=N", value_parser = parse_dim)]
    pub(crate) dims: Vec<(String, usize)>,
}

/// What a model is compiled for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetArgs {
    /// A built-in machine (wse2, wse3, bench16), or a machine file
    #[arg(long, value_name = "NAME|F.ron", default_value = "wse2")]
    pub(crate) machine: String,
    /// PEs that may be used, as width x height; the planner takes the rectangle of them on which the model is fastest [default:
    /// 16x16, or less on a smaller machine]
    #[arg(long, value_name = "WxH", value_parser = parse_grid)]
    pub(crate) grid: Option<Extent>,
    /// Use all PEs of the grid, even where fewer would be faster
    #[arg(long)]
    pub(crate) whole_grid: bool,
    /// Precision of floating-point numbers on the mesh: f32; or f16, bf16 or cb16, with sums in f32 (docs/numerics.md)
    #[arg(long, value_enum, default_value_t = Precision::F32, hide_possible_values = true)]
    pub(crate) dtype: Precision,
    /// Inputs of the model that one run works on, one behind another: with several stages they pipeline. A single given
    /// input is repeated
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) items: u32,
    /// What the planner makes small: the time between two items, or that of one [default: throughput with --items above 1]
    #[arg(long, value_enum, hide_possible_values = true, value_name = "throughput|latency")]
    pub(crate) optimize: Option<Optimize>,
    /// Rectangles side by side into which the model is cut [default: what the cost model finds best]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) stages: Option<u16>,
    /// Choices made instead of the planner: a RON file such as --explain prints at its end
    #[arg(long, value_name = "F.ron", conflicts_with = "stages")]
    pub(crate) plan: Option<PathBuf>,
}

/// What the planner makes small.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Optimize {
    /// The time between two items.
    Throughput,
    /// The time of one item.
    Latency,
}

/// How a program is simulated.
#[derive(Debug, Args)]
#[command(next_help_heading = "Simulation")]
pub(crate) struct EngineArgs {
    /// The engine: wavelet moves every wavelet through every router, cycle by cycle; stream moves runs of wavelets, with the
    /// same outputs and nearly the same cycles, in less time
    #[arg(long, value_enum, default_value_t = Engine::Stream, hide_possible_values = true)]
    pub(crate) engine: Engine,
    /// Host threads; 0 lets the engine choose. Results are the same at any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
    /// Only the time: no outputs, everything else is the same. The stream engine then leaves out what depends on weights, and
    /// refuses programs whose time does
    #[arg(long)]
    pub(crate) no_numerics: bool,
    /// Let the PEs compute everything, also what the program's claims cover; the stream engine else works that out on the host,
    /// whole kernels at once, with the same outputs
    #[arg(long)]
    pub(crate) no_twins: bool,
    /// Run both ways, and stop with exit code 3 at the first number in which they differ
    #[arg(long, conflicts_with_all = ["no_twins", "no_numerics"])]
    pub(crate) check_twins: bool,
    /// Stop, with exit code 3, after so many cycles of one run
    #[arg(long, value_name = "N")]
    pub(crate) max_cycles: Option<u64>,
}

/// Where results go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Results")]
pub(crate) struct OutputArgs {
    /// Write the output tensors
    #[arg(short, long, visible_alias = "output", value_name = "F.npz", conflicts_with = "no_numerics")]
    pub(crate) out: Option<PathBuf>,
    /// Write the report as JSON (docs/report.md explains it)
    #[arg(long, value_name = "F.json")]
    pub(crate) report: Option<PathBuf>,
    /// Print the report as JSON on stdout, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
    /// List every PE in the report
    #[arg(long)]
    pub(crate) per_pe: bool,
}

/// How far outputs may be from the expected ones: |found - expected| <= atol + rtol * |expected|.
#[derive(Debug, Args)]
#[command(next_help_heading = "Comparison")]
pub(crate) struct ToleranceArgs {
    /// Relative tolerance: what is equal has |found - expected| <= atol + rtol * |expected|
    #[arg(long, value_name = "X", default_value = "1e-4", value_parser = parse_tolerance)]
    pub(crate) rtol: f64,
    /// Absolute tolerance
    #[arg(long, value_name = "X", default_value = "1e-5", value_parser = parse_tolerance)]
    pub(crate) atol: f64,
}

/// Precision on the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// Single precision
    F32,
    /// Half precision in storage and between operators, sums in single precision
    F16,
    /// The same with bfloat16: the range of single precision, 8 significant bits
    Bf16,
    /// The same with the vendor's 16-bit format: 6 exponent bits, 10 significant bits
    Cb16,
}

impl Precision {
    /// The mesh's type.
    pub(crate) fn dtype(self) -> Dtype {
        match self {
            Precision::F32 => Dtype::F32,
            Precision::F16 => Dtype::F16,
            Precision::Bf16 => Dtype::Bf16,
            Precision::Cb16 => Dtype::Cb16,
        }
    }
}

/// The engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Every wavelet at every router, cycle by cycle
    Wavelet,
    /// Runs of wavelets from instruction to instruction
    Stream,
}

impl Engine {
    /// The simulator's name for it.
    pub(crate) fn simulated(self) -> waferloom_simulator::Engine {
        match self {
            Engine::Wavelet => waferloom_simulator::Engine::Wavelet,
            Engine::Stream => waferloom_simulator::Engine::Stream,
        }
    }
}

fn parse_grid(text: &str) -> Result<Extent, String> {
    let parsed = text.split_once(['x', 'X']).and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match parsed {
        Some((width, height)) if width > 0 && height > 0 => Ok(Extent { width, height }),
        _ => Err("give width x height in PEs, each from 1 to 65535, such as 16x16".into()),
    }
}

fn parse_shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let hint = || "give the input's name and its shape, such as input_ids=1x32".to_string();
    let (name, shape) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(hint)?;
    let shape: Option<Vec<usize>> = shape.split('x').map(|n| n.parse().ok().filter(|&n| n > 0)).collect();
    Ok((name.into(), shape.ok_or_else(hint)?))
}

fn parse_dim(text: &str) -> Result<(String, usize), String> {
    let parsed = text.split_once('=').and_then(|(name, size)| Some((name, size.parse().ok().filter(|&n| n > 0)?)));
    match parsed {
        Some((name, size)) if !name.is_empty() => Ok((name.into(), size)),
        _ => Err("give the dimension's name and its size, such as batch=4".into()),
    }
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let parsed = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
    let (name, value) = parsed.ok_or("give the parameter's name and its value, such as p=64")?;
    Ok((name.into(), value.into()))
}

fn parse_sweep(text: &str) -> Result<Sweep, String> {
    let (name, values) = parse_setting(text)?;
    let values = match values.split_once("..") {
        Some((first, rest)) => range(first, rest).ok_or("give a range such as 1..64, 8..64:+8 or 1..4096:x2")?,
        None => values.split(',').map(Into::into).collect(),
    };
    Ok(Sweep { name, values })
}

/// `first..last`, `first..last:+step` or `first..last:xfactor`, both ends included; at most 100 000 values.
fn range(first: &str, rest: &str) -> Option<Vec<String>> {
    let (last, step) = rest.split_once(':').unwrap_or((rest, "+1"));
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let next: Box<dyn Fn(u64) -> Option<u64>> = match step.split_at_checked(1)? {
        ("+", step) => {
            let step: u64 = step.parse().ok().filter(|&s| s > 0)?;
            Box::new(move |n| n.checked_add(step))
        }
        ("x", factor) => {
            let factor: u64 = factor.parse().ok().filter(|&f| f > 1)?;
            (first > 0).then_some(())?;
            Box::new(move |n| n.checked_mul(factor))
        }
        _ => return None,
    };
    let values: Vec<String> = std::iter::successors(Some(first), |&n| next(n))
        .take_while(|&n| n <= last)
        .take(100_001)
        .map(|n| n.to_string())
        .collect();
    (!values.is_empty() && values.len() <= 100_000).then_some(values)
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number >= 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("give a number from 0 up, such as 1e-4".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_and_nonsense_is_not() {
        assert_eq!(parse_grid("16x9"), Ok(Extent { width: 16, height: 9 }));
        for bad in ["", "16", "x", "0x4", "4x0", "-1x4", "4x70000", "4x4x4", "4 x 4"] {
            assert!(parse_grid(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_sweep("p=4..32:x2").unwrap().values, ["4", "8", "16", "32"]);
        assert_eq!(parse_sweep("p=4..9:+3").unwrap().values, ["4", "7"]);
        assert_eq!(parse_sweep("a=chain,tree").unwrap().values, ["chain", "tree"]);
        for bad in ["p", "p=", "p=0..8:x2", "p=9..4", "p=1..9:x1", "p=1..9:*2", "p=1..9:", "p=1..99999999"] {
            assert!(parse_sweep(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_shape("a=b=1x32").ok(), None);
        assert_eq!(parse_shape("ids=1x32"), Ok(("ids".into(), vec![1, 32])));
        assert_eq!(parse_dim("batch=4"), Ok(("batch".into(), 4)));
        assert!(parse_dim("=4").is_err() && parse_dim("batch").is_err() && parse_dim("batch=0").is_err());
        assert!(parse_tolerance("nan").is_err() && parse_tolerance("-1").is_err() && parse_tolerance("inf").is_err());
    }
}
