//! A graph cut into stages: which nodes each computes, and which values flow between them.

use crate::view;
use petgraph::graph::NodeIndex;
use std::collections::{BTreeMap, BTreeSet};
use waferloom_models::Graph;
use waferloom_models::graph::Op;

/// What a stage does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// Values that come from the stage before.
    pub(crate) arrive: Vec<NodeIndex>,
    /// Nodes that it computes, operands first.
    pub(crate) compute: Vec<NodeIndex>,
    /// Values that go to the stage behind: the own ones that are used there or further on, and those that only pass.
    pub(crate) leave: Vec<NodeIndex>,
}

/// The nodes that must be computed, operands first: those from which an output follows, without inputs and constants.
pub(crate) fn computed(graph: &Graph) -> Vec<NodeIndex> {
    let mut wanted: BTreeSet<NodeIndex> = graph.outputs.iter().map(|&(_, id)| id).collect();
    let mut computed = Vec::new();
    for id in graph.nodes().collect::<Vec<_>>().into_iter().rev() {
        if wanted.contains(&id) {
            wanted.extend(graph.operands(id));
            if !matches!(graph.node(id).op, Op::Input | Op::Constant(_)) && !view::moves(graph, id) {
                computed.push(id);
            }
        }
    }
    computed.reverse();
    computed
}

/// Cuts the computed nodes into consecutive parts that end before each of `ends`; the last part takes the rest.
pub(crate) fn into_parts(graph: &Graph, ends: &[usize]) -> Vec<Part> {
    let computed = computed(graph);
    let mut parts = vec![Part::default(); ends.len() + 1];
    // Inputs come in at the first stage.
    let mut part_of: BTreeMap<NodeIndex, usize> = graph.inputs.iter().map(|&id| (id, 0)).collect();
    for (place, &id) in computed.iter().enumerate() {
        let part = ends.iter().take_while(|&&end| end <= place).count();
        parts[part].compute.push(id);
        part_of.insert(id, part);
    }
    let mut last_use = part_of.clone();
    let mut uses = |id: NodeIndex, part: usize| {
        for origin in origins(graph, id) {
            if let Some(last) = last_use.get_mut(&origin) {
                *last = part.max(*last);
            }
        }
    };
    for &id in &computed {
        for operand in graph.operands(id) {
            uses(operand, part_of[&id]);
        }
    }
    for &(_, id) in &graph.outputs {
        uses(id, ends.len());
    }
    for (id, last) in last_use {
        for part in part_of[&id]..last {
            parts[part].leave.push(id);
            parts[part + 1].arrive.push(id);
        }
    }
    parts
}

/// The computed nodes and inputs of which a value is made by moving elements.
fn origins(graph: &Graph, id: NodeIndex) -> Vec<NodeIndex> {
    let mut origins = Vec::new();
    let mut seen = BTreeSet::new();
    let mut work = vec![id];
    while let Some(id) = work.pop() {
        if !seen.insert(id) {
            continue;
        }
        if view::moves(graph, id) {
            work.extend(graph.operands(id));
        } else {
            origins.push(id);
        }
    }
    origins
}

#[cfg(test)]
mod tests {
    use super::*;
    use waferloom_models::text;

    const GRAPH: &str = r#"graph "g"
%0 = input : f[2, 3] "x"
%1 = exp %0 : f[2, 3] "a"
%2 = neg %1 : f[2, 3] "b"
%3 = permute %0 axes=[1, 0] : f[3, 2] "t"
%4 = permute %3 axes=[1, 0] : f[2, 3] "tt"
%5 = add %2, %4 : f[2, 3] "c"
inputs %0
output %5 "y"
"#;

    #[test]
    fn values_pass_through_the_stages_between() {
        let graph = text::parse(GRAPH).expect("valid");
        let ids: BTreeMap<&str, NodeIndex> = graph.nodes().map(|id| (graph.node(id).name.as_str(), id)).collect();
        let names = |list: &[&str]| -> Vec<NodeIndex> { list.iter().map(|name| ids[name]).collect() };
        // x is used by the last stage too, through a permutation; a only by its neighbour.
        let parts = into_parts(&graph, &[1, 2]);
        assert_eq!(parts[0], Part { arrive: vec![], compute: names(&["a"]), leave: names(&["x", "a"]) });
        assert_eq!(parts[1], Part { arrive: names(&["x", "a"]), compute: names(&["b"]), leave: names(&["x", "b"]) });
        assert_eq!(parts[2], Part { arrive: names(&["x", "b"]), compute: names(&["c"]), leave: vec![] });
    }
}
