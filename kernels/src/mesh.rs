//! The plumbing that all kernels share: colours, queues, routes and parameters of a rectangle of PEs.
//!
//! - **Row and column broadcast** (one colour each): the PEs of a line take turns as the root. A root's tile goes out in
//!   both directions at once; control wavelets hand the turn to the next PE (see [`crate::line`]).
//! - **Chain** (two colours in a checkerboard of columns): each PE sends to its western neighbour. Reductions run along it,
//!   and results leave the fabric at the west edge.
//! - **Edge** (two colours): each PE sends to its eastern neighbour. Inputs come in from the west edge along it.

use waferloom_fabric::{
    Color, ColorRef, ColorRoute, Direction, Extent, Param, ParamValues, PortSet, Position, QueueBinding, Region, Value,
};

/// Colour of row broadcasts.
pub const ROW: Color = Color(0);
/// Colour of column broadcasts.
pub const COLUMN: Color = Color(1);
/// Colours on which PEs in even and odd columns send to the west.
pub const CHAIN: [Color; 2] = [Color(2), Color(3)];
/// Colours on which PEs in even and odd columns receive from the west.
pub const EDGE: [Color; 2] = [Color(4), Color(5)];

/// Colours that the plumbing takes, from 0 on.
pub const COLORS: u32 = 6;
/// Input queues that the plumbing takes, from 0 on.
pub const INPUT_QUEUES: u32 = 4;
/// Output queues that the plumbing takes, from 0 on.
pub const OUTPUT_QUEUES: u32 = 4;

/// Input queues by use.
pub mod input {
    /// Row broadcast.
    pub const ROW: u8 = 0;
    /// Column broadcast.
    pub const COLUMN: u8 = 1;
    /// From the eastern neighbour.
    pub const CHAIN: u8 = 2;
    /// From the western neighbour.
    pub const EDGE: u8 = 3;
}

/// Output queues by use.
pub mod output {
    /// To the western neighbour.
    pub const CHAIN: u8 = 0;
    /// To the eastern neighbour.
    pub const EDGE: u8 = 1;
    /// Row broadcast.
    pub const ROW: u8 = 2;
    /// Column broadcast.
    pub const COLUMN: u8 = 3;
}

/// Parameters by index: all kernels may use them.
#[derive(Clone, Copy, Debug)]
enum Params {
    X = 0,
    Y = 1,
    ChainIn = 2,
    ChainOut = 3,
    EdgeIn = 4,
    EdgeOut = 5,
}

/// An axis of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Along a row, over the columns.
    X,
    /// Along a column, over the rows.
    Y,
}

/// A rectangle of PEs from the program's origin, and the parameters that its kernels use.
#[derive(Debug)]
pub struct Mesh {
    /// The PEs.
    pub grid: Extent,
    params: Vec<Param>,
}

impl Mesh {
    /// A mesh with its plumbing.
    pub fn new(grid: Extent) -> Self {
        let columns = |name: &str, f: &dyn Fn(i32) -> i32| Param {
            name: name.into(),
            values: ParamValues::ByColumn((0..i32::from(grid.width)).map(f).collect()),
        };
        let color = |pair: [Color; 2], parity: i32| i32::from(pair[parity as usize & 1].0);
        let params = vec![
            columns("x", &|x| x),
            Param { name: "y".into(), values: ParamValues::ByRow((0..i32::from(grid.height)).collect()) },
            columns("chain_in", &|x| color(CHAIN, x + 1)),
            columns("chain_out", &|x| color(CHAIN, x)),
            columns("edge_in", &|x| color(EDGE, x)),
            columns("edge_out", &|x| color(EDGE, x + 1)),
        ];
        Self { grid, params }
    }

    /// PEs along an axis.
    pub fn size(&self, axis: Axis) -> u32 {
        u32::from(match axis {
            Axis::X => self.grid.width,
            Axis::Y => self.grid.height,
        })
    }

    /// A PE's position along an axis.
    pub fn position(&self, axis: Axis) -> Value {
        Value::Param(match axis {
            Axis::X => Params::X,
            Axis::Y => Params::Y,
        } as u32)
    }

    /// A parameter with a value for each position along an axis; equal ones are shared.
    pub fn param_along(&mut self, axis: Axis, prefix: &str, values: Vec<i32>) -> Value {
        if let Some(&first) = values.first()
            && values.iter().all(|&v| v == first)
        {
            return Value::Imm(first);
        }
        let values = match axis {
            Axis::X => ParamValues::ByColumn(values),
            Axis::Y => ParamValues::ByRow(values),
        };
        let index = self.params.iter().position(|p| p.values == values).unwrap_or_else(|| {
            self.params.push(Param { name: format!("{prefix}_{}", self.params.len()), values });
            self.params.len() - 1
        });
        Value::Param(index as u32)
    }

    /// The parameters so far.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// All parameters, for the program.
    pub fn into_params(self) -> Vec<Param> {
        self.params
    }

    /// Colours of the input queues.
    pub fn input_queues() -> Vec<QueueBinding> {
        vec![
            QueueBinding { queue: input::ROW, color: ColorRef::Fixed(ROW) },
            QueueBinding { queue: input::COLUMN, color: ColorRef::Fixed(COLUMN) },
            QueueBinding { queue: input::CHAIN, color: ColorRef::Param(Params::ChainIn as u32) },
            QueueBinding { queue: input::EDGE, color: ColorRef::Param(Params::EdgeIn as u32) },
        ]
    }

    /// Colours of the output queues.
    pub fn output_queues() -> Vec<QueueBinding> {
        vec![
            QueueBinding { queue: output::CHAIN, color: ColorRef::Param(Params::ChainOut as u32) },
            QueueBinding { queue: output::EDGE, color: ColorRef::Param(Params::EdgeOut as u32) },
            QueueBinding { queue: output::ROW, color: ColorRef::Fixed(ROW) },
            QueueBinding { queue: output::COLUMN, color: ColorRef::Fixed(COLUMN) },
        ]
    }

    /// The routers' configuration for all of the plumbing.
    pub fn routes(&self) -> Vec<ColorRoute> {
        use Direction::{East, Ramp, West};
        let mut routes = self.broadcast_routes(Axis::X);
        routes.extend(self.broadcast_routes(Axis::Y));
        for parity in 0..2u16 {
            let other = 1 - parity;
            // Senders of this parity to the west; at column 0 the wavelets leave the fabric.
            routes.extend(self.columns(CHAIN[parity as usize], parity, self.grid.width, Ramp, West));
            // Their receivers: columns of the other parity that have an eastern neighbour.
            routes.extend(self.columns(CHAIN[parity as usize], other, self.grid.width - 1, East, Ramp));
            // Receivers of this parity from the west; at column 0 the wavelets come from the host.
            routes.extend(self.columns(EDGE[parity as usize], parity, self.grid.width, West, Ramp));
            routes.extend(self.columns(EDGE[parity as usize], other, self.grid.width - 1, Ramp, East));
        }
        routes
    }

    /// A fixed route for every second column from `first` up to, not including, `end`.
    fn columns(&self, color: Color, first: u16, end: u16, rx: Direction, tx: Direction) -> Option<ColorRoute> {
        (first < end).then(|| ColorRoute {
            color,
            region: Region { x: first, y: 0, width: end - first, height: self.grid.height, step_x: 2, step_y: 1 },
            positions: vec![Position { rx: PortSet::of(&[rx]), tx: PortSet::of(&[tx]) }],
            start: 0,
            ring: false,
            filter: None,
        })
    }

    /// Three switch positions in the middle of a line: pass on what earlier roots send, be the root, pass on what later
    /// roots send. The ends of the line have no neighbour on one side.
    pub(crate) fn broadcast_routes(&self, axis: Axis) -> Vec<ColorRoute> {
        let (color, before, after) = match axis {
            Axis::X => (ROW, Direction::West, Direction::East),
            Axis::Y => (COLUMN, Direction::North, Direction::South),
        };
        let size = self.size(axis) as u16;
        if size < 2 {
            return Vec::new();
        }
        let position = |rx: Direction, tx: &[Direction]| Position { rx: PortSet::of(&[rx]), tx: PortSet::of(tx) };
        let ramp = Direction::Ramp;
        let first = vec![position(ramp, &[after]), position(after, &[ramp])];
        let middle =
            vec![position(before, &[after, ramp]), position(ramp, &[before, after]), position(after, &[before, ramp])];
        let last = vec![position(before, &[ramp]), position(ramp, &[before])];
        let along = |from: u16, count: u16, positions: Vec<Position>| ColorRoute {
            color,
            region: match axis {
                Axis::X => Region::rect(from, 0, count, self.grid.height),
                Axis::Y => Region::rect(0, from, self.grid.width, count),
            },
            positions,
            start: 0,
            ring: false,
            filter: None,
        };
        let mut routes = vec![along(0, 1, first), along(size - 1, 1, last)];
        if size > 2 {
            routes.insert(1, along(1, size - 2, middle));
        }
        routes
    }
}
