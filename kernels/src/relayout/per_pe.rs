//! Values of the PEs of a grid. Where a tensor lies everywhere along an axis, its PEs along that axis want the same: on a whole wafer
//! some hundred times less to work out and to keep than a value for each PE.

use crate::mesh::Axis;
use rayon::prelude::*;
use waferloom_fabric::{Coord, Distribution, Extent};

/// A value for each PE of a grid, once for all columns or all rows where these are alike.
#[derive(Clone, Debug)]
pub(super) struct PerPe<T> {
    /// Columns and rows that are told apart: 1 or those of the grid.
    kinds: Extent,
    values: Vec<T>,
}

/// The columns and rows of a distribution whose PEs have elements of their own.
pub(super) fn kinds(distribution: &Distribution) -> Extent {
    let Extent { width, height } = distribution.grid;
    Extent {
        width: if distribution.x.is_some() { width } else { 1 },
        height: if distribution.y.is_some() { height } else { 1 },
    }
}

impl<T: Send> PerPe<T> {
    /// The value that `of` gives for the first PE of each kind.
    pub(super) fn new(kinds: Extent, of: impl Fn(Coord) -> T + Sync) -> Self {
        Self { kinds, values: (0..kinds.pes()).into_par_iter().map(|kind| of(kinds.coord(kind))).collect() }
    }

    /// Values that follow from these.
    pub(super) fn map<U: Send>(self, of: impl Fn(T) -> U + Sync + Send) -> PerPe<U> {
        PerPe { kinds: self.kinds, values: self.values.into_par_iter().map(of).collect() }
    }

    /// Values that follow from these, which stay.
    pub(super) fn map_ref<U: Send>(&self, of: impl Fn(&T) -> U + Sync + Send) -> PerPe<U>
    where
        T: Sync,
    {
        PerPe { kinds: self.kinds, values: self.values.par_iter().map(of).collect() }
    }
}

impl<T> PerPe<T> {
    /// From the values of lines along an axis, one behind another.
    pub(super) fn from_lines(axis: Axis, lines: Vec<Vec<T>>) -> Self {
        let (count, length) = (lines.len() as u16, lines.first().map_or(0, Vec::len) as u16);
        let mut rest: Vec<_> = lines.into_iter().map(Vec::into_iter).collect();
        match axis {
            Axis::X => {
                let values = rest.into_iter().flatten().collect();
                Self { kinds: Extent { width: length, height: count }, values }
            }
            Axis::Y => {
                let values = (0..length).flat_map(|_| rest.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>());
                Self { kinds: Extent { width: count, height: length }, values: values.collect() }
            }
        }
    }

    /// Columns and rows that are told apart.
    pub(super) fn kinds(&self) -> Extent {
        self.kinds
    }

    /// The first PE that is like this one.
    pub(super) fn kind(&self, pe: Coord) -> Coord {
        Coord { x: if self.kinds.width == 1 { 0 } else { pe.x }, y: if self.kinds.height == 1 { 0 } else { pe.y } }
    }

    /// The value of a PE.
    pub(super) fn at(&self, pe: Coord) -> &T {
        &self.values[self.kinds.index(self.kind(pe))]
    }

    /// One value of each kind, row by row.
    pub(super) fn values(&self) -> &[T] {
        &self.values
    }

    /// The first PE of each kind, and its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Coord, &T)> {
        self.values.iter().enumerate().map(|(kind, value)| (self.kinds.coord(kind), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_along_either_axis_are_put_together() {
        // Two rows of three PEs, and two columns of three.
        let lines = || vec![vec![1, 2, 3], vec![4, 5, 6]];
        let rows = PerPe::from_lines(Axis::X, lines());
        assert_eq!((rows.kinds(), rows.values()), (Extent { width: 3, height: 2 }, [1, 2, 3, 4, 5, 6].as_slice()));
        let columns = PerPe::from_lines(Axis::Y, lines());
        assert_eq!(
            (columns.kinds(), columns.values()),
            (Extent { width: 2, height: 3 }, [1, 4, 2, 5, 3, 6].as_slice())
        );
        assert_eq!(*columns.at(Coord { x: 1, y: 2 }), 6);
    }

    #[test]
    fn pes_that_are_alike_have_one_value() {
        let of_row = PerPe::new(Extent { width: 1, height: 3 }, |at| at.y);
        assert_eq!(of_row.values(), [0, 1, 2]);
        assert_eq!(*of_row.at(Coord { x: 7, y: 2 }), 2);
    }
}
