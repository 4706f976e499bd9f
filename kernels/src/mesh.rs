//! The plumbing that all kernels share: colours, queues, routes and parameters of a rectangle of PEs.
//!
//! - **Row and column broadcast** (one colour each): the PEs of a line take turns as the root. A root's tile goes out in
//!   both directions at once; control wavelets hand the turn to the next PE (see [`crate::line`]).
//! - **Chain** (two colours in a checkerboard of columns): each PE sends to its western neighbour. Reductions run along it.
//! - **North** (two colours in a checkerboard of rows): each PE sends to its northern neighbour. Reductions along columns.
//! - **Edge** (two colours): each PE sends to its eastern neighbour. Inputs come in from the west edge along it.
//! - **Out** (one colour): the PEs of a row take turns in sending over the west or the east edge (see [`crate::edge`]).

use std::ops::Range;
use waferloom_fabric::{
    Claim, Color, ColorRef, ColorRoute, Direction, Extent, Param, ParamValues, PortSet, Position, QueueBinding, Region,
    Value,
};

/// Colour of row broadcasts.
pub const ROW: Color = Color(0);
/// Colour of column broadcasts.
pub const COLUMN: Color = Color(1);
/// Colours on which PEs in even and odd columns send to the west.
pub const CHAIN: [Color; 2] = [Color(2), Color(3)];
/// Colours on which PEs in even and odd columns receive from the west.
pub const EDGE: [Color; 2] = [Color(4), Color(5)];
/// Colours on which PEs in even and odd rows send to the north.
pub const NORTH: [Color; 2] = [Color(6), Color(7)];
/// Colour on which results leave the fabric.
pub const OUT: Color = Color(8);

/// Colours that the plumbing takes, from 0 on.
pub const COLORS: u32 = 9;
/// Input queues that the plumbing takes, from 0 on.
pub const INPUT_QUEUES: u32 = 5;
/// Output queues that the plumbing takes, from 0 on.
pub const OUTPUT_QUEUES: u32 = 6;

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
    /// From the southern neighbour.
    pub const NORTH: u8 = 4;
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
    /// To the northern neighbour.
    pub const NORTH: u8 = 4;
    /// Out of the fabric.
    pub const OUT: u8 = 5;
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
    NorthIn = 6,
    NorthOut = 7,
}

/// What a rectangle adds to its colours but for those of the edge, which runs through all of them, and of the chain to the
/// north, which leaves no column: three sets in turn keep neighbours apart.
fn color_base(index: usize) -> u8 {
    (index % 3) as u8 * COLORS as u8
}

/// An axis of the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Along a row, over the columns.
    X,
    /// Along a column, over the rows.
    Y,
}

/// A rectangle of PEs, and the parameters that its kernels use.
///
/// A program may have several, side by side from west to east; they share its parameters.
#[derive(Debug)]
pub struct Mesh {
    /// The PEs.
    pub grid: Extent,
    /// Column of the program in which the rectangle starts.
    pub first_column: u16,
    /// Columns of the program.
    program_width: u16,
    /// Added to the plumbing's colours, so that rectangles side by side have colours of their own.
    color_base: u8,
    params: Vec<Param>,
    claims: Vec<Claim>,
}

impl Mesh {
    /// The only rectangle of a program, with its plumbing.
    pub fn new(grid: Extent) -> Self {
        Self::westernmost(&[grid.width], grid.height)
    }

    /// The first of rectangles side by side; [`Mesh::eastern_neighbour`] gives the others.
    ///
    /// # Panics
    /// When no width is given.
    pub fn westernmost(widths: &[u16], height: u16) -> Self {
        let columns = |name: &str, values: Vec<i32>| Param { name: name.into(), values: ParamValues::ByColumn(values) };
        let color = |pair: [Color; 2], parity: i32| i32::from(pair[parity as usize & 1].0);
        let program_width: u16 = widths.iter().sum();
        let all = 0..i32::from(program_width);
        let rows = |name: &str, f: &dyn Fn(i32) -> i32| Param {
            name: name.into(),
            values: ParamValues::ByRow((0..i32::from(height)).map(f).collect()),
        };
        // What each column's rectangle adds to its colours.
        let bases: Vec<i32> =
            widths.iter().enumerate().flat_map(|(i, &w)| (0..w).map(move |_| i32::from(color_base(i)))).collect();
        let params = vec![
            columns("x", widths.iter().flat_map(|&width| 0..i32::from(width)).collect()),
            rows("y", &|y| y),
            columns("chain_in", bases.iter().zip(0..).map(|(base, x)| base + color(CHAIN, x + 1)).collect()),
            columns("chain_out", bases.iter().zip(0..).map(|(base, x)| base + color(CHAIN, x)).collect()),
            columns("edge_in", all.clone().map(|x| color(EDGE, x)).collect()),
            columns("edge_out", all.map(|x| color(EDGE, x + 1)).collect()),
            rows("north_in", &|y| color(NORTH, y + 1)),
            rows("north_out", &|y| color(NORTH, y)),
        ];
        Self {
            grid: Extent { width: widths[0], height },
            first_column: 0,
            program_width,
            color_base: 0,
            params,
            claims: Vec::new(),
        }
    }

    /// The rectangle to the east; the program's parameters go along.
    #[must_use]
    pub fn eastern_neighbour(self, width: u16) -> Self {
        let first_column = self.first_column + self.grid.width;
        let color_base = color_base(usize::from(self.color_base / COLORS as u8) + 1);
        Self { grid: Extent { width, ..self.grid }, first_column, color_base, ..self }
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

    /// A parameter with a value for each position along an axis of the rectangle; equal ones are shared.
    pub fn param_along(&mut self, axis: Axis, prefix: &str, values: Vec<i32>) -> Value {
        if let Some(&first) = values.first()
            && values.iter().all(|&v| v == first)
        {
            return Value::Imm(first);
        }
        let values = match axis {
            Axis::X => {
                // Other rectangles do not use it.
                let mut columns = vec![0; self.program_width.into()];
                let first = usize::from(self.first_column);
                columns[first..first + values.len()].copy_from_slice(&values);
                ParamValues::ByColumn(columns)
            }
            Axis::Y => ParamValues::ByRow(values),
        };
        // Not with the plumbing's: those that are colours may still change.
        let plumbing = Params::NorthOut as usize + 1;
        let known = (plumbing..self.params.len()).find(|&index| self.params[index].values == values);
        let index = known.unwrap_or_else(|| {
            self.params.push(Param { name: format!("{prefix}_{}", self.params.len()), values });
            self.params.len() - 1
        });
        Value::Param(index as u32)
    }

    /// The PEs as a region of the program.
    pub fn region(&self) -> Region {
        Region::rect(self.first_column, 0, self.grid.width, self.grid.height)
    }

    /// The index of a claim in the program; equal ones are shared, as the same code may run again with other tiles.
    pub fn claim(&mut self, claim: impl Into<Claim>) -> u32 {
        let claim = claim.into();
        let index = self.claims.iter().position(|known| *known == claim).unwrap_or_else(|| {
            self.claims.push(claim);
            self.claims.len() - 1
        });
        index as u32
    }

    /// The parameters so far.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// All parameters and claims, for the program.
    pub fn into_parts(self) -> (Vec<Param>, Vec<Claim>) {
        (self.params, self.claims)
    }

    /// Colours of the input queues.
    pub fn input_queues(&self) -> Vec<QueueBinding> {
        vec![
            QueueBinding { queue: input::ROW, color: ColorRef::Fixed(self.own(ROW)) },
            QueueBinding { queue: input::COLUMN, color: ColorRef::Fixed(self.own(COLUMN)) },
            QueueBinding { queue: input::CHAIN, color: ColorRef::Param(Params::ChainIn as u32) },
            QueueBinding { queue: input::EDGE, color: ColorRef::Param(Params::EdgeIn as u32) },
            QueueBinding { queue: input::NORTH, color: ColorRef::Param(Params::NorthIn as u32) },
        ]
    }

    /// Colours of the output queues.
    pub fn output_queues(&self) -> Vec<QueueBinding> {
        vec![
            QueueBinding { queue: output::CHAIN, color: ColorRef::Param(Params::ChainOut as u32) },
            QueueBinding { queue: output::EDGE, color: ColorRef::Param(Params::EdgeOut as u32) },
            QueueBinding { queue: output::ROW, color: ColorRef::Fixed(self.own(ROW)) },
            QueueBinding { queue: output::COLUMN, color: ColorRef::Fixed(self.own(COLUMN)) },
            QueueBinding { queue: output::NORTH, color: ColorRef::Param(Params::NorthOut as u32) },
            QueueBinding { queue: output::OUT, color: ColorRef::Fixed(self.own(OUT)) },
        ]
    }

    /// The rectangle's colour for a stream of the plumbing.
    fn own(&self, color: Color) -> Color {
        Color(color.0 + self.color_base)
    }

    /// The routers' configuration for all of the plumbing inside of the rectangle; for what leaves to the east see
    /// [`Mesh::route_to_east`], for what leaves the fabric [`Mesh::routes_out`].
    pub fn routes(&self) -> Vec<ColorRoute> {
        use Direction::{East, Ramp, West};
        let mut routes = self.broadcast_routes(Axis::X);
        routes.extend(self.broadcast_routes(Axis::Y));
        let (first, end) = (self.first_column, self.first_column + self.grid.width);
        for parity in 0..2u16 {
            let (chain, edge) = (self.own(CHAIN[usize::from(parity)]), EDGE[usize::from(parity)]);
            let other = 1 - parity;
            // Senders of this parity to the west: all but the first column.
            routes.extend(self.columns(chain, parity, first + 1..end, Ramp, West));
            // Their receivers: columns of the other parity that have an eastern neighbour.
            routes.extend(self.columns(chain, other, first..end - 1, East, Ramp));
            // Receivers of this parity from the west; in the first column the wavelets come from the host or from the
            // rectangle to the west.
            routes.extend(self.columns(edge, parity, first..end, West, Ramp));
            routes.extend(self.columns(edge, other, first..end - 1, Ramp, East));
            // Rows of this parity send to the north, those of the other one receive; row 0 has nobody to send to.
            let north = NORTH[usize::from(parity)];
            routes.extend(self.rows(north, parity, 1..self.grid.height, Ramp, Direction::North));
            routes.extend(self.rows(north, other, 0..self.grid.height - 1, Direction::South, Ramp));
        }
        routes
    }

    /// A fixed route for the rows of a parity among `rows`.
    fn rows(&self, color: Color, parity: u16, rows: Range<u16>, rx: Direction, tx: Direction) -> Option<ColorRoute> {
        let first = rows.start + (rows.start + parity) % 2;
        (first < rows.end).then(|| ColorRoute {
            color,
            region: Region {
                x: self.first_column,
                y: first,
                width: self.grid.width,
                height: rows.end - first,
                step_x: 1,
                step_y: 2,
            },
            positions: vec![Position { rx: PortSet::of(&[rx]), tx: PortSet::of(&[tx]) }],
            start: 0,
            ring: false,
            filter: None,
        })
    }

    /// The colour on which the last column sends to the east.
    pub fn color_to_east(&self) -> Color {
        EDGE[usize::from((self.first_column + self.grid.width) % 2)]
    }

    /// Lets the last column send on to the east of the rectangle.
    pub fn route_to_east(&self) -> Option<ColorRoute> {
        let end = self.first_column + self.grid.width;
        self.columns(self.color_to_east(), 1 - end % 2, end - 1..end, Direction::Ramp, Direction::East)
    }

    /// The colour on which results leave the fabric from this rectangle.
    pub fn color_out(&self) -> Color {
        self.own(OUT)
    }

    /// Ways from all PEs of a row over the west or the east edge of the fabric, one after another (see [`crate::edge`]): to the west
    /// each PE first sends itself, then lets those behind it pass; to the east it first lets those behind it pass.
    pub fn routes_out(&self, edge: Direction) -> Vec<ColorRoute> {
        let way = |rx: Direction| Position { rx: PortSet::of(&[rx]), tx: PortSet::of(&[edge]) };
        let (own, width) = (way(Direction::Ramp), self.grid.width);
        let (both, end, others) = if edge == Direction::West {
            (vec![own, way(Direction::East)], width - 1, 0)
        } else {
            (vec![way(Direction::West), own], 0, 1)
        };
        let route = |from: u16, count: u16, positions: Vec<Position>| ColorRoute {
            color: self.color_out(),
            region: Region::rect(self.first_column + from, 0, count, self.grid.height),
            positions,
            start: 0,
            ring: false,
            filter: None,
        };
        let mut routes = vec![route(end, 1, vec![own])];
        if width > 1 {
            routes.push(route(others, width - 1, both));
        }
        routes
    }

    /// A fixed route for the columns of a parity among `columns` of the program.
    fn columns(
        &self,
        color: Color,
        parity: u16,
        columns: Range<u16>,
        rx: Direction,
        tx: Direction,
    ) -> Option<ColorRoute> {
        let first = columns.start + (columns.start + parity) % 2;
        (first < columns.end).then(|| ColorRoute {
            color,
            region: Region {
                x: first,
                y: 0,
                width: columns.end - first,
                height: self.grid.height,
                step_x: 2,
                step_y: 1,
            },
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
            color: self.own(color),
            region: match axis {
                Axis::X => Region::rect(self.first_column + from, 0, count, self.grid.height),
                Axis::Y => Region::rect(self.first_column, from, self.grid.width, count),
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
