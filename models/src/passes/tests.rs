//! Each pattern on a small graph: what becomes of it, and that it computes what it computed.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::NodeIndex;
use proptest::prelude::*;

use super::{default_passes, run};
use crate::evaluate::evaluate;
use crate::graph::{ElementType, Graph, Op, UnaryOp};
use crate::tensor::{Tensor, count};
use crate::testing::{Kind, graphs};
use crate::text;

/// Numbers between -2 and 2, or small integers, that differ from element to element.
fn inputs(graph: &Graph) -> BTreeMap<String, Tensor> {
    let value = |id: &NodeIndex| {
        let node = graph.node(*id);
        let wave = (0..count(&node.output.shape)).map(|i| 2.0 * (1.3 * i as f32 + id.index() as f32).sin());
        let tensor = match node.output.element {
            ElementType::Float => Tensor::from_f32(&node.output.shape, wave.collect()),
            ElementType::Int => Tensor::from_i64(&node.output.shape, wave.map(|x| x as i64).collect()),
            ElementType::Bool => Tensor::from_i64(&node.output.shape, wave.map(|x| i64::from(x > 0.0)).collect()),
        };
        (node.name.clone(), tensor.unwrap())
    };
    graph.inputs.iter().map(value).collect()
}

/// What roundings may change, of the largest number in the computation.
const TOLERANCE: f32 = 2e-5;

/// Largest number that appears anywhere in the computation.
fn magnitude(graph: &Graph) -> f32 {
    let mut all = graph.clone();
    all.outputs = graph.nodes().map(|id| (graph.node(id).name.clone(), id)).collect();
    let values = evaluate(&all, &inputs(graph)).unwrap();
    values.values().flat_map(Tensor::to_f32).fold(1.0, |most, x| if x.is_finite() { most.max(x.abs()) } else { most })
}

/// Whether something that is made of floats is so near to where a cast jumps that a rounding decides.
fn is_near_a_jump(graph: &Graph) -> bool {
    let mut casts = graph.clone();
    let is_cast = |&id: &NodeIndex| graph.node(id).op == Op::Unary(UnaryOp::Cast);
    casts.outputs =
        graph.nodes().filter(is_cast).map(|id| (graph.node(id).name.clone(), graph.operands(id)[0])).collect();
    let values = evaluate(&casts, &inputs(graph)).unwrap();
    // Whole numbers, 0 among them, are what they are: no pass makes them from others without a trace.
    let near = TOLERANCE * magnitude(graph);
    values.values().flat_map(Tensor::to_f32).any(|x| x != x.round() && (x - x.round()).abs() <= near)
}

/// Runs the passes and holds the results against each other; NaNs and infinities must stay what they are.
fn simplify(graph: &Graph) -> Result<Graph, String> {
    let after = run(graph, &default_passes()).map_err(|e| e.to_string())?;
    let tolerance = TOLERANCE * magnitude(graph);
    let (expected, found) = (evaluate(graph, &inputs(graph)).unwrap(), evaluate(&after, &inputs(graph)).unwrap());
    assert_eq!(expected.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (name, expected) in &expected {
        assert_eq!(expected.shape, found[name].shape);
        for (a, b) in found[name].to_f32().iter().zip(expected.to_f32()) {
            let same = *a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance;
            if !same {
                return Err(format!("{name}: {a} is not {b}\n{}\n{}", text::print(graph), text::print(&after)));
            }
        }
    }
    Ok(after)
}

/// The operators behind the passes that are neither inputs nor constants, in order.
fn operators(body: &str) -> String {
    let graph = text::parse(&format!("graph \"g\"\n{body}")).unwrap_or_else(|e| panic!("{e}\n{body}"));
    let after = text::summary(&simplify(&graph).unwrap_or_else(|e| panic!("{e}")));
    let words = after.lines().filter_map(|line| line.split_once(" = ")?.1.split(' ').next());
    words.filter(|word| !matches!(*word, "input" | "constant")).collect::<Vec<_>>().join(" ")
}

#[test]
fn layer_norms_are_recognised() {
    let head = "
        %0 = input : f[2, 3, 8] \"x\"
        %1 = constant {0.125} : f[1, 1, 1] \"share\"
        %2 = constant {1e-5} : f[1, 1, 1] \"epsilon\"
        %3 = constant {8.0} : f[1, 1, 1] \"size\"
        %4 = constant {0.5} : f[1, 1, 1] \"half\"
        %5 = constant {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0} : f[1, 1, 8] \"gamma\"
        %6 = reduce_sum %0 axes=[2] : f[2, 3, 1] \"sum\"
        inputs %0\n";
    let scaled = "
        %10 = mul %1, %6 : f[2, 3, 1] \"mean\"
        %11 = sub %0, %10 : f[2, 3, 8] \"centred\"
        %12 = square %11 : f[2, 3, 8] \"square\"
        %13 = reduce_sum %12 axes=[2] : f[2, 3, 1] \"squares\"
        %14 = mul %13, %1 : f[2, 3, 1] \"variance\"
        %15 = add %2, %14 : f[2, 3, 1] \"shifted\"
        %16 = rsqrt %15 : f[2, 3, 1] \"scale\"\n";
    let plain = "%17 = mul %11, %16 : f[2, 3, 8] \"norm\"\noutput %17 \"y\"\n";
    assert_eq!(operators(&format!("{head}{scaled}{plain}")), "normalize");
    // The factor multiplied into the deviation before.
    let factor = "%17 = mul %16, %5 : f[2, 3, 8] \"factor\"
        %18 = mul %17, %11 : f[2, 3, 8] \"norm\"\noutput %18 \"y\"\n";
    assert_eq!(operators(&format!("{head}{scaled}{factor}")), "normalize mul");
    // Divisions, powers, a difference computed twice.
    let divided = "
        %10 = div %6, %3 : f[2, 3, 1] \"mean\"
        %11 = sub %0, %10 : f[2, 3, 8] \"centred\"
        %20 = sub %0, %10 : f[2, 3, 8] \"centred again\"
        %21 = constant {2.0} : f[1, 1, 1] \"two\"
        %12 = pow %20, %21 : f[2, 3, 8] \"square\"
        %13 = reduce_sum %12 axes=[2] : f[2, 3, 1] \"squares\"
        %14 = div %13, %3 : f[2, 3, 1] \"variance\"
        %15 = add %14, %2 : f[2, 3, 1] \"shifted\"
        %22 = pow %15, %4 : f[2, 3, 1] \"deviation\"
        %17 = div %11, %22 : f[2, 3, 8] \"norm\"
        %23 = mul %17, %5 : f[2, 3, 8] \"scaled\"
        %24 = add %23, %5 : f[2, 3, 8] \"moved\"
        output %24 \"y\"\n";
    assert_eq!(operators(&format!("{head}{divided}")), "normalize mul add");
    // Along another axis; the sizes along 1 are 3.
    let other_axis = |text: &str| {
        text.replace("axes=[2]", "axes=[1]").replace("f[2, 3, 1]", "f[2, 1, 8]").replace("{0.125}", "{0.33333334}")
    };
    assert_eq!(operators(&other_axis(&format!("{head}{scaled}{plain}"))), "permute normalize permute");
    // A mean along one axis, a variance along another.
    let mixed = scaled.replace("%12 axes=[2] : f[2, 3, 1]", "%12 axes=[1] : f[2, 1, 8]");
    let mixed = mixed.replace("f[2, 3, 1] \"variance\"", "f[2, 1, 8] \"variance\"");
    let mixed = mixed.replace("f[2, 3, 1] \"shifted\"", "f[2, 1, 8] \"shifted\"");
    let mixed = mixed.replace("f[2, 3, 1] \"scale\"", "f[2, 1, 8] \"scale\"").replace("%13, %1 ", "%13, %9 ");
    let third = "%9 = constant {0.33333334} : f[1, 1, 1] \"third\"\n";
    assert!(!operators(&format!("{head}{third}{mixed}{plain}")).contains("normalize"));
    // The mean of another tensor's squares is no variance.
    let other = scaled.replace("square %11", "square %0");
    assert!(!operators(&format!("{head}{other}{plain}")).contains("normalize"));
    // Nor is a share that is not that of the axis.
    let share = head.replace("{0.125}", "{0.25}");
    assert!(!operators(&format!("{share}{scaled}{plain}")).contains("normalize"));
}

#[test]
fn gelu_is_recognised_in_its_spellings() {
    let spell = |product: &str| {
        operators(&format!(
            "%0 = input : f[2, 4] \"x\"
            %1 = constant {{0.70710677}} : f[1, 1] \"root\"
            %2 = constant {{1.4142135}} : f[1, 1] \"divisor\"
            %3 = constant {{1.0}} : f[1, 1] \"one\"
            %4 = constant {{0.5}} : f[1, 1] \"half\"
            %5 = mul %0, %1 : f[2, 4] \"argument\"
            %15 = div %0, %2 : f[2, 4] \"argument by division\"
            %6 = erf %5 : f[2, 4] \"erf\"
            %16 = erf %15 : f[2, 4] \"erf by division\"
            %7 = add %3, %6 : f[2, 4] \"gate\"
            %17 = add %16, %3 : f[2, 4] \"gate by division\"
            {product}
            inputs %0\noutput %20 \"y\"\n"
        ))
    };
    for gate in ["%7", "%17"] {
        let half = "%8 = mul %4, %0 : f[2, 4] \"a\"";
        assert_eq!(spell(&format!("{half}\n%20 = mul %8, {gate} : f[2, 4] \"y\"")), "gelu");
        let all = format!("%8 = mul %0, {gate} : f[2, 4] \"a\"");
        assert_eq!(spell(&format!("{all}\n%20 = mul %8, %4 : f[2, 4] \"y\"")), "gelu");
        let inner = format!("%8 = mul %4, {gate} : f[2, 4] \"a\"");
        assert_eq!(spell(&format!("{inner}\n%20 = mul %8, %0 : f[2, 4] \"y\"")), "gelu");
        let halved = "%9 = constant {2.0} : f[1, 1] \"two\"\n%8 = div %0, %9 : f[2, 4] \"a\"";
        assert_eq!(spell(&format!("{halved}\n%20 = mul {gate}, %8 : f[2, 4] \"y\"")), "gelu");
    }
    let multiplied_out = "%8 = mul %6, %4 : f[2, 4] \"a\"
        %9 = add %8, %4 : f[2, 4] \"b\"
        %20 = mul %0, %9 : f[2, 4] \"y\"";
    assert_eq!(spell(multiplied_out), "gelu");
    // Without the half it is twice as much.
    assert!(!spell("%20 = mul %0, %7 : f[2, 4] \"y\"").contains("gelu"));
    let squared = "%8 = mul %4, %0 : f[2, 4] \"a\"
        %9 = mul %8, %0 : f[2, 4] \"b\"
        %20 = mul %9, %7 : f[2, 4] \"y\"";
    assert!(!spell(squared).contains("gelu"));
}

#[test]
fn logistic_functions_are_recognised() {
    let head = "%0 = input : f[2, 4] \"x\"\ninputs %0\n";
    let silu = "%1 = sigmoid %0 : f[2, 4] \"s\"\n%2 = mul %1, %0 : f[2, 4] \"y\"\noutput %2 \"y\"\n";
    assert_eq!(operators(&format!("{head}{silu}")), "silu");
    let written = "%1 = neg %0 : f[2, 4] \"n\"
        %2 = exp %1 : f[2, 4] \"e\"
        %3 = constant {1.0} : f[1, 1] \"one\"
        %4 = add %3, %2 : f[2, 4] \"a\"\n";
    let sigmoid = "%5 = div %3, %4 : f[2, 4] \"y\"\noutput %5 \"y\"\n";
    assert_eq!(operators(&format!("{head}{written}{sigmoid}")), "sigmoid");
    let silu = "%5 = div %0, %4 : f[2, 4] \"y\"\noutput %5 \"y\"\n";
    assert_eq!(operators(&format!("{head}{written}{silu}")), "silu");
}

#[test]
fn softmax_is_recognised_and_turned_to_the_last_axis() {
    let head = "%0 = input : f[2, 3, 4] \"x\"\ninputs %0\n";
    let centred = "%1 = reduce_max %0 axes=[2] : f[2, 3, 1] \"max\"
        %2 = sub %0, %1 : f[2, 3, 4] \"centred\"\n";
    let shares = |from: &str| {
        format!(
            "%3 = exp {from} : f[2, 3, 4] \"exp\"
            %4 = reduce_sum %3 axes=[2] : f[2, 3, 1] \"sum\"
            %5 = div %3, %4 : f[2, 3, 4] \"y\"\noutput %5 \"y\"\n"
        )
    };
    assert_eq!(operators(&format!("{head}{centred}{}", shares("%2"))), "softmax");
    assert_eq!(operators(&format!("{head}{}", shares("%0"))), "softmax");
    let recip = "%3 = exp %2 : f[2, 3, 4] \"exp\"
        %4 = reduce_sum %3 axes=[2] : f[2, 3, 1] \"sum\"
        %6 = recip %4 : f[2, 3, 1] \"recip\"
        %5 = mul %6, %3 : f[2, 3, 4] \"y\"\noutput %5 \"y\"\n";
    assert_eq!(operators(&format!("{head}{centred}{recip}")), "softmax");
    let middle = "%1 = softmax %0 axis=1 : f[2, 3, 4] \"y\"\noutput %1 \"y\"\n";
    assert_eq!(operators(&format!("{head}{middle}")), "permute softmax permute");
    // The sum of something else makes no shares.
    let other = shares("%0").replace("reduce_sum %3", "reduce_sum %0");
    assert!(!operators(&format!("{head}{other}")).contains("softmax"));
}

/// A fully masked row is NaN in softmax, and the exporter's guard makes it zero.
#[test]
fn the_guard_of_fully_masked_rows_stays() {
    let body = "%0 = input : f[2, 3] \"x\"
        %1 = constant {-inf} : f[1, 1] \"masked\"
        %2 = constant {0.0} : f[1, 1] \"zero\"
        %3 = constant {1, 0} : b[2, 1] \"rows\"
        %4 = select %3, %0, %1 : f[2, 3] \"scores\"
        %5 = softmax %4 axis=1 : f[2, 3] \"softmax\"
        %6 = is_nan %5 : b[2, 3] \"guard\"
        %7 = select %6, %2, %5 : f[2, 3] \"y\"
        inputs %0\noutput %7 \"y\"\noutput %5 \"nan\"\n";
    assert_eq!(operators(body), "select softmax is_nan select");
}

#[test]
fn divisions_become_products_only_where_no_bit_changes() {
    let divided = |by: &str| {
        let constant = format!("%1 = constant {{{by}}} : f[1] \"c\"");
        operators(&format!(
            "%0 = input : f[4] \"x\"\n{constant}\n%2 = div %0, %1 : f[4] \"y\"\ninputs %0\noutput %2 \"y\"\n"
        ))
    };
    assert_eq!(divided("8.0"), "mul");
    assert_eq!(divided("-0.25"), "mul");
    assert_eq!(divided("3.0"), "div");
    // The reciprocal of the largest power of two is not normal, and that of zero no number.
    assert_eq!(divided("1.7014118e38"), "div");
    assert_eq!(divided("0.0"), "div");
    assert_eq!(divided("1.0"), "");
}

#[test]
fn powers_and_roots_take_their_cheapest_form() {
    let power = |exponent: &str| {
        operators(&format!(
            "%0 = input : f[4] \"x\"\n%3 = sigmoid %0 : f[4] \"s\"\n%1 = constant {{{exponent}}} : f[1] \"e\"
            %2 = pow %3, %1 : f[4] \"y\"\ninputs %0\noutput %2 \"y\"\n"
        ))
    };
    for (exponent, found) in [
        ("2.0", "square"),
        ("0.5", "sqrt"),
        ("-0.5", "rsqrt"),
        ("-1.0", "recip"),
        ("3.0", "square mul"),
        ("2.5", "pow"),
    ] {
        assert_eq!(power(exponent), format!("sigmoid {found}"));
    }
    assert_eq!(power("1.0"), "sigmoid");
    let chain = |first: &str, second: &str| {
        operators(&format!(
            "%0 = input : f[4] \"x\"\n%1 = sigmoid %0 : f[4] \"s\"\n%2 = {first} %1 : f[4] \"a\"
            %3 = {second} %2 : f[4] \"y\"\ninputs %0\noutput %3 \"y\"\n"
        ))
    };
    assert_eq!(chain("sqrt", "recip"), "sigmoid rsqrt");
    assert_eq!(chain("recip", "sqrt"), "sigmoid rsqrt");
    assert_eq!(chain("rsqrt", "recip"), "sigmoid sqrt");
    assert_eq!(chain("neg", "neg"), "sigmoid");
}

#[test]
fn factors_go_into_weights() {
    let projection = "%0 = input : f[1, 2, 3] \"x\"
        %1 = constant {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.0, 2.0, 3.0} : f[1, 3, 4] \"w\"
        %2 = constant {1.0, 2.0, 3.0, 4.0} : f[1, 1, 4] \"b\"
        %3 = constant {0.35355338} : f[1, 1, 1] \"factor\"
        %4 = matmul %0, %1 : f[1, 2, 4] \"product\"
        %5 = add %4, %2 : f[1, 2, 4] \"biased\"\ninputs %0\n";
    let scaled = "%6 = mul %5, %3 : f[1, 2, 4] \"y\"\noutput %6 \"y\"\n";
    assert_eq!(operators(&format!("{projection}{scaled}")), "matmul add");
    // Used unscaled elsewhere, the product must stay what it is.
    let both = "%6 = mul %5, %3 : f[1, 2, 4] \"y\"\noutput %6 \"y\"\noutput %5 \"z\"\n";
    assert_eq!(operators(&format!("{projection}{both}")), "matmul add mul");
    let used = "%6 = mul %5, %3 : f[1, 2, 4] \"s\"\n%7 = erf %5 : f[1, 2, 4] \"e\"
        %8 = add %6, %7 : f[1, 2, 4] \"y\"\noutput %8 \"y\"\n";
    assert_eq!(operators(&format!("{projection}{used}")), "matmul add mul erf add");
    // Attention: the factor of the scores, through the permutation and the product.
    let scores = "%6 = reshape %5 : f[1, 2, 2, 2] \"heads\"
        %7 = permute %6 axes=[0, 2, 1, 3] : f[1, 2, 2, 2] \"q\"
        %8 = input : f[1, 2, 2, 2] \"k\"
        %9 = matmul %7, %8 : f[1, 2, 2, 2] \"scores\"
        %10 = constant {1.4142135} : f[1, 1, 1, 1] \"divisor\"
        %11 = div %9, %10 : f[1, 2, 2, 2] \"y\"\ninputs %8\noutput %11 \"y\"\n";
    assert_eq!(operators(&format!("{projection}{scores}")), "matmul add reshape permute matmul");
    // Both operands of a sum must be scaled; this one cannot be.
    let sum = "%6 = add %5, %12 : f[1, 2, 4] \"sum\"\n%7 = mul %6, %3 : f[1, 2, 4] \"y\"\noutput %7 \"y\"\n";
    let other = "%12 = erf %11 : f[1, 2, 4] \"erf\"\n";
    let input = "%11 = input : f[1, 2, 4] \"z\"\ninputs %11\n";
    assert_eq!(operators(&format!("{projection}{input}{other}{sum}")), "matmul add erf add mul");
}

#[test]
fn broadcasts_come_last_or_not_at_all() {
    let head = "%0 = input : f[1, 3, 1] \"x\"\n%1 = input : f[2, 3, 4] \"z\"\ninputs %0, %1
        %2 = broadcast %0 : f[2, 3, 4] \"repeated\"\n";
    let sum = "%3 = add %2, %1 : f[2, 3, 4] \"y\"\noutput %3 \"y\"\n";
    assert_eq!(operators(&format!("{head}{sum}")), "add");
    let mask = "%3 = cast %2 : b[2, 3, 4] \"mask\"\n%4 = select %3, %1, %1 : f[2, 3, 4] \"y\"\noutput %4 \"y\"\n";
    assert_eq!(operators(&format!("{head}{mask}")), "");
    let alone = "%3 = exp %2 : f[2, 3, 4] \"e\"
        %4 = permute %3 axes=[2, 1, 0] : f[4, 3, 2] \"p\"
        %5 = reshape %4 : f[4, 1, 3, 2] \"r\"
        %6 = slice %5 axis=3 start=1 step=1 : f[4, 1, 3, 1] \"y\"\noutput %6 \"y\"\n";
    assert_eq!(operators(&format!("{head}{alone}")), "exp reshape broadcast");
    // The last two axes of a product do not broadcast.
    let product = "%3 = permute %1 axes=[0, 2, 1] : f[2, 4, 3] \"t\"
        %4 = matmul %2, %3 : f[2, 3, 3] \"y\"\noutput %4 \"y\"\n";
    assert_eq!(operators(&format!("{head}{product}")), "permute broadcast matmul");
    // A sum over repetitions is not the sum of what was repeated.
    let reduced = "%3 = reduce_sum %2 axes=[0] : f[1, 3, 4] \"y\"\noutput %3 \"y\"\n";
    assert_eq!(operators(&format!("{head}{reduced}")), "broadcast reduce_sum");
    let merged = "%3 = reshape %2 : f[2, 12] \"y\"\noutput %3 \"y\"\n";
    assert_eq!(operators(&format!("{head}{merged}")), "broadcast reshape");
}

#[test]
fn chains_of_the_same_become_one() {
    let head = "%0 = input : f[2, 3, 4] \"x\"\ninputs %0\n";
    let cases = [
        ("%1 = reshape %0 : f[24] \"a\"\n%2 = reshape %1 : f[6, 4] \"y\"", "reshape"),
        ("%1 = reshape %0 : f[24] \"a\"\n%2 = reshape %1 : f[2, 3, 4] \"y\"", ""),
        ("%1 = permute %0 axes=[2, 0, 1] : f[4, 2, 3] \"a\"\n%2 = permute %1 axes=[1, 2, 0] : f[2, 3, 4] \"y\"", ""),
        (
            "%1 = slice %0 axis=2 start=1 step=1 : f[2, 3, 3] \"a\"\n%2 = slice %1 axis=2 start=0 step=2 : f[2, 3, 2] \"y\"",
            "slice",
        ),
        ("%1 = concat %0, %0 axis=1 : f[2, 6, 4] \"a\"\n%2 = slice %1 axis=1 start=3 step=1 : f[2, 3, 4] \"y\"", ""),
        ("%1 = concat %0, %0 axis=1 : f[2, 6, 4] \"a\"\n%2 = concat %0, %1 axis=1 : f[2, 9, 4] \"y\"", "concat"),
        (
            "%1 = slice %0 axis=0 start=1 step=1 : f[1, 3, 4] \"a\"\n%2 = permute %1 axes=[1, 0, 2] : f[3, 1, 4] \"y\"",
            "slice reshape",
        ),
        ("%1 = constant {0.0} : f[1, 1, 1] \"c\"\n%2 = add %1, %0 : f[2, 3, 4] \"y\"", ""),
        (
            "%1 = erf %0 : f[2, 3, 4] \"a\"\n%3 = erf %0 : f[2, 3, 4] \"b\"\n%2 = sub %1, %3 : f[2, 3, 4] \"y\"",
            "erf sub",
        ),
        ("%1 = cast %0 : i[2, 3, 4] \"a\"\n%2 = cast %1 : f[2, 3, 4] \"y\"", "cast cast"),
        (
            "%1 = slice %0 axis=2 start=0 step=2 : f[2, 3, 2] \"a\"\n%2 = slice %1 axis=2 start=1 step=1 : f[2, 3, 1] \"y\"",
            "slice",
        ),
        ("%1 = constant {0.0} : f[1, 1, 1] \"c\"\n%2 = sub %1, %0 : f[2, 3, 4] \"y\"", "sub"),
        ("%1 = constant {1.0} : f[1, 1, 1] \"c\"\n%2 = pow %1, %0 : f[2, 3, 4] \"y\"", "pow"),
        (
            "%1 = erf %0 : f[2, 3, 4] \"a\"\n%3 = sub %1, %0 : f[2, 3, 4] \"b\"\n%4 = sub %0, %1 : f[2, 3, 4] \"c\"
            %2 = mul %3, %4 : f[2, 3, 4] \"y\"",
            "erf sub sub mul",
        ),
        ("%1 = erf %0 : f[2, 3, 4] \"unused\"\n%2 = neg %0 : f[2, 3, 4] \"y\"", "neg"),
    ];
    for (body, found) in cases {
        assert_eq!(operators(&format!("{head}{body}\noutput %2 \"out\"\n")), found, "{body}");
    }
}

#[test]
fn zeros_of_both_signs_are_two_constants() {
    let body = "%0 = input : f[2] \"x\"
        %1 = constant {0.0} : f[1] \"positive\"
        %2 = constant {-0.0} : f[1] \"negative\"
        %3 = div %0, %1 : f[2] \"a\"
        %4 = div %0, %2 : f[2] \"b\"
        inputs %0\noutput %3 \"a\"\noutput %4 \"b\"\n";
    // The values are infinities of opposite signs, which `simplify` compares.
    assert_eq!(operators(body), "div div");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_compute_the_same(graph in graphs(Kind::Tame)) {
        // Beyond, roundings of single precision would hide everything else.
        prop_assume!(magnitude(&graph) < 1e4);
        let rewritten = run(&graph, &default_passes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assume!(!is_near_a_jump(&graph) && !is_near_a_jump(&rewritten));
        let after = simplify(&graph).map_err(TestCaseError::fail)?;
        let names: BTreeSet<_> = after.inputs.iter().map(|&id| &after.node(id).name).collect();
        prop_assert!(graph.inputs.iter().all(|&id| names.contains(&graph.node(id).name)));
        // A second round finds little, and breaks nothing.
        simplify(&after).map_err(TestCaseError::fail)?;
    }
}
