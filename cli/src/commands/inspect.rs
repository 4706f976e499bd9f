//! `waferloom inspect`: a program as text, or what a model consists of.

use crate::args::InspectArgs;
use crate::errors::{Error, Exit};
use crate::{inputs, load, write};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use waferloom_driver::load::check_file;
use waferloom_models::Graph;
use waferloom_models::graph::{ConstantData, Op};

/// First bytes of a program in the compact form.
const COMPACT: &[u8] = b"\x89WLOOM";

/// Runs the command.
pub(crate) fn run(args: &InspectArgs) -> Result<Exit, Error> {
    check_file(&args.file)?;
    let text = if is_program(&args.file) {
        waferloom_fabric::text::print(&waferloom_driver::load::program(&args.file)?)
    } else {
        summary(&load::model(&args.file, &args.sizes, None)?.graph)
    };
    write::stdout(&text)?;
    Ok(Exit::Done)
}

/// By its first bytes or by its name; anything else is taken for a model, whose reader says what is wrong with it.
fn is_program(path: &Path) -> bool {
    let mut start = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(COMPACT.len() as u64).read_to_end(&mut start);
    }
    let named = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("wlt") || e.eq_ignore_ascii_case("wlp"));
    start == COMPACT || named
}

fn summary(graph: &Graph) -> String {
    let (mut operators, mut parameters) = (BTreeMap::<String, usize>::new(), 0);
    for id in graph.nodes() {
        match &graph.node(id).op {
            Op::Constant(ConstantData::Float(values)) => parameters += values.len(),
            Op::Constant(ConstantData::Int(_)) | Op::Input => {}
            op => *operators.entry(name(op)).or_default() += 1,
        }
    }
    let mut out = format!("model {}\n\ninputs\n{}\n\noutputs\n", graph.name, inputs::list(graph));
    // Writing to a string cannot fail.
    for (name, id) in &graph.outputs {
        let _ = writeln!(out, "  {name}: {}", inputs::type_name(&graph.node(*id).output));
    }
    let total: usize = operators.values().sum();
    let _ = writeln!(out, "\nconstants: {} numbers\n\noperators: {total}", crate::summary::grouped(parameters as u64));
    let mut order: Vec<_> = operators.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    for (name, count) in order {
        let _ = writeln!(out, "  {count:5}  {name}");
    }
    let _ = write!(out, "\n{}", waferloom_models::text::summary(graph));
    out
}

/// `MatMul`, `Add`: an operator without its settings.
fn name(op: &Op) -> String {
    let name = match op {
        Op::Unary(op) => format!("{op:?}"),
        Op::Binary(op) => format!("{op:?}"),
        Op::Reduce { op, .. } => format!("Reduce{op:?}"),
        op => format!("{op:?}"),
    };
    name.chars().take_while(char::is_ascii_alphanumeric).collect()
}
