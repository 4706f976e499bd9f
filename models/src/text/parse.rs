//! From text to graph.

use std::collections::BTreeMap;

use petgraph::graph::NodeIndex;

use super::TextError;
use super::lexer::{Cursor, Token};
use super::operator::{Attributes, Literal, tensor_type};
use crate::graph::{Graph, Node, Op};

/// Reads the text form.
///
/// # Errors
/// Where the text is not a graph, or a node does not fit its operands.
pub fn parse(text: &str) -> Result<Graph, TextError> {
    let mut reader = Reader { graph: Graph::new(""), known: BTreeMap::new(), named: BTreeMap::new() };
    let mut started = false;
    let mut last = 0;
    for (index, line) in text.lines().enumerate() {
        last = index + 1;
        let mut cursor = Cursor::new(line, last)?;
        if *cursor.token() == Token::End {
            continue;
        }
        if started {
            reader.statement(&mut cursor)?;
        } else {
            if cursor.word("`graph`")? != "graph" {
                return Err(Cursor::new(line, last)?.expected("`graph` and a name in quotes"));
            }
            reader.graph.name = cursor.text("the graph's name in quotes")?;
            started = true;
        }
        cursor.end()?;
    }
    let end = Cursor::new("", last + 1)?;
    if !started {
        return Err(end.fault("the text is empty", "begin with `graph` and a name in quotes"));
    }
    let nodes = reader.graph.nodes().filter(|&id| reader.graph.node(id).op == Op::Input).count();
    if nodes != reader.graph.inputs.len() {
        return Err(end.fault("the list of inputs is incomplete", "list every input behind `inputs`"));
    }
    Ok(reader.graph)
}

struct Reader {
    graph: Graph,
    /// The nodes by the number in the text.
    known: BTreeMap<String, NodeIndex>,
    /// Names of nodes, and the line of each.
    named: BTreeMap<String, usize>,
}

impl Reader {
    fn statement(&mut self, cursor: &mut Cursor) -> Result<(), TextError> {
        match *cursor.token() {
            Token::Node(number) => self.node(cursor, number),
            Token::Word("inputs") => {
                cursor.advance()?;
                self.inputs(cursor)
            }
            Token::Word("output") => {
                cursor.advance()?;
                let node = self.reference(cursor)?;
                let name = cursor.text("the output's name in quotes")?;
                self.graph.outputs.push((name, node));
                Ok(())
            }
            _ => Err(cursor.expected("a node (`%number = ..`), `inputs` or `output`")),
        }
    }

    fn inputs(&mut self, cursor: &mut Cursor) -> Result<(), TextError> {
        loop {
            let before = cursor.expected("an input");
            let node = self.reference(cursor)?;
            if self.graph.node(node).op != Op::Input || self.graph.inputs.contains(&node) {
                return Err(TextError { remedy: "list every input once, and nothing else".into(), ..before });
            }
            self.graph.inputs.push(node);
            if !cursor.eat(',')? {
                return Ok(());
            }
        }
    }

    /// A node that is already there.
    fn reference(&self, cursor: &mut Cursor) -> Result<NodeIndex, TextError> {
        let Token::Node(number) = *cursor.token() else { return Err(cursor.expected("a node (`%number`)")) };
        let Some(&node) = self.known.get(number) else {
            return Err(cursor.fault(
                format!("there is no node `%{number}` above"),
                "a node follows its operands; correct the number or the order",
            ));
        };
        cursor.advance()?;
        Ok(node)
    }

    /// A node: `%number = operator operands attributes : type "name"`.
    fn node(&mut self, cursor: &mut Cursor, number: &str) -> Result<(), TextError> {
        if number.is_empty() || self.known.contains_key(number) {
            return Err(cursor.fault(format!("`%{number}` is no new number"), "give every node a number of its own"));
        }
        cursor.advance()?;
        cursor.symbol('=')?;
        let at = cursor.expected("an operator");
        let word = cursor.word("an operator")?;
        let literal = if word == "constant" { Some(Literal::read(cursor)?) } else { None };
        let operands = self.operands(cursor)?;
        let mut attributes = Attributes::read(cursor)?;
        cursor.symbol(':')?;
        let output = tensor_type(cursor)?;
        let op = match literal {
            Some(literal) => Op::Constant(literal.data(&output)?),
            None => attributes.operator(word, &at)?,
        };
        attributes.finish()?;
        let node = Node { name: String::new(), op, output };
        let types: Vec<_> = operands.iter().map(|&operand| &self.graph.node(operand).output).collect();
        crate::infer::check(&node, &types).map_err(|problem| TextError {
            problem,
            remedy: "correct the operator, its operands or its type".into(),
            ..at
        })?;
        let name = self.new_name(cursor)?;
        let id = self.insert(Node { name, ..node }, &operands);
        self.known.insert(number.to_string(), id);
        Ok(())
    }

    fn operands(&self, cursor: &mut Cursor) -> Result<Vec<NodeIndex>, TextError> {
        let mut operands = Vec::new();
        while matches!(cursor.token(), Token::Node(_)) {
            operands.push(self.reference(cursor)?);
            if !cursor.eat(',')? {
                break;
            }
        }
        Ok(operands)
    }

    /// A name that no other node has.
    fn new_name(&mut self, cursor: &mut Cursor) -> Result<String, TextError> {
        let before = cursor.expected("the node's name in quotes");
        let name = cursor.text("the node's name in quotes")?;
        match self.named.insert(name.clone(), before.line) {
            Some(line) => Err(TextError {
                problem: format!("the node of line {line} has the same name"),
                remedy: "give every node a name of its own".into(),
                ..before
            }),
            None => Ok(name),
        }
    }

    /// Adds a node but not to the list of inputs: that is a statement of its own, which gives their order.
    fn insert(&mut self, node: Node, operands: &[NodeIndex]) -> NodeIndex {
        let id = self.graph.dag.add_node(node);
        for (position, &operand) in operands.iter().enumerate() {
            self.graph.dag.add_edge(operand, id, position);
        }
        id
    }
}
