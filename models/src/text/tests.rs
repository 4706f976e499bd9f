use petgraph::graph::NodeIndex;
use proptest::prelude::*;

use super::{parse, print, summary};
use crate::graph::{ConstantData, Graph, Op};
use crate::testing::{Kind, graphs};

/// Equality of the graphs themselves, to the bit: not by their text, which is what is tested.
fn assert_same(a: &Graph, b: &Graph) {
    assert_eq!((&a.name, &a.inputs, &a.outputs), (&b.name, &b.inputs, &b.outputs));
    assert_eq!(a.dag.node_count(), b.dag.node_count());
    for id in a.nodes() {
        let (x, y) = (a.node(id), b.node(id));
        assert_eq!((&x.name, &x.output, a.operands(id)), (&y.name, &y.output, b.operands(id)));
        match (&x.op, &y.op) {
            (Op::Constant(ConstantData::Float(x)), Op::Constant(ConstantData::Float(y))) => {
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(x), bits(y));
            }
            (x, y) => assert_eq!(x, y),
        }
    }
}

const EXAMPLE: &str = r#"graph "example \"quoted\""
%0 = input : i[2, 8] "input_ids"
# a comment
%1 = constant {0.5, -inf} : f[2, 1] "scale"
%2 = constant base64 "AACAPwAAAEA=" : f[1, 2] "table"   # 1.0 and 2.0

%3 = cast %0 : f[2, 8] "float"
%14 = mul %3, %1 : f[2, 8] "scaled"
%5 = reduce_sum %14 axes=[1] : f[2, 1] "sum"
%6 = normalize %14 epsilon=1e-5 : f[2, 8] "norm"
inputs %0
output %5 "logits"
output %2 "table"
"#;

#[test]
fn reads_what_the_documentation_shows() {
    let graph = parse(EXAMPLE).unwrap();
    assert_eq!(graph.name, "example \"quoted\"");
    assert_eq!(graph.inputs, [NodeIndex::new(0)]);
    let float = |values: &[f32]| Op::Constant(ConstantData::Float(values.into()));
    assert_eq!(graph.node(NodeIndex::new(1)).op, float(&[0.5, f32::NEG_INFINITY]));
    assert_eq!(graph.node(NodeIndex::new(2)).op, float(&[1.0, 2.0]));
    // Node %14 is the fifth.
    assert_eq!(graph.operands(NodeIndex::new(5)), [NodeIndex::new(4)]);
    assert_eq!(graph.outputs, [("logits".into(), NodeIndex::new(5)), ("table".into(), NodeIndex::new(2))]);
    crate::verify(&graph).unwrap();
    assert_same(&graph, &parse(&print(&graph)).unwrap());
}

#[test]
fn says_where_and_what_is_wrong() {
    let cases = [
        ("", 1, 1, "the text is empty"),
        ("graph g", 1, 7, "found `g`"),
        ("grape \"g\"", 1, 1, "found `grape`"),
        ("graph \"g", 1, 7, "no end"),
        ("graph \"g\\q\"", 1, 9, "escape"),
        ("graph \"g\"\n%0 = add %1, %2 : f[] \"a\"", 2, 10, "no node `%1`"),
        ("graph \"g\"\n%0 = input : q[2] \"a\"", 2, 14, "found `q`"),
        ("graph \"g\"\n%0 = input : f[2 \"a\"", 2, 18, "found the string \"a\""),
        ("graph \"g\"\n%0 = input : f[99999999999999999999] \"a\"", 2, 16, "found `99999999999999999999`"),
        ("graph \"g\"\n%0 = input : f[2147483648, 2147483648] \"a\"", 2, 14, "too large"),
        ("graph \"g\"\n%0 = input : f[1] \"a\"\n%0 = neg %0 : f[1] \"b\"", 3, 1, "no new number"),
        ("graph \"g\"\n%0 = input : f[1] \"a\"\n%1 = neg %0 : f[1] \"a\"", 3, 20, "line 2"),
        ("graph \"g\"\n%0 = input : f[1] \"a\"\n%1 = neg %0 : f[2] \"b\"", 3, 6, "its result"),
        ("graph \"g\"\n%0 = input : f[1] \"a\"\n%1 = bend %0 : f[1] \"b\"", 3, 6, "found `bend`"),
        ("graph \"g\"\n%0 = input : f[1] \"a\"\n%1 = softmax %0 : f[1] \"b\"", 3, 6, "`axis` is missing"),
        ("graph \"g\"\n%0 = input : f[1] \"a\"\n%1 = neg %0 axis=0 : f[1] \"b\"", 3, 13, "found `axis`"),
        ("graph \"g\"\n%0 = constant {1.5} : i[1] \"a\"", 2, 15, "not those of a Int"),
        ("graph \"g\"\n%0 = constant base64 \"AAA\" : f[1] \"a\"", 2, 15, "not base64"),
        ("graph \"g\"\n%0 = constant base64 \"AAAA\" : f[1] \"a\"", 2, 15, "not those of a Float"),
        ("graph \"g\"\n%0 = input : f[1] \"ä\" x", 2, 23, "found `x`"),
        ("graph \"g\"\n%0 = input : f[1] \"a\"", 3, 1, "list of inputs"),
        ("graph \"g\"\n%0 = input : f[1] \"a\"\ninputs %0, %0", 3, 12, "found `%0`"),
    ];
    for (text, line, column, problem) in cases {
        let error = parse(text).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
        assert!(error.problem.contains(problem), "{text}: {error}");
    }
}

#[test]
fn a_summary_counts_large_constants() {
    let values = ConstantData::Int((0..100).collect());
    let mut builder = crate::builder::Builder::new("g");
    let wanted = crate::graph::TensorType { element: crate::graph::ElementType::Int, shape: vec![100] };
    builder.constant("c", wanted, values);
    assert_eq!(summary(&builder.graph), "graph \"g\"\n%0 = constant {100 integers} : i[100] \"c\"\n");
    assert!(print(&builder.graph).contains("base64 \"AAAAAAAAAAAB"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_back_what_it_prints(graph in graphs(Kind::Printable)) {
        let text = print(&graph);
        let read = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        assert_same(&graph, &read);
        prop_assert_eq!(print(&read), text);
    }

    #[test]
    fn no_text_makes_it_panic(
        graph in graphs(Kind::Printable),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..4_usize, any::<char>()), 1..8),
    ) {
        let mut text: Vec<char> = print(&graph).chars().collect();
        for (at, action, c) in cuts {
            let at = at.index(text.len());
            match action {
                0 => drop(text.remove(at)),
                1 => text.insert(at, c),
                2 => text[at] = "0123456789,[]{}%\"\\\n:=-"
                    .chars()
                    .nth(c as usize % 22)
                    .unwrap_or('x'),
                _ => text.truncate(at.max(1)),
            }
            if text.is_empty() {
                text.push(' ');
            }
        }
        // Whether it reads does not matter; what is read is well formed.
        if let Ok(graph) = parse(&text.into_iter().collect::<String>()) {
            crate::verify(&graph).map_err(|e| TestCaseError::fail(e.to_string()))?;
        }
    }
}
