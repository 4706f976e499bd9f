//! What the products of a matrix and a vector share: the way of x to the PEs and of the partial sums to y.
//!
//! x lies dealt to the columns of PEs, in the northernmost row; each of its blocks is multicast down its column. Every PE
//! then works out its part of the rows' sums, and the parts of a row of PEs are added up towards the west: y ends in the
//! westernmost column.
//!
//! The sums run along chains in groups of neighbours, and then along a chain of the groups' heads; one group is a plain
//! chain. That is the aggregation by a tree of groups of C. He et al., *`WaferLLM`* (2025, arXiv 2502.04563), with two levels,
//! and the two-phase reduction of P. Luczynski et al., *Near-Optimal Wafer-Scale Reduce* (HPDC 2024).

use super::sketch::{Sketch, neighbour_cycles, start_cycles};
use crate::code::{Code, Tile, words_in, words_out};
use waferloom_fabric::{
    BufferKind, Color, ColorRef, Compare, Coord, Direction, Distribution, Dtype, Extent, Machine, Operand, Region,
    Split, Value, VectorOp,
};

/// Colour of x, and colours of the chains within groups and between heads, each by parity.
const X: Color = Color(0);
const IN_GROUP: u8 = 1;
const HEADS: u8 = 3;

/// Input queues: x, sums of the group, sums of the heads.
const X_IN: u8 = 0;
const GROUP_IN: u8 = 1;
const HEADS_IN: u8 = 2;
/// Output queues: sums, x.
const OUT: u8 = 2;
const X_OUT: u8 = 3;

/// Sizes of the product on its rectangle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) grid: Extent,
    /// Rows of the matrix.
    pub(super) m: u32,
    /// Columns of the matrix.
    pub(super) k: u32,
    /// Type of the matrix and of x.
    pub(super) dtype: Dtype,
    /// PEs in a group; as many as there are columns for a plain chain.
    pub(super) group: u32,
}

/// A queue and its colour.
type Queue = (u8, ColorRef);

/// What a PE does with the sums, by its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Role {
    /// Adds what comes from its group.
    takes_group: bool,
    /// Adds what comes from the next head.
    takes_heads: bool,
    /// Sends its sum on.
    sends: bool,
}

impl Frame {
    /// Rows of a PE's part.
    pub(super) fn rows(&self) -> u32 {
        self.m.div_ceil(self.grid.height.into())
    }

    /// Columns of a PE's part.
    pub(super) fn columns(&self) -> u32 {
        self.k.div_ceil(self.grid.width.into())
    }

    fn pes(&self) -> u32 {
        self.grid.width.into()
    }

    fn heads(&self) -> u32 {
        self.pes().div_ceil(self.group)
    }

    /// Reserves x and y; gives their tiles.
    pub(super) fn buffers(&self, sketch: &mut Sketch, x_phase: u32) -> (Tile, Tile) {
        let x = Tile { address: 0, elements: self.columns(), dtype: self.dtype };
        let x = Tile { address: sketch.phased_buffer("x", x.bytes(), BufferKind::Activation, x_phase), ..x };
        let y = sketch.buffer("y", self.rows() * 4, BufferKind::Activation);
        (x, Tile { address: y, elements: self.rows(), dtype: Dtype::F32 })
    }

    /// Emits everything but the PEs' own products, which `local` emits: it finds x in place, and adds to y, which is zero.
    pub(super) fn emit(&self, sketch: &mut Sketch, (x, y): (Tile, Tile), values: &[f32], local: impl Fn(&mut Code)) {
        self.classes(sketch, (x, y), local);
        let split = |block| Some(Split { dim: 0, block });
        let north = Extent { width: self.grid.width, height: 1 };
        let dealt = Distribution { grid: north, shape: vec![self.k], x: split(self.columns()), y: None };
        sketch.constant("x", self.dtype, dealt, x.address, values);
        let west = Extent { width: 1, height: self.grid.height };
        let dealt = Distribution { grid: west, shape: vec![self.m], x: None, y: split(self.rows()) };
        sketch.result("y", Dtype::F32, dealt, Coord { x: 0, y: 0 }, y.address);
    }

    /// The code of all PEs and their routes, without the data: for those who lay x and read y in shapes of their own.
    pub(super) fn classes(&self, sketch: &mut Sketch, (x, y): (Tile, Tile), local: impl Fn(&mut Code)) {
        self.x_routes(sketch);
        self.sum_routes(sketch);
        let row = Value::Param(sketch.by_row("row", i32::from));
        let colors = self.sum_colors(sketch);
        let mut roles: Vec<(Role, bool)> = (0..self.pes()).map(|x| self.role(x)).collect();
        roles.sort_unstable();
        roles.dedup();
        for (index, &(role, head)) in roles.iter().enumerate() {
            let mut code = Code::new();
            self.spread(&mut code, row, x);
            crate::matmul::clear(&mut code, y);
            local(&mut code);
            sums(&mut code, role, y);
            let (inputs, outputs) = self.queues(role, head, colors);
            sketch.class(&format!("role {index}"), &self.columns_of((role, head)), &inputs, &outputs, code);
        }
    }

    /// Colours of the sums by column: received from and sent to the group, received from and sent to the heads.
    fn sum_colors(&self, sketch: &mut Sketch) -> [ColorRef; 4] {
        let group = self.group;
        let mut color = |name: &str, first: u8, of: &dyn Fn(u32) -> u32| {
            ColorRef::Param(sketch.by_column(name, |x| i32::from(first) + (of(x.into()) % 2) as i32))
        };
        [
            color("from_group", IN_GROUP, &|x| x % group + 1),
            color("to_group", IN_GROUP, &|x| x % group),
            color("from_heads", HEADS, &|x| x / group + 1),
            color("to_heads", HEADS, &|x| x / group),
        ]
    }

    /// The input and output queues that a role uses.
    fn queues(&self, role: Role, head: bool, colors: [ColorRef; 4]) -> (Vec<Queue>, Vec<Queue>) {
        let [from_group, to_group, from_heads, to_heads] = colors;
        let spread = self.grid.height > 1;
        let inputs = [
            (spread, X_IN, ColorRef::Fixed(X)),
            (role.takes_group, GROUP_IN, from_group),
            (role.takes_heads, HEADS_IN, from_heads),
        ];
        let outputs = [(spread, X_OUT, ColorRef::Fixed(X)), (role.sends, OUT, if head { to_heads } else { to_group })];
        let used = |list: &[(bool, u8, ColorRef)]| {
            list.iter().filter(|&&(used, ..)| used).map(|&(_, queue, color)| (queue, color)).collect()
        };
        (used(&inputs), used(&outputs))
    }

    /// The northernmost row sends x down, the others receive it.
    fn spread(&self, code: &mut Code, row: Value, x: Tile) {
        if self.grid.height > 1 {
            code.branch(
                Compare::Eq,
                row,
                0,
                |code| code.mov(words_out(X_OUT, x.words()), x.as_words()),
                |code| code.mov(x.as_words(), words_in(X_IN, x.words())),
            );
        }
    }

    fn x_routes(&self, sketch: &mut Sketch) {
        use Direction::{North, Ramp, South};
        let Extent { width, height } = self.grid;
        if height > 1 {
            sketch.route(X, Region::rect(0, 0, width, 1), (&[Ramp], &[South]));
            sketch.route(X, Region::rect(0, 1, width, height - 2), (&[North], &[Ramp, South]));
            sketch.route(X, Region::rect(0, height - 1, width, 1), (&[North], &[Ramp]));
        }
    }

    /// What a column does, and whether it is the head of its group.
    fn role(&self, x: u32) -> (Role, bool) {
        let (head, last) = (x.is_multiple_of(self.group), x + 1 == self.pes());
        let takes_group = !last && !(x + 1).is_multiple_of(self.group);
        (Role { takes_group, takes_heads: head && x + self.group < self.pes(), sends: x > 0 }, head)
    }

    /// The PEs of a role, as strips of neighbouring columns.
    fn columns_of(&self, role: (Role, bool)) -> Vec<Region> {
        let columns: Vec<u32> = (0..self.pes()).filter(|&x| self.role(x) == role).collect();
        let strips = columns.chunk_by(|a, b| a + 1 == *b);
        strips.map(|strip| Region::rect(strip[0] as u16, 0, strip.len() as u16, self.grid.height)).collect()
    }

    /// The way of each column's sum to the one that adds it.
    fn sum_routes(&self, sketch: &mut Sketch) {
        use Direction::{East, Ramp, West};
        let height = self.grid.height;
        let strip = |first: u32, count: u32| Region::rect(first as u16, 0, count as u16, height);
        for x in 1..self.pes() {
            let head = x.is_multiple_of(self.group);
            let (first, number, distance) =
                if head { (HEADS, x / self.group, self.group) } else { (IN_GROUP, x % self.group, 1) };
            let color = Color(first + (number % 2) as u8);
            sketch.route(color, strip(x, 1), (&[Ramp], &[West]));
            sketch.route(color, strip(x - distance + 1, distance - 1), (&[East], &[West]));
            sketch.route(color, strip(x - distance, 1), (&[East], &[Ramp]));
        }
    }

    /// The group size with the least estimate of the sums' time; the largest is a plain chain.
    pub(super) fn best_group(&self, machine: &Machine) -> u32 {
        let candidates = (2..=self.pes().div_ceil(2)).map(|group| Self { group, ..*self });
        candidates.min_by_key(|frame| frame.sum_cycles(machine)).map_or(self.pes(), |frame| frame.group)
    }

    /// Cycles until x is everywhere.
    pub(super) fn spread_cycles(&self, machine: &Machine) -> u64 {
        if self.grid.height == 1 {
            return u64::from(machine.task_switch_cycles);
        }
        let words = (u64::from(self.columns()) * u64::from(self.dtype.bytes())).div_ceil(4);
        let hops = u64::from(self.grid.height - 1) * u64::from(machine.hop_cycles);
        start_cycles(machine) + u64::from(machine.branch_cycles) + words + hops + 2 * u64::from(machine.ramp_cycles) + 1
    }

    /// Cycles of clearing y.
    pub(super) fn clear_cycles(&self, machine: &Machine) -> u64 {
        u64::from(machine.vector_startup_cycles) + u64::from(self.rows()).div_ceil(machine.lanes_32.into())
    }

    /// Cycles from the last product to y: the published form of the two-phase reduction.
    pub(super) fn sum_cycles(&self, machine: &Machine) -> u64 {
        let (rows, step) = (u64::from(self.rows()), neighbour_cycles(machine));
        let start = u64::from(machine.vector_startup_cycles);
        let hop = u64::from(machine.hop_cycles);
        if self.pes() == 1 {
            return 0;
        }
        let in_group = rows + step * u64::from(self.group - 1);
        let between = match u64::from(self.heads()) {
            1 => 0,
            heads => rows + (heads - 1) * (step - hop + hop * u64::from(self.group)),
        };
        start + in_group + between
    }
}

/// `y + what comes in`, kept or sent on.
fn sums(code: &mut Code, role: Role, y: Tile) {
    let received = |queue| Operand::FabIn { queue, dtype: Dtype::F32, len: y.elements.into() };
    let sent = Operand::FabOut { queue: OUT, dtype: Dtype::F32, len: y.elements.into() };
    let queues = [(role.takes_group, GROUP_IN), (role.takes_heads, HEADS_IN)].into_iter().filter(|(takes, _)| *takes);
    let queues: Vec<u8> = queues.map(|(_, queue)| queue).collect();
    for (index, &queue) in queues.iter().enumerate() {
        let last = index + 1 == queues.len();
        let to = if last && role.sends { sent.clone() } else { y.vector() };
        code.vector(VectorOp::Add, to, &[received(queue), y.vector()]);
    }
    if queues.is_empty() && role.sends {
        code.mov(sent, y.vector());
    }
}
