//! Rows of the published performance model: bounds as formulas of P (PEs), B (elements), S (the root of P) and `T_R` (the
//! ramp's cycles), over a sweep of sizes.

use super::{Point, Published, Row, Verdict, cycles};
use crate::args::ValidateArgs;
use crate::errors::Error;
use exmex::{Express as _, FlatEx};
use rayon::prelude::*;
use waferloom_fabric::Machine;

/// The sweep: PEs of a row.
const PES: [u32; 8] = [4, 8, 16, 32, 64, 128, 256, 512];
/// Elements of a vector.
const ELEMENTS: [u32; 7] = [1, 4, 16, 64, 256, 1024, 4096];
/// Cycles of slack where a percentage would be less: the start of the program, which the model leaves out.
const SLACK_CYCLES: f64 = 12.0;
/// How far `auto` may be behind the best.
const AUTO_SLACK: f64 = 1.05;

/// A bound in cycles.
fn evaluate(formula: &str, p: u32, b: u32, ramp: u32) -> Result<f64, Error> {
    let bug = |e: &dyn std::fmt::Display| Error::bug(format!("the published formula `{formula}`: {e}"));
    let expression = FlatEx::<f64>::parse(formula).map_err(|e| bug(&e))?;
    let value = |name: &String| match name.as_str() {
        "P" => Ok(f64::from(p)),
        "B" => Ok(f64::from(b)),
        "S" => Ok(f64::from(p).sqrt()),
        "T_R" => Ok(f64::from(ramp)),
        other => Err(bug(&format!("it has the unknown `{other}`"))),
    };
    let values = expression.var_names().iter().map(value).collect::<Result<Vec<f64>, _>>()?;
    expression.eval(&values).map_err(|e| bug(&e))
}

fn sizes(args: &ValidateArgs) -> Vec<(u32, u32)> {
    let pes = PES.into_iter().filter(|&p| p <= args.most_pes);
    pes.flat_map(|p| ELEMENTS.into_iter().filter(|&b| b <= args.most_elements).map(move |b| (p, b))).collect()
}

/// The algorithm's name in the catalogue.
fn algorithm(row: &Published) -> &str {
    let published = row.algorithm.as_deref().unwrap_or_default();
    ["two-phase", "tree", "chain", "star"].into_iter().find(|name| published.contains(name)).unwrap_or_default()
}

fn settings(algorithm: &str, p: u32, b: u32) -> Vec<(&'static str, String)> {
    let mut settings = vec![("p", p.to_string()), ("elements", b.to_string())];
    if !algorithm.is_empty() {
        settings.push(("algorithm", algorithm.into()));
    }
    settings
}

/// A row with bounds.
pub(super) fn formula(
    row: &Published,
    low: &str,
    high: &str,
    machine: &Machine,
    args: &ValidateArgs,
) -> Result<Row, Error> {
    let algorithm = algorithm(row);
    let slack = row.slack.unwrap_or(0.0);
    let squares = row.sizes.as_deref().is_some_and(|sizes| sizes.contains("square"));
    let point = |&(p, b): &(u32, u32)| -> Result<Point, Error> {
        let low = evaluate(low, p, b, machine.ramp_cycles)?;
        let high = evaluate(high, p, b, machine.ramp_cycles)?;
        let cycles = cycles(machine, &row.kernel, &settings(algorithm, p, b))?.cycles;
        let found = cycles as f64;
        let mut point = Point { pes: p, elements: b, low, high, cycles, error_percent: 0.0, holds: true };
        let nearer = if found > high { high } else { low };
        point.error_percent = 100.0 * point.outside() / nearer;
        point.holds = point.outside().abs() <= (slack * nearer).max(SLACK_CYCLES);
        Ok(point)
    };
    let sizes = sizes(args);
    let sizes: Vec<(u32, u32)> = sizes.into_iter().filter(|(p, _)| !squares || p.isqrt().pow(2) == *p).collect();
    let points = sizes.par_iter().map(point).collect::<Result<Vec<_>, _>>()?;
    let held = points.iter().filter(|p| p.holds).count();
    Ok(Row {
        id: row.id.clone(),
        published: if low == high { low.to_string() } else { format!("{low} .. {high}") },
        found: format!("{held} of {} points hold", points.len()),
        off: off(&points),
        verdict: if held == points.len() { Verdict::Holds } else { Verdict::Fails },
        note: format!("a point holds within {:.0} % or {SLACK_CYCLES} cycles of its bounds", 100.0 * slack),
        source: row.source.clone(),
        confidence: row.confidence.clone(),
        points,
    })
}

/// How far the points are from their bounds: in cycles where these are few, else in percent.
fn off(points: &[Point]) -> String {
    let few = points.iter().map(Point::outside).filter(|o| o.abs() <= SLACK_CYCLES);
    let most = few.max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
    let many = points.iter().filter(|p| p.outside().abs() > SLACK_CYCLES).map(|p| p.error_percent);
    let percent = many.max_by(|a, b| a.abs().total_cmp(&b.abs()));
    let percent = percent.map_or(String::new(), |p| format!(", {p:+.1} %"));
    format!("{most:+.0} cycles{percent}")
}

/// The published ranking: which algorithm is the best where, and that `auto` finds it.
pub(super) fn ranking(row: &Published, statement: &str, machine: &Machine, args: &ValidateArgs) -> Result<Row, Error> {
    const ALGORITHMS: [&str; 5] = ["chain", "star", "tree", "two-phase", "auto"];
    let compare = |&(p, b): &(u32, u32)| -> Result<(u32, u32, &str, f64, f64), Error> {
        let mut found = Vec::new();
        for algorithm in ALGORITHMS {
            found.push(cycles(machine, "reduce", &settings(algorithm, p, b))?.cycles);
        }
        let best = (0..4).min_by_key(|&i| found[i]).unwrap_or(0);
        let over = |cycles: u64| cycles as f64 / found[best].max(1) as f64;
        Ok((p, b, ALGORITHMS[best], over(found[4]), over(found[0])))
    };
    let points = sizes(args).par_iter().map(compare).collect::<Result<Vec<_>, _>>()?;
    let auto = points.iter().map(|p| p.3).fold(1.0, f64::max);
    let gain = points.iter().map(|p| p.4).fold(1.0, f64::max);
    // For the longest line: the winners from the shortest vector to the longest one.
    let most = points.iter().map(|p| p.0).max().unwrap_or(0);
    let winners: Vec<&str> = points.iter().filter(|p| p.0 == most).map(|p| p.2).collect();
    let order = |name: &&str| ["star", "tree", "two-phase", "chain"].iter().position(|n| n == name);
    let ranked =
        winners.iter().map(order).is_sorted_by(|a, b| a <= b || (a.is_some() && *b == Some(0) && *a == Some(1)));
    let holds = ranked && auto <= AUTO_SLACK;
    Ok(Row {
        id: row.id.clone(),
        published: statement.into(),
        found: format!("up to {gain:.2}x over the chain; auto at most {:.1} % behind", 100.0 * (auto - 1.0)),
        off: String::new(),
        verdict: if holds { Verdict::Holds } else { Verdict::Fails },
        note: format!("the best at P {most}, from short to long vectors: {}", winners.join(", ")),
        source: row.source.clone(),
        confidence: row.confidence.clone(),
        points: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::evaluate;

    #[test]
    fn formulas_are_read_as_they_are_printed() {
        // max(16, 16 * 2 * 2 / 3 + 3) + 5 * 2 for P = 4, B = 8.
        let tree = "max(B*log2(P), B*(P/2)*log2(P)/(P-1) + P - 1) + (2*T_R + 1)*log2(P)";
        let expected = f64::max(16.0, 32.0 / 3.0 + 3.0) + 10.0;
        assert!((evaluate(tree, 4, 8, 2).unwrap() - expected).abs() < 1e-9);
        assert_eq!(evaluate("B + P + 2*T_R", 4, 8, 2).unwrap(), 16.0);
        assert!(evaluate("B + Q", 4, 8, 2).is_err());
    }
}
