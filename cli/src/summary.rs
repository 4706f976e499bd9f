//! What people read at the end of a command: aligned, in at most 100 columns.

pub(crate) mod kernel;
mod numbers;
mod table;
pub(crate) mod validation;

pub(crate) use numbers::{grouped, short};

use crate::args::ToleranceArgs;
use crate::compare::{Difference, index};
use crate::job::Finished;
use numbers::{bytes, duration, percent, si};
use std::fmt::Write as _;
use std::path::Path;
use table::{Align, table};
use waferloom_fabric::{Machine, Program};
use waferloom_models::{Tensor, TensorData};
use waferloom_simulator::Report;
use waferloom_simulator::report::{Bound, OperatorReport, PeReport, Pipeline, SramByKind, StageReport};

/// Operators that the summary lists; the report has all.
const MOST_OPERATORS: usize = 8;
/// PEs that the summary lists.
const MOST_PES: usize = 4;
/// Elements that the summary shows of an output.
const MOST_ELEMENTS: usize = 6;
/// Longest name of an operator.
const MOST_OPERATOR_NAME: usize = 48;
/// Longest name of an operator beside many columns.
const MOST_PLACED_NAME: usize = 32;
/// Longest name in the other tables.
const MOST_NAME: usize = 24;

/// The summary of a run.
pub(crate) fn summary(finished: &Finished, machine: &Machine) -> String {
    let report = &finished.report;
    let mut out = format!(
        "{} in {} on {}x{} of the {}x{} PEs of {}, {} engine\n\n",
        report.model,
        report.dtype,
        report.grid.width,
        report.grid.height,
        machine.fabric.width,
        machine.fabric.height,
        report.machine,
        report.engine
    );
    for (index, note) in finished.notes.iter().enumerate() {
        line(&mut out, if index == 0 { "input" } else { "" }, note);
    }
    times(&mut out, report, machine);
    resources(&mut out, report);
    stages(&mut out, report);
    operators(&mut out, report);
    placement(&mut out, report);
    pes(&mut out, report);
    outputs(&mut out, finished);
    let host = report.host_seconds;
    let phases = [("import", host.import), ("compile", host.compile), ("simulate", host.simulate)];
    let phases = phases.iter().filter(|(_, s)| *s > 0.0).map(|(name, s)| format!("{name} {}", duration(*s)));
    out.push('\n');
    line(&mut out, "host time", &phases.collect::<Vec<_>>().join(", "));
    out
}

/// Columns of a line.
const WIDTH: usize = 100;

/// Text in lines of at most [`WIDTH`] columns, each behind `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    textwrap::fill(text, textwrap::Options::new(WIDTH).initial_indent(indent).subsequent_indent(indent)) + "\n"
}

/// A label and what belongs to it. Writing to a string cannot fail, here and below.
fn line(out: &mut String, label: &str, text: &str) {
    let _ = writeln!(out, "{label:13}{text}");
}

fn times(out: &mut String, report: &Report, machine: &Machine) {
    let runs = match report.runs {
        0 | 1 => String::new(),
        n => format!(" in {n} batches of {}", duration(report.seconds / n as f64)),
    };
    let clock = format!("{}Hz", si(machine.clock_hz));
    let cycles = grouped(report.cycles);
    line(out, "time", &format!("{} ({cycles} cycles at {clock}){runs}", duration(report.seconds)));
    let rate = &report.throughput;
    let per_second = grouped(rate.items_per_second.round() as u64);
    line(out, "throughput", &format!("{per_second} {}/s ({} in this run)", rate.unit, grouped(rate.items)));
    if report.flops.total > 0 {
        let flops = format!("{}FLOP/s ({}FLOP)", si(report.flops.per_second), si(report.flops.total as f64));
        line(out, "arithmetic", &flops);
    }
    if let Some(pipeline) = &report.pipeline {
        flow(out, pipeline, report, machine);
    }
    line(out, "bound by", &bound(report));
}

/// Items behind one another.
fn flow(out: &mut String, pipeline: &Pipeline, report: &Report, machine: &Machine) {
    let time = |cycles: f64| duration(cycles / machine.clock_hz);
    // An item of the program is a batch of the user's items.
    let batch = report.throughput.items as f64 / (report.runs * pipeline.items_per_run).max(1) as f64;
    line(
        out,
        "steady state",
        &format!(
            "{} {}/s: one {} every {}",
            grouped((pipeline.steady_items_per_second * batch).round() as u64),
            report.throughput.unit,
            if batch > 1.0 { "batch" } else { "item" },
            time(pipeline.interval_cycles)
        ),
    );
    let (fill, drain) = (time(pipeline.fill_cycles), time(pipeline.drain_cycles));
    line(out, "latency", &format!("{fill} until the first is out (fill); {drain} from the last's entry (drain)"));
}

/// The stages and where their cycles went.
fn stages(out: &mut String, report: &Report) {
    let Some(pipeline) = &report.pipeline else { return };
    let heading = ["stages", "columns", "steady busy", "busy", "for data", "for room", "for memory", "idle"];
    let row = |stage: &StageReport| {
        let (first, u) = (stage.region.x, &stage.utilisation);
        let shares = [stage.steady_busy, u.busy, u.fabric_in, u.fabric_out, u.memory, u.idle].map(percent);
        let columns = format!("{first}..={}", first + stage.region.width.saturating_sub(1));
        [vec![short(&stage.name, MOST_NAME), columns], shares.to_vec()].concat()
    };
    let mut align = vec![Align::Right; heading.len()];
    align[0] = Align::Left;
    let rows = std::iter::once(heading.map(String::from).to_vec()).chain(pipeline.stages.iter().map(row)).collect();
    let _ = write!(out, "\n{}", table(rows, &align));
}

/// What limits the speed, in words, with the number that says so.
fn bound(report: &Report) -> String {
    let u = &report.utilisation;
    let share = |share| format!("{} of all PE-cycles", percent(share));
    match report.bound_by {
        Bound::HostLink => {
            format!("the links to the host: {} of what they can carry", percent(report.host_link.load))
        }
        Bound::Link => format!("a link between two routers: {} full", percent(report.links.peak_load)),
        Bound::Compute => format!("compute: PEs work in {}", share(u.busy)),
        Bound::FabricIn => format!("communication: PEs wait for wavelets in {}", share(u.fabric_in)),
        Bound::FabricOut => format!("communication: PEs wait for room in queues in {}", share(u.fabric_out)),
        Bound::Memory => format!("memory: PEs wait for their SRAM in {}", share(u.memory)),
        Bound::Idle => format!("too little work at a time: PEs are idle in {}", share(u.idle)),
    }
}

fn resources(out: &mut String, report: &Report) {
    let (sram, u, links) = (&report.sram, &report.utilisation, &report.links);
    line(out, "PEs", &format!("{} of {} run code", report.pes_used, report.grid.pes()));
    let capacity = sram.capacity_bytes;
    let peak = percent(sram.peak_bytes as f64 / capacity.max(1) as f64);
    let at = sram.fullest_pe.map_or(String::new(), |[x, y]| format!(" in PE ({x}, {y})"));
    let mean = bytes(sram.mean_bytes);
    line(
        out,
        "SRAM",
        &format!("peak {} of {}{at} ({peak}), mean {mean}", bytes(sram.peak_bytes as f64), bytes(capacity as f64)),
    );
    line(out, "", &kinds(&sram.fullest));
    let shares = [
        ("busy", u.busy),
        ("waiting for data", u.fabric_in),
        ("for room", u.fabric_out),
        ("for memory", u.memory),
        ("idle", u.idle),
    ];
    let shares = shares.map(|(name, share)| format!("{name} {}", percent(share)));
    line(out, "PE-cycles", &shares.join(", "));
    let mut text = format!("peak {:.3}, mean {:.3} wavelets a cycle", links.peak_load, links.mean_load);
    if let (Some([x, y]), Some(direction)) = (links.peak_pe, links.peak_direction) {
        let _ = write!(text, "; fullest from ({x}, {y}) to the {}", format!("{direction:?}").to_lowercase());
    }
    line(out, "links", &text);
    let host = &report.host_link;
    line(
        out,
        "host link",
        &format!(
            "{} wavelets in, {} out, {} of what it can carry",
            grouped(host.sent_wavelets),
            grouped(host.received_wavelets),
            percent(host.load)
        ),
    );
}

/// The kinds of memory that hold anything, in KiB.
fn kinds(sram: &SramByKind) -> String {
    let all = [
        ("weights", sram.weights),
        ("tables", sram.tables),
        ("activations", sram.activations),
        ("scratch", sram.scratch),
        ("FIFOs", sram.fifos),
        ("code", sram.code),
        ("free", sram.free),
    ];
    let some = all.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {:.1}", *n as f64 / 1024.0));
    some.collect::<Vec<_>>().join(", ") + " KiB"
}

fn operators(out: &mut String, report: &Report) {
    if report.operators.is_empty() {
        return;
    }
    let mut order: Vec<_> = report.operators.iter().collect();
    // Stages that wait for others do so in some operator: with a pipeline what counts is work.
    let weight = |o: &OperatorReport| {
        let share = if report.pipeline.is_some() { o.utilisation } else { 1.0 };
        (o.cycles as f64 * share) as u64
    };
    order.sort_by_key(|o| std::cmp::Reverse(weight(o)));
    let share = if report.pipeline.is_none() { "share" } else { "of its PEs" };
    let heading = ["heaviest operators", "kind", "cycles", share, "flops", "busy"].map(String::from).to_vec();
    let rows = order.iter().take(MOST_OPERATORS).map(|o| {
        vec![
            short(&o.name, MOST_OPERATOR_NAME),
            short(&o.kind, 14),
            grouped(o.cycles),
            percent(o.cycles as f64 / report.cycles.max(1) as f64),
            if o.flops == 0 { "-".into() } else { si(o.flops as f64).trim_end().into() },
            percent(o.utilisation),
        ]
    });
    let left = [Align::Left, Align::Left, Align::Right, Align::Right, Align::Right, Align::Right];
    let _ = write!(out, "\n{}", table(std::iter::once(heading).chain(rows).collect(), &left));
    if let Some(more) = order.len().checked_sub(MOST_OPERATORS).filter(|&n| n > 0) {
        let rest: u64 = order[MOST_OPERATORS..].iter().map(|o| o.cycles).sum();
        // Stages work at the same time: only shares of one stage add up.
        let share = percent(rest as f64 / report.cycles.max(1) as f64);
        let share = if report.pipeline.is_none() { format!(" ({share})") } else { String::new() };
        let _ = writeln!(out, "and {more} more with {} cycles{share}", grouped(rest));
    }
}

/// The operators with most memory in a PE, and the classes of PEs when there are several.
fn placement(out: &mut String, report: &Report) {
    let kib = |bytes: u64| if bytes == 0 { "-".into() } else { format!("{:.1}", bytes as f64 / 1024.0) };
    let align = |columns: usize, words: usize| -> Vec<Align> {
        (0..columns).map(|i| if i < words { Align::Left } else { Align::Right }).collect()
    };
    if report.sram.classes.len() > 1 {
        let heading = ["fullest PEs, KiB", "PEs", "from", "used", "weights", "tables", "activations", "code", "free"];
        let rows = report.sram.classes.iter().take(MOST_OPERATORS).map(|class| {
            let (holds, [x, y]) = (&class.holds, class.first_pe);
            let sizes = [class.used_bytes, holds.weights, holds.tables, holds.activations, holds.code, holds.free];
            let words = [short(&class.name, MOST_NAME), class.pes.to_string(), format!("({x}, {y})")];
            words.into_iter().chain(sizes.map(kib)).collect()
        });
        let rows = std::iter::once(heading.map(String::from).to_vec()).chain(rows).collect();
        let _ = write!(out, "\n{}", table(rows, &align(heading.len(), 1)));
    }
    let mut order: Vec<_> = report.operators.iter().filter(|o| o.memory.bytes() > 0).collect();
    order.sort_by_key(|o| std::cmp::Reverse(o.memory.bytes()));
    if order.is_empty() {
        return;
    }
    let heading = ["largest in a PE, KiB", "kind", "all", "weights", "tables", "results", "scratch", "code"];
    let rows = order.iter().take(MOST_OPERATORS).map(|o| {
        let m = &o.memory;
        let sizes = [m.bytes(), m.weights, m.tables, m.activations, m.scratch, m.code];
        [short(&o.name, MOST_PLACED_NAME), short(&o.kind, 14)].into_iter().chain(sizes.map(kib)).collect()
    });
    let rows = std::iter::once(heading.map(String::from).to_vec()).chain(rows).collect();
    let _ = write!(out, "\n{}", table(rows, &align(heading.len(), 2)));
    if let Some(more) = order.len().checked_sub(MOST_OPERATORS).filter(|&n| n > 0) {
        let rest: u64 = order[MOST_OPERATORS..].iter().map(|o| o.memory.bytes()).sum();
        let _ = writeln!(out, "and {more} more with {}, some of it in turns", bytes(rest as f64));
    }
}

fn pes(out: &mut String, report: &Report) {
    if report.heaviest_pes.is_empty() {
        return;
    }
    let heading = ["heaviest PEs", "class", "busy", "for data", "for room", "for memory", "idle", "SRAM"];
    let share = |cycles| percent(cycles as f64 / report.cycles.max(1) as f64);
    let row = |pe: &PeReport| {
        vec![
            format!("({}, {})", pe.x, pe.y),
            short(pe.class.as_deref().unwrap_or("-"), MOST_NAME),
            share(pe.busy),
            share(pe.fabric_in),
            share(pe.fabric_out),
            share(pe.memory),
            share(pe.idle),
            bytes(pe.sram_bytes as f64),
        ]
    };
    let rows = report.heaviest_pes.iter().take(MOST_PES).map(row);
    let mut align = vec![Align::Right; heading.len()];
    align[..2].fill(Align::Left);
    let rows = std::iter::once(heading.map(String::from).to_vec()).chain(rows).collect();
    let _ = write!(out, "\n{}", table(rows, &align));
}

fn outputs(out: &mut String, finished: &Finished) {
    if finished.timing_only {
        out.push('\n');
        line(out, "outputs", "none: --no-numerics computes the time alone");
    }
    if finished.outputs.is_empty() {
        return;
    }
    let heading = if finished.differences.is_empty() {
        ["outputs", "shape", "first elements"]
    } else {
        ["outputs", "shape", "against the expected"]
    };
    let rows = finished.outputs.iter().map(|(name, tensor)| {
        let text = match finished.differences.get(name) {
            Some(difference) => difference_text(difference, tensor.len()),
            None => first_elements(tensor),
        };
        vec![short(name, MOST_NAME), format!("{:?}", tensor.shape), text]
    });
    let rows = std::iter::once(heading.map(String::from).to_vec()).chain(rows).collect();
    let _ = write!(out, "\n{}", table(rows, &[Align::Left; 3]));
}

fn first_elements(tensor: &Tensor) -> String {
    let mut words: Vec<String> = match &tensor.data {
        TensorData::F32(values) => values.iter().take(MOST_ELEMENTS).map(|x| format!("{x:.4}")).collect(),
        TensorData::I64(values) => values.iter().take(MOST_ELEMENTS).map(ToString::to_string).collect(),
    };
    if tensor.len() > MOST_ELEMENTS {
        words.push("…".into());
    }
    words.join(" ")
}

fn difference_text(difference: &Difference, elements: usize) -> String {
    let number = |x: Option<f64>| match x {
        None => "not finite".to_string(),
        Some(0.0) => "0".into(),
        Some(x) => format!("{x:.1e}"),
    };
    let errors = format!("max error {} absolute, {} relative", number(difference.max_abs), number(difference.max_rel));
    match difference.mismatches {
        0 => format!("equal: {errors}"),
        n => format!("DIFFERS in {} of {}: {errors}", grouped(n), grouped(elements as u64)),
    }
}

/// What `verify` says.
pub(crate) fn verdict(finished: &Finished, tolerance: &ToleranceArgs) -> String {
    let mut out = String::new();
    outputs(&mut out, finished);
    let mut out = out.trim_start().to_string();
    for (name, difference) in &finished.differences {
        if let (Some((at, found, expected)), Some(tensor)) = (difference.worst, finished.outputs.get(name)) {
            let at = index(at, &tensor.shape);
            let _ = writeln!(out, "worst of {name}: at {at:?} found {found}, expected {expected}");
        }
    }
    let same = finished.differences.values().all(|d| d.mismatches == 0);
    let word = if same { "equal" } else { "different" };
    let _ = writeln!(out, "\n{word} (rtol {}, atol {})", tolerance.rtol, tolerance.atol);
    out
}

/// What `compile` says.
pub(crate) fn compiled(program: &Program, report: &Report, path: &Path, file_bytes: u64) -> String {
    let grid = program.grid;
    let mut out = format!("{} ({})\n\n", path.display(), bytes(file_bytes as f64));
    line(
        &mut out,
        "program",
        &format!("{}, {}x{} PEs of {}", program.name, grid.width, grid.height, program.machine.name),
    );
    line(&mut out, "operators", &program.operators.len().to_string());
    let sram = &report.sram;
    line(&mut out, "SRAM", &format!("peak {} of {}", bytes(sram.peak_bytes as f64), bytes(sram.capacity_bytes as f64)));
    line(&mut out, "", &kinds(&sram.fullest));
    placement(&mut out, report);
    out
}
