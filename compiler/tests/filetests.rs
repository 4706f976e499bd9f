//! File tests: each `tests/filetests/*.txt` holds a graph, the passes to run on it, and the graph that must come out.
//!
//! ```text
//! # What the file shows.
//! passes merge-products, fold-affine
//! tolerance 1e-5
//!
//! graph "before"
//! ..
//! ----
//! graph "before"
//! .. as printed afterwards
//! ```
//!
//! Passes are those of the compiler and of the importer, by their names; `prepare` stands for all of the compiler's. The
//! interpreter must compute the same from both graphs for three sets of random inputs: to the bit, or where the header allows a
//! `tolerance`, up to that times the larger of 1 and the number. A line `plan WxH dtype` asks for the plan of the result
//! on a grid of the machine `bench16` instead of the graph.
//!
//! To write what comes out now as expected, set the variable `WAFERLOOM_UPDATE`, as in
//! `WAFERLOOM_UPDATE=1 cargo test -p waferloom-compiler --test filetests`; then read the difference before you commit it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use waferloom_compiler::passes::default_passes;
use waferloom_compiler::{Options, plan};
use waferloom_fabric::{Dtype, Extent, Machine};
use waferloom_models::graph::ElementType;
use waferloom_models::passes::{self, Pass};
use waferloom_models::{Graph, Tensor, TensorData, evaluate, text, verify};

/// Between what is given and what is expected.
const SEPARATOR: &str = "----\n";

/// The header of a file.
#[derive(Default)]
struct Header {
    passes: Vec<Pass>,
    tolerance: f32,
    plan: Option<(Extent, Dtype)>,
}

fn header(text: &str) -> Result<Header, String> {
    let mut header = Header::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "passes" => {
                for name in rest.split(',') {
                    header.passes.extend(named(name.trim())?);
                }
            }
            "tolerance" => header.tolerance = rest.parse().map_err(|e| format!("tolerance {rest}: {e}"))?,
            "plan" => header.plan = Some(target(rest).ok_or_else(|| format!("plan {rest}: write plan 4x3 f32"))?),
            _ => return Err(format!("\"{line}\" is no line of a header")),
        }
    }
    if header.passes.is_empty() { Err("the header names no passes".into()) } else { Ok(header) }
}

fn named(name: &str) -> Result<Vec<Pass>, String> {
    if name == "prepare" {
        return Ok(default_passes());
    }
    let known = default_passes().into_iter().chain(passes::default_passes());
    known.into_iter().find(|pass| pass.name == name).map(|p| vec![p]).ok_or_else(|| format!("no pass is named {name}"))
}

fn target(words: &str) -> Option<(Extent, Dtype)> {
    let (grid, dtype) = words.split_once(' ')?;
    let (width, height) = grid.split_once('x')?;
    let dtype = [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::Cb16].into_iter().find(|d| d.name() == dtype)?;
    Some((Extent { width: width.parse().ok()?, height: height.parse().ok()? }, dtype))
}

/// Random values for all inputs: floats between -1 and 1, integers and truth values 0 or 1.
fn random_inputs(graph: &Graph, mut state: u64) -> BTreeMap<String, Tensor> {
    // D. Knuth's MMIX generator; its high bits are the random ones.
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u32
    };
    let mut tensor = |id| {
        let node = graph.node(id);
        let count = node.output.shape.iter().product();
        let data = match node.output.element {
            ElementType::Float => TensorData::F32((0..count).map(|_| next() as f32 / (1 << 23) as f32 - 1.0).collect()),
            _ => TensorData::I64((0..count).map(|_| i64::from(next() >> 23)).collect()),
        };
        (node.name.clone(), Tensor { shape: node.output.shape.clone(), data })
    };
    graph.inputs.iter().map(|&id| tensor(id)).collect()
}

/// Holds what two graphs compute against each other.
fn equivalent(before: &Graph, after: &Graph, tolerance: f32) -> Result<(), String> {
    for seed in 1..4 {
        let inputs = random_inputs(before, seed);
        let [expected, found] = [before, after].map(|graph| evaluate(graph, &inputs).map_err(|e| e.to_string()));
        let (expected, found) = (expected?, found?);
        for (name, expected) in expected {
            let found = found.get(&name).ok_or_else(|| format!("the output \"{name}\" is gone"))?;
            let near = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a - b).abs() <= tolerance * b.abs().max(1.0);
            let pairs = found.to_f32().into_iter().zip(expected.to_f32()).enumerate();
            if found.shape != expected.shape {
                return Err(format!("the output \"{name}\" has shape {:?}, not {:?}", found.shape, expected.shape));
            }
            if let Some((i, (a, b))) = pairs.into_iter().find(|&(_, (a, b))| !near(a, b)) {
                return Err(format!("element {i} of the output \"{name}\" is {a}, not {b}"));
            }
        }
    }
    Ok(())
}

/// What comes out of a file's graph.
fn result(head: &str, body: &str) -> Result<String, String> {
    let header = header(head)?;
    let before = text::parse(body).map_err(|e| e.to_string())?;
    verify(&before).map_err(|e| e.to_string())?;
    let after = passes::run(&before, &header.passes).map_err(|e| e.to_string())?;
    equivalent(&before, &after, header.tolerance)?;
    let Some((grid, dtype)) = header.plan else { return Ok(text::print(&after)) };
    let machine = Machine::builtin("bench16").ok_or("no machine bench16")?;
    plan(&after, &Options { whole_grid: true, ..Options::new(machine, grid, dtype) })
        .map(|plan| plan.to_string())
        .map_err(|e| e.to_string())
}

/// Lines of both texts: those that only one has are marked, after their longest common beginning and before their longest
/// common end.
fn difference(expected: &str, found: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let front = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let back = a[front..].iter().rev().zip(b[front..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for (mark, lines) in [
        (' ', &a[..front]),
        ('-', &a[front..a.len() - back]),
        ('+', &b[front..b.len() - back]),
        (' ', &a[a.len() - back..]),
    ] {
        for line in lines {
            let _ = writeln!(text, "{mark} {line}");
        }
    }
    text
}

/// Runs a file; the error says what is wrong with it.
fn check(path: &Path) -> Result<(), String> {
    let whole = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let (given, expected) = whole.split_once(SEPARATOR).unwrap_or((&whole, ""));
    let start = given.find("\ngraph ").ok_or("it holds no graph")? + 1;
    let found = result(&given[..start], &given[start..])?;
    if found == expected {
        return Ok(());
    }
    if std::env::var_os("WAFERLOOM_UPDATE").is_some() {
        let given = format!("{}\n", given.trim_end());
        return std::fs::write(path, format!("{given}{SEPARATOR}{found}")).map_err(|e| e.to_string());
    }
    Err(format!("- is expected, + was found:\n{}", difference(expected, &found)))
}

fn files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/filetests");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    files.sort();
    files
}

#[test]
fn every_file_gives_what_it_says() {
    let failures: Vec<String> = files()
        .iter()
        .filter_map(|path| check(path).err().map(|problem| format!("{}: {problem}", path.display())))
        .collect();
    assert!(failures.is_empty(), "{} files differ\n{}", failures.len(), failures.join("\n"));
    let texts: Vec<String> = files().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for pass in default_passes() {
        let named = |line: &str| line.strip_prefix("passes ").is_some_and(|names| names.contains(pass.name));
        let has = texts.iter().any(|text| text.lines().any(named));
        assert!(has, "no file of tests/filetests names the pass {}", pass.name);
    }
}
