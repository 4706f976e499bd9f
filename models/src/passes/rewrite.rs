//! The walk that every pass shares: it rebuilds a graph node by node and lets a rule replace what it recognises.

use petgraph::graph::NodeIndex;

use crate::builder::Builder;
use crate::graph::{Graph, Op};

/// A graph under reconstruction.
pub(super) struct Rewriter<'a> {
    /// The graph as it was.
    pub old: &'a Graph,
    /// The graph as it becomes.
    pub builder: Builder,
    /// For each old node its successor in the new graph, `None` before its turn and for dead nodes.
    made: Vec<Option<NodeIndex>>,
}

impl Rewriter<'_> {
    /// The successors of a node's operands.
    ///
    /// # Errors
    /// When the node does not follow its operands.
    pub(super) fn operands(&self, id: NodeIndex) -> Result<Vec<NodeIndex>, String> {
        let made = |operand: NodeIndex| {
            self.made[operand.index()]
                .ok_or_else(|| format!("node \"{}\" does not follow its operands", self.old.node(id).name))
        };
        self.old.operands(id).into_iter().map(made).collect()
    }

    /// An operator along an axis, on the last one: the axes are exchanged before and behind it. `op` makes the operator for
    /// the last axis.
    pub(super) fn on_last_axis(
        &mut self,
        name: &str,
        (a, axis): (NodeIndex, usize),
        op: impl FnOnce(usize) -> Op,
    ) -> Result<NodeIndex, String> {
        let last = self.builder.shape(a).len() - 1;
        // The exchange of two axes is its own way back.
        let mut axes: Vec<usize> = (0..=last).collect();
        axes.swap(axis, last);
        let turned = self.builder.permute(&format!("{name}.last"), a, axes.clone())?;
        let result = self.builder.emit(name, op(last), &[turned])?;
        self.builder.permute(&format!("{name}.back"), result, axes)
    }

    /// Takes a node over as it is.
    pub(super) fn keep(&mut self, id: NodeIndex, operands: &[NodeIndex]) -> Result<NodeIndex, String> {
        let node = self.old.node(id);
        match &node.op {
            Op::Input => Ok(self.builder.input(&node.name, node.output.clone())),
            Op::Constant(data) => Ok(self.builder.constant(&node.name, node.output.clone(), data.clone())),
            op => self.builder.emit_as(&node.name, op.clone(), operands, &node.output),
        }
    }
}

/// What a rule makes of a node whose operands are rebuilt; `None` to keep it.
pub(super) type Rewritten = Result<Option<NodeIndex>, String>;

/// Rebuilds a graph. Nodes on which no output depends are left out, but for the inputs; the rule sees every other node in
/// order, with the rebuilt operands, and may look at all that was rebuilt so far.
pub(super) fn rewrite(
    graph: &Graph,
    mut rule: impl FnMut(&mut Rewriter, NodeIndex, &[NodeIndex]) -> Rewritten,
) -> Result<Graph, String> {
    let live = live(graph);
    let mut rewriter =
        Rewriter { old: graph, builder: Builder::new(&graph.name), made: vec![None; graph.dag.node_count()] };
    // Inputs come first: their names are the model's interface, and no other node may take them.
    for &id in &graph.inputs {
        rewriter.made[id.index()] = Some(rewriter.keep(id, &[])?);
    }
    for id in graph.nodes().filter(|id| live[id.index()]) {
        if rewriter.made[id.index()].is_some() {
            continue;
        }
        let operands = rewriter.operands(id)?;
        let made = match rule(&mut rewriter, id, &operands)? {
            Some(made) => made,
            None => rewriter.keep(id, &operands)?,
        };
        if rewriter.builder.graph.node(made).output != graph.node(id).output {
            return Err(format!("the result of node \"{}\" would change its type", graph.node(id).name));
        }
        rewriter.made[id.index()] = Some(made);
    }
    for (name, id) in &graph.outputs {
        let made = rewriter.made[id.index()].ok_or_else(|| format!("the output \"{name}\" is not rebuilt"))?;
        rewriter.builder.graph.outputs.push((name.clone(), made));
    }
    Ok(rewriter.builder.graph)
}

/// Which nodes an output depends on.
fn live(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.dag.node_count()];
    for (_, id) in &graph.outputs {
        live[id.index()] = true;
    }
    let mut nodes: Vec<_> = graph.nodes().collect();
    while let Some(id) = nodes.pop() {
        if live[id.index()] {
            for operand in graph.operands(id) {
                live[operand.index()] = true;
            }
        }
    }
    live
}
