//! Where things are on the mesh: coordinates, rectangles, directions and ports of a router.
//!
//! `x` grows to the east, `y` grows to the south; `(0, 0)` is the north-west corner of the program's rectangle.

use serde::{Deserialize, Serialize};

/// The position of a PE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Coord {
    /// Column, from the west.
    pub x: u16,
    /// Row, from the north.
    pub y: u16,
}

/// Width and height of a mesh, in PEs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Extent {
    /// PEs in a row.
    pub width: u16,
    /// PEs in a column.
    pub height: u16,
}

impl Extent {
    /// Number of PEs.
    pub fn pes(self) -> usize {
        self.width as usize * self.height as usize
    }

    /// Row-major index of a PE.
    pub fn index(self, at: Coord) -> usize {
        at.y as usize * self.width as usize + at.x as usize
    }

    /// The PE at a row-major index.
    pub fn coord(self, index: usize) -> Coord {
        // 32 bits divide much faster than 64, and hold the number of any PE.
        let (index, width) = (index as u32, u32::from(self.width));
        Coord { x: (index % width) as u16, y: (index / width) as u16 }
    }

    /// Row-major index of the PE beside the one at an index, or `None` at the edge of the mesh and for the ramp.
    #[inline]
    pub fn beside(self, index: usize, direction: Direction) -> Option<usize> {
        let width = usize::from(self.width);
        // In 32 bits for the same reason as above.
        let x = || index as u32 % u32::from(self.width);
        match direction {
            Direction::West => (x() > 0).then(|| index - 1),
            Direction::East => (x() + 1 < u32::from(self.width)).then_some(index + 1),
            Direction::North => index.checked_sub(width),
            Direction::South => Some(index + width).filter(|&below| below < self.pes()),
            Direction::Ramp => None,
        }
    }
}

/// A regular set of PEs: every `step_x`-th column and `step_y`-th row of a rectangle.
///
/// With both steps 1 it is the rectangle itself; with step 2 it is one colour of a checkerboard's columns or rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Region {
    /// First column.
    pub x: u16,
    /// First row.
    pub y: u16,
    /// Columns that the rectangle spans.
    pub width: u16,
    /// Rows that the rectangle spans.
    pub height: u16,
    /// Distance between two columns of the set, at least 1.
    pub step_x: u16,
    /// Distance between two rows of the set, at least 1.
    pub step_y: u16,
}

impl Region {
    /// The whole rectangle from `(x, y)`.
    pub fn rect(x: u16, y: u16, width: u16, height: u16) -> Self {
        Self { x, y, width, height, step_x: 1, step_y: 1 }
    }

    /// Every PE of a mesh.
    pub fn all(grid: Extent) -> Self {
        Self::rect(0, 0, grid.width, grid.height)
    }

    /// Whether the set holds the PE.
    pub fn contains(&self, at: Coord) -> bool {
        at.x >= self.x
            && at.y >= self.y
            && at.x - self.x < self.width
            && at.y - self.y < self.height
            && (at.x - self.x).is_multiple_of(self.step_x.max(1))
            && (at.y - self.y).is_multiple_of(self.step_y.max(1))
    }

    /// The PEs of the set, row by row.
    pub fn coords(&self) -> impl Iterator<Item = Coord> + use<> {
        let r = *self;
        (0..r.height).step_by(r.step_y.max(1) as usize).flat_map(move |dy| {
            (0..r.width).step_by(r.step_x.max(1) as usize).map(move |dx| Coord { x: r.x + dx, y: r.y + dy })
        })
    }

    /// Whether the set lies inside the mesh.
    pub fn fits(&self, grid: Extent) -> bool {
        self.x as u32 + self.width as u32 <= grid.width as u32
            && self.y as u32 + self.height as u32 <= grid.height as u32
    }
}

/// One of the five ports of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// To and from the neighbour at `x - 1`.
    West,
    /// To and from the neighbour at `x + 1`.
    East,
    /// To and from the neighbour at `y - 1`.
    North,
    /// To and from the neighbour at `y + 1`.
    South,
    /// To and from the router's own compute element.
    Ramp,
}

impl Direction {
    /// All five, in the order of their discriminants.
    pub const ALL: [Direction; 5] =
        [Direction::West, Direction::East, Direction::North, Direction::South, Direction::Ramp];

    /// The port at the other end of the link; the ramp is its own.
    #[inline]
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Direction::West => Direction::East,
            Direction::East => Direction::West,
            Direction::North => Direction::South,
            Direction::South => Direction::North,
            Direction::Ramp => Direction::Ramp,
        }
    }

    /// The neighbour in this direction, or `None` at the edge of the mesh and for the ramp.
    #[inline]
    pub fn neighbour(self, at: Coord, grid: Extent) -> Option<Coord> {
        let Coord { x, y } = at;
        match self {
            Direction::West => x.checked_sub(1).map(|x| Coord { x, y }),
            Direction::East => (x + 1 < grid.width).then_some(Coord { x: x + 1, y }),
            Direction::North => y.checked_sub(1).map(|y| Coord { x, y }),
            Direction::South => (y + 1 < grid.height).then_some(Coord { x, y: y + 1 }),
            Direction::Ramp => None,
        }
    }
}

/// A set of router ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortSet(pub u8);

impl PortSet {
    /// The set of the given ports.
    #[must_use]
    pub fn of(ports: &[Direction]) -> Self {
        Self(ports.iter().fold(0, |bits, &d| bits | 1 << d as u8))
    }

    /// Whether the port is in the set.
    #[inline]
    pub fn contains(self, port: Direction) -> bool {
        self.0 & (1 << port as u8) != 0
    }

    /// The ports in the set, in the order of [`Direction::ALL`].
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = Direction> + Clone {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let direction = *Direction::ALL.get(rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(direction)
        })
    }

    /// Whether no port is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_is_the_index_of_the_neighbour() {
        for (width, height) in [(1, 1), (1, 4), (5, 1), (4, 3)] {
            let grid = Extent { width, height };
            for index in 0..grid.pes() {
                for direction in Direction::ALL {
                    let neighbour = direction.neighbour(grid.coord(index), grid);
                    assert_eq!(grid.beside(index, direction), neighbour.map(|at| grid.index(at)));
                }
            }
        }
        // The PE at (3, 1) of 4 columns and 3 rows is the 7th from 0: nothing to its east.
        let grid = Extent { width: 4, height: 3 };
        assert_eq!(Direction::ALL.map(|out| grid.beside(7, out)), [Some(6), None, Some(3), Some(11), None]);
    }

    #[test]
    fn a_set_gives_its_ports_in_order() {
        for bits in 0..=u8::MAX {
            let all: Vec<Direction> = Direction::ALL.into_iter().filter(|&port| PortSet(bits).contains(port)).collect();
            assert_eq!(PortSet(bits).iter().collect::<Vec<_>>(), all);
        }
    }
}
