//! A program as text.

use super::number::element_text;
use super::print_code::vector_name;
use super::{is_plain, print_code};
use crate::claim::{AllReduceClaim, Claim, ClaimKind, ClaimLine, ClaimOperand, ProductClaim, TakesClaim};
use crate::geometry::{Direction, PortSet, Region};
use crate::machine::Machine;
use crate::program::{
    Buffer, BufferKind, Class, ColorRef, ColorRoute, Constant, Filter, Param, ParamValues, Payload, Port, PortKind,
    Program,
};
use crate::tensor::{Distribution, Dtype};
use base64::Engine as _;
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// Constants of up to this many bytes are listed as numbers.
const MAX_LISTED_BYTES: usize = 256;
/// Characters in a line of a list or of base64.
const LINE: usize = 100;

/// The text form of a program, which [`super::parse()`] reads back to the same value.
pub fn print(program: &Program) -> String {
    let mut printer = Printer::new(program);
    printer.header(program);
    for param in &program.params {
        printer.param(param);
    }
    for operator in &program.operators {
        let line = format!(
            "operator {} {} {} flops {} bytes {}",
            quoted(&operator.name),
            quoted(&operator.kind),
            region(&operator.region),
            operator.flops,
            operator.bytes
        );
        printer.line(line);
    }
    for claim in &program.claims {
        printer.line(claim_text(claim));
    }
    for route in &program.routes {
        printer.route(route);
    }
    for class in &program.classes {
        printer.class(class);
    }
    for placement in &program.placements {
        let class = printer.classes.name(placement.class);
        printer.line(format!("place {class} {}", region(&placement.region)));
    }
    for constant in &program.constants {
        printer.constant(constant);
    }
    for port in &program.ports {
        printer.port(port);
    }
    for result in &program.readbacks {
        let (shape, dealt) = tensor(result.dtype, &result.distribution);
        let (name, at) = (quoted(&result.name), result.origin);
        printer.line(format_args!("result {name} : {shape} at {} origin {},{} {dealt}", result.address, at.x, at.y));
    }
    printer.out
}

/// What may be referred to by name: the printed reference of each index.
pub(super) struct Names(Vec<Option<String>>);

impl Names {
    fn new<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let mut uses = BTreeMap::new();
        for name in names.clone() {
            *uses.entry(name).or_insert(0usize) += 1;
        }
        // A name that stands for two things stands for none: those are referred to by index.
        Self(names.map(|name| (uses[name] == 1).then(|| quoted(name))).collect())
    }

    /// The name, or `#index`.
    pub(super) fn name(&self, index: u32) -> String {
        self.0.get(index as usize).cloned().flatten().unwrap_or_else(|| format!("#{index}"))
    }
}

/// The text so far, and the names in force.
pub(super) struct Printer {
    pub(super) out: String,
    pub(super) params: Names,
    pub(super) operators: Names,
    classes: Names,
    /// Buffers of the class that is being printed: address, length, printed name.
    pub(super) buffers: Vec<(u32, u32, String)>,
}

impl Printer {
    fn new(program: &Program) -> Self {
        Self {
            out: String::new(),
            params: Names::new(program.params.iter().map(|p| p.name.as_str())),
            operators: Names::new(program.operators.iter().map(|o| o.name.as_str())),
            classes: Names::new(program.classes.iter().map(|c| c.name.as_str())),
            buffers: Vec::new(),
        }
    }

    pub(super) fn line(&mut self, line: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{line}");
    }

    fn header(&mut self, program: &Program) {
        self.line(format_args!("program {}", string(&program.name)));
        let machine = &program.machine;
        if Machine::builtin(&machine.name).as_ref() == Some(machine) {
            self.line(format_args!("machine {}", machine.name));
        } else {
            self.line(format_args!("machine {{\n{}\n}}", machine.to_ron()));
        }
        self.line(format_args!("grid {}x{}", program.grid.width, program.grid.height));
        if program.items != 1 {
            self.line(format_args!("items {}", program.items));
        }
        self.line("");
    }

    fn param(&mut self, param: &Param) {
        let (kind, values) = match &param.values {
            ParamValues::ByColumn(values) => ("columns", values),
            ParamValues::ByRow(values) => ("rows", values),
            ParamValues::PerPe(values) => ("pes", values),
        };
        let list = list(runs(values));
        self.line(format_args!("param {} = {kind} {list}", quoted(&param.name)));
    }

    fn route(&mut self, route: &ColorRoute) {
        let mut items: Vec<String> =
            route.positions.iter().map(|p| format!("pos {} -> {}", port_set(p.rx), port_set(p.tx))).collect();
        if route.start != 0 {
            items.push(format!("start {}", route.start));
        }
        if route.ring {
            items.push("ring".into());
        }
        match route.filter {
            Some(Filter::Range { low, high }) => items.push(format!("filter range {low}..={high}")),
            Some(Filter::Count { first, pass, period }) => {
                items.push(format!("filter count first {first} pass {pass} period {period}"));
            }
            None => {}
        }
        self.line(format_args!("route c{} {} {{ {} }}", route.color.0, region(&route.region), items.join("; ")));
    }

    fn class(&mut self, class: &Class) {
        let uses = Names::new(class.buffers.iter().map(|b| b.name.as_str()));
        self.buffers =
            (class.buffers.iter().zip(uses.0)).filter_map(|(b, name)| Some((b.address, b.bytes, name?))).collect();
        self.line(format_args!("\nclass {} {{", quoted(&class.name)));
        for (word, bindings) in [("in", &class.input_queues), ("out", &class.output_queues)] {
            for binding in bindings {
                let color = match binding.color {
                    ColorRef::Fixed(color) => format!("c{}", color.0),
                    ColorRef::Param(param) => format!("${}", self.params.name(param)),
                };
                self.line(format_args!("  {word} q{} = {color}", binding.queue));
            }
        }
        for (index, fifo) in class.fifos.iter().enumerate() {
            self.line(format_args!("  fifo f{index} at {} words {}", fifo.address, fifo.words));
        }
        for buffer in &class.buffers {
            self.buffer(buffer);
        }
        for task in &class.tasks {
            print_code::task(self, task);
        }
        self.line("}");
    }

    fn buffer(&mut self, buffer: &Buffer) {
        let live = buffer.live.map(|(first, last)| format!(" live {first}..={last}")).unwrap_or_default();
        let of = buffer.owner.map(|owner| format!(" of {owner}")).unwrap_or_default();
        let Buffer { name, address, bytes, kind, .. } = buffer;
        self.line(format_args!("  buffer {} at {address} bytes {bytes} {}{of}{live}", quoted(name), kind_name(*kind)));
    }

    fn constant(&mut self, constant: &Constant) {
        let tensor = tensor(constant.dtype, &constant.distribution);
        let payload = match &constant.payload {
            Payload::Inline(bytes) => inline(bytes, constant.dtype),
            Payload::File { path, offset, sha256 } => {
                format!("file {} offset {offset} sha256 {}", string(path), string(sha256))
            }
        };
        let (name, at) = (quoted(&constant.name), constant.origin);
        let (shape, dealt) = tensor;
        self.line(format_args!(
            "const {name} : {shape} at {} origin {},{} {dealt} = {payload}",
            constant.address, at.x, at.y
        ));
    }

    fn port(&mut self, port: &Port) {
        let word = match port.kind {
            PortKind::Input => "input",
            PortKind::Output => "output",
        };
        let (shape, dealt) = tensor(port.dtype, &port.distribution);
        self.line(format_args!(
            "{word} {} : {shape} {dealt} edge {} at {},{} color c{}",
            quoted(&port.name),
            direction_name(port.edge),
            port.at.x,
            port.at.y,
            port.color.0
        ));
    }
}

fn claim_text(claim: &Claim) -> String {
    match claim {
        Claim::Product(claim) => product_text(claim),
        Claim::Takes(TakesClaim { region: pes, line, dtype, first, end, words, rank }) => format!(
            "claim takes {} {} {} first {first} end {end} words {words} rank {rank}",
            claim_line_name(*line),
            dtype.name(),
            region(pes)
        ),
        Claim::AllReduce(AllReduceClaim { region: pes, line, op, count }) => {
            format!("claim all_reduce {} {} {} count {count}", claim_line_name(*line), vector_name(*op), region(pes))
        }
    }
}

/// The keyword of the PEs that a PE has to do with.
pub(super) fn claim_line_name(line: ClaimLine) -> &'static str {
    match line {
        ClaimLine::Row => "row",
        ClaimLine::Column => "column",
        ClaimLine::Own => "own",
    }
}

fn product_text(claim: &ProductClaim) -> String {
    let ProductClaim { kind, region: pes, dtype, rows, columns, inner, block, left, right, batch } = claim;
    let operand = |side: &str, operand: &ClaimOperand| {
        let ClaimOperand { split, matrix, slot, line, step } = operand;
        let split = if *split { " split" } else { "" };
        format!(" {side}{split} matrix {matrix} slot {slot} line {line} step {step}")
    };
    let mut text = format!("claim {} {} {}", claim_kind_name(*kind), dtype.name(), region(pes));
    let _ = write!(text, " rows {rows} columns {columns} inner {inner} block {block}");
    text += &(operand("left", left) + &operand("right", right));
    for dim in batch {
        let _ = write!(text, " batch {} by {}, {}", dim.size, dim.left, dim.right);
    }
    text
}

/// The keyword of a claim's kind.
pub(super) fn claim_kind_name(kind: ClaimKind) -> &'static str {
    match kind {
        ClaimKind::Product => "product",
        ClaimKind::ColumnSums => "column_sums",
    }
}

/// The keyword of a buffer's kind.
pub(super) fn kind_name(kind: BufferKind) -> &'static str {
    match kind {
        BufferKind::Weight => "weight",
        BufferKind::Activation => "activation",
        BufferKind::Scratch => "scratch",
        BufferKind::Table => "table",
    }
}

/// The keyword of a port of a router.
pub(crate) fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::West => "WEST",
        Direction::East => "EAST",
        Direction::North => "NORTH",
        Direction::South => "SOUTH",
        Direction::Ramp => "RAMP",
    }
}

fn port_set(set: PortSet) -> String {
    let mut words: Vec<String> = set.iter().map(|d| direction_name(d).to_owned()).collect();
    // Bits that are no port: nonsense, but a program's own nonsense.
    let rest = set.0 & !PortSet::of(&Direction::ALL).0;
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    if words.is_empty() { "none".into() } else { words.join(" ") }
}

fn region(region: &Region) -> String {
    let Region { x, y, width, height, step_x, step_y } = region;
    let step = if (*step_x, *step_y) == (1, 1) { String::new() } else { format!(" step {step_x}x{step_y}") };
    format!("at {x},{y} size {width}x{height}{step}")
}

/// The two halves of a dealt tensor: type with shape, and where its tiles go.
fn tensor(dtype: Dtype, d: &Distribution) -> (String, String) {
    let shape: Vec<String> = d.shape.iter().map(u32::to_string).collect();
    let mut dealt = format!("on {}x{}", d.grid.width, d.grid.height);
    for (axis, split) in [("x", d.x), ("y", d.y)] {
        if let Some(split) = split {
            let _ = write!(dealt, " {axis} dim {} by {}", split.dim, split.block);
        }
    }
    (format!("{}[{}]", dtype.name(), shape.join(", ")), dealt)
}

fn inline(bytes: &[u8], dtype: Dtype) -> String {
    let size = dtype.bytes() as usize;
    if bytes.len() <= MAX_LISTED_BYTES && bytes.len().is_multiple_of(size) {
        let bits = bytes.chunks(size).map(|e| e.iter().rev().fold(0u32, |bits, &b| bits << 8 | u32::from(b)));
        return list(bits.map(|bits| element_text(bits, dtype)));
    }
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut out = String::from("base64");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        let _ = write!(out, "\n  \"{line}\"");
        rest = more;
    }
    out
}

/// Values with `first..=last` for runs that count up and `value * times` for equal ones.
fn runs(values: &[i32]) -> impl Iterator<Item = String> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = values.get(at..)?;
        let first = *rest.first()?;
        let equal = rest.iter().take_while(|&&v| v == first).count();
        let up = rest.iter().zip(0i64..).take_while(|&(&v, n)| i64::from(v) == i64::from(first) + n).count();
        let (len, text) = if equal >= 4 {
            (equal, format!("{first} * {equal}"))
        } else if up >= 4 {
            (up, format!("{first}..={}", rest[up - 1]))
        } else {
            (1, first.to_string())
        };
        at += len;
        Some(text)
    })
}

/// `[a, b, …]`, on several lines when it is long.
fn list(items: impl Iterator<Item = String>) -> String {
    let mut lines = vec![String::new()];
    for item in items {
        let last = lines.len() - 1;
        if lines[last].len() + item.len() > LINE {
            lines[last].push(',');
            lines.push(item);
        } else {
            if !lines[last].is_empty() {
                lines[last].push_str(", ");
            }
            lines[last].push_str(&item);
        }
    }
    if lines.len() == 1 {
        return format!("[{}]", lines[0]);
    }
    format!("[\n  {}\n]", lines.join("\n  "))
}

/// A name, in quotes when it is not an identifier.
pub(super) fn quoted(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { string(name) }
}

/// A string in quotes.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
