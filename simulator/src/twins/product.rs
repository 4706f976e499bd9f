//! The products of [`ClaimKind::Product`](waferloom_fabric::ClaimKind::Product): a host product for all PEs that share operands.

use super::Operands;
use super::buffers::Buffers;
use super::constant;
use super::multiply::{Sizes, Starts, multiply};
use super::tiles::Tiles;
use crate::machine::abreast::RowSource;
use crate::machine::planes::Memory;
use std::borrow::Cow;
use waferloom_fabric::{ClaimOperand, Constant, Dtype, ProductClaim};

/// PEs that share operands: along a row where the left one is split, along a column where the right one is.
pub(super) struct Group<'a> {
    /// PEs in a row and in a column.
    width: usize,
    height: usize,
    /// `[matrix, row of PEs, row, inner index]`.
    left: Vec<f32>,
    /// `[matrix, inner index, column of PEs, column]`.
    right: Vec<f32>,
    /// What it is instead, if all have their tiles of it there.
    constant: Option<&'a Constant>,
    /// `[product, row of PEs, row, column of PEs, column]`: what sums start from, and the sums where they are done.
    result: Vec<f32>,
    /// `[row of PEs, column of PEs, column]`: what all rows of a PE start from, if that is the same in all PEs that have begun; then the result
    /// holds nothing yet.
    starts: Option<Vec<f32>>,
    /// By PE.
    states: Vec<State>,
    /// PEs that have not begun.
    before: usize,
    /// By row and by column of PEs: those that hold some of the operand and have not begun.
    missing_in_row: Vec<usize>,
    missing_in_column: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its tiles are not known yet.
    Before,
    /// They are.
    Begun,
    /// Its tile of the result is worked out.
    Done,
}

/// How many PEs of a line hold some of an operand.
fn holders(claim: &ProductClaim, operand: &ClaimOperand, pes: usize) -> usize {
    if operand.split { pes.min(claim.blocks() as usize) } else { 1 }
}

impl<'a> Group<'a> {
    /// Before any PE has begun; what is in the matrices then is overwritten by those that begin.
    pub(super) fn new(claim: &ProductClaim, buffers: &mut Buffers<f32>, first: &Operands<'a>) -> Self {
        let constant = first.right;
        let width = if claim.left.split { usize::from(claim.region.width) } else { 1 };
        let height = if claim.right.split { usize::from(claim.region.height) } else { 1 };
        let (rows, columns) = (height * claim.rows as usize, width * claim.columns as usize);
        let (inner, [left, right]) = (claim.inner as usize, claim.operand_matrices());
        Self {
            width,
            height,
            left: buffers.take(left as usize * rows * inner),
            right: if constant.is_some() { Vec::new() } else { buffers.take(right as usize * inner * columns) },
            constant,
            result: buffers.take(claim.products() as usize * rows * columns),
            starts: first.start.map(|_| vec![0.0; height * columns]),
            states: vec![State::Before; width * height],
            before: width * height,
            missing_in_row: vec![holders(claim, &claim.left, width); height],
            missing_in_column: vec![holders(claim, &claim.right, height); width],
        }
    }

    /// Takes the tiles of PEs side by side, the first one at a place of the group; `None` when they do not lie in memory.
    pub(super) fn begin(
        &mut self,
        claim: &ProductClaim,
        ([x, y], pes): ([usize; 2], usize),
        memory: Memory<'_>,
        &Operands { at, right: constant, start }: &Operands<'a>,
    ) -> Option<()> {
        let [rows, columns] = [claim.rows, claim.columns].map(|size| size as usize);
        let (inner, pitch) = (claim.inner as usize, self.width * columns);
        let [left, right] = [(claim.left, at[0]), (claim.right, at[1])].map(|(shape, at)| Tiles {
            memory,
            pes,
            at,
            dtype: claim.dtype,
            shape,
        });
        let [left_matrices, right_matrices] = claim.operand_matrices();
        for (slot, first, depth) in blocks(claim, &claim.left, x, self.width) {
            // Blocks of PEs side by side follow each other; the last one of all may be a part of one.
            let whole = pes.min((inner - first) / claim.block as usize);
            let part = Tiles { memory: memory.beside(whole), pes: 1, ..left };
            let rest = if whole < pes { (inner - first).min(whole * depth + depth) - whole * depth } else { 0 };
            for matrix in 0..left_matrices {
                let start = (matrix as usize * self.height + y) * rows * inner + first;
                let own = Tiles { pes: whole, ..left };
                own.rows([matrix as u32, slot], [rows, depth], self.left.get_mut(start..)?, inner)?;
                let start = start + whole * depth;
                part.rows([matrix as u32, slot], [rows, rest], self.left.get_mut(start..)?, inner)?;
            }
        }
        if self.constant.is_some() && !same(self.constant, constant) {
            self.right = self.right_operand(claim).into_owned();
            self.constant = None;
        }
        // What is in no memory can be nobody's own.
        (same(self.constant, constant) || constant.is_none()).then_some(())?;
        let own = if constant.is_some() { 0 } else { usize::MAX };
        for (slot, first, depth) in blocks(claim, &claim.right, y, self.height).take(own) {
            for matrix in 0..right_matrices {
                let start = (matrix as usize * inner + first) * pitch + x * columns;
                right.columns([matrix as u32, slot], [columns, depth], self.right.get_mut(start..)?, pitch)?;
            }
        }
        let shape =
            ClaimOperand { split: false, matrix: claim.rows * claim.columns, slot: 0, line: claim.columns, step: 1 };
        let result = Tiles { memory, pes, at: at[2], dtype: Dtype::F32, shape };
        let all = claim.products() as usize * rows;
        let height = self.height;
        let first_of = |product: usize| (product * height + y) * rows * pitch + x * columns;
        match (start, &mut self.starts) {
            (Some(start), Some(starts)) => {
                start_row(start, result, starts.get_mut(y * pitch + x * columns..)?.get_mut(..pes * columns)?)?;
            }
            (Some(start), None) => {
                let mut own = vec![0.0; pes * columns];
                start_row(start, result, &mut own)?;
                for row in 0..all {
                    let first = first_of(row / rows) + row % rows * pitch;
                    self.result.get_mut(first..first + own.len())?.copy_from_slice(&own);
                }
            }
            (None, _) => {
                self.write_starts(claim);
                for product in 0..all / rows {
                    let lines = self.result.get_mut(first_of(product)..)?;
                    result.rows([product as u32, 0], [rows, columns], lines, pitch)?;
                }
            }
        }
        self.states[y * self.width + x..][..pes].fill(State::Begun);
        self.before -= pes;
        self.missing_in_row[y] -= holders(claim, &claim.left, self.width).saturating_sub(x).min(pes);
        if y < holders(claim, &claim.right, self.height) {
            self.missing_in_column[x..x + pes].iter_mut().for_each(|missing| *missing -= 1);
        }
        Some(())
    }

    /// Adds the tiles of PEs side by side to `tile`, the first row of each, then the next one; `None` when something that one is worked out
    /// from is not known yet.
    pub(super) fn end(
        &mut self,
        claim: &ProductClaim,
        ([x, y], pes): ([usize; 2], usize),
        on_threads: bool,
        tile: &mut Vec<f32>,
    ) -> Option<()> {
        let is_done = |group: &Self, x: usize| group.states[y * group.width + x] == State::Done;
        if !(x..x + pes).all(|x| is_done(self, x)) {
            if !(x..x + pes).all(|x| is_done(self, x) || self.is_ready(x, y)) {
                return None;
            }
            if self.states.iter().all(|&state| state == State::Begun) {
                let mut result = std::mem::take(&mut self.result);
                let starts = self.starts.as_ref().map(|rows| Starts { rows, each: claim.rows as usize });
                // A constant is read where it lies in the program, with as many columns as it has.
                let dense = self.constant.and_then(|right| constant::dense(right, claim.inner as usize));
                let right = dense.map_or_else(|| self.right_operand(claim), Cow::Borrowed);
                compute(claim, [&self.left, &right], (&mut result, starts), [self.width, self.height], on_threads);
                self.result = result;
                self.states.fill(State::Done);
            } else {
                self.some(claim, on_threads);
            }
        }
        let [rows, columns] = [claim.rows, claim.columns].map(|size| size as usize);
        let pitch = self.width * columns;
        for product in 0..claim.products() as usize {
            let lines = self.result.get((product * self.height + y) * rows * pitch..)?.chunks(pitch.max(1)).take(rows);
            lines.for_each(|line| tile.extend_from_slice(&line[x * columns..(x + pes) * columns]));
        }
        Some(())
    }

    /// What sums start from is in the result from now on.
    fn write_starts(&mut self, claim: &ProductClaim) {
        let Some(starts) = self.starts.take() else { return };
        let (each, pitch) = (claim.rows as usize, self.width * claim.columns as usize);
        let starts = Starts { rows: &starts, each };
        for result in self.result.chunks_mut((self.height * each * pitch).max(1)) {
            starts.write(result, 0, pitch, 0..pitch);
        }
    }

    /// The matrices of the right operand, as far as they are known.
    fn right_operand(&self, claim: &ProductClaim) -> Cow<'_, [f32]> {
        match self.constant {
            Some(right) => constant::matrix(right, claim.inner as usize, self.width * claim.columns as usize),
            None => Cow::Borrowed(&self.right),
        }
    }

    /// Gives the matrices back.
    pub(super) fn give_back(self, buffers: &mut Buffers<f32>) {
        for matrix in [self.left, self.right, self.result] {
            buffers.give(matrix);
        }
    }

    /// Whether all PEs have begun.
    pub(super) fn is_complete(&self) -> bool {
        self.before == 0
    }

    /// Whether all is known from which a PE's tile is worked out, and that has not been done.
    fn is_ready(&self, x: usize, y: usize) -> bool {
        let known = self.missing_in_row[y] == 0 && self.missing_in_column[x] == 0;
        known && self.states[y * self.width + x] == State::Begun
    }

    /// Works out the tiles of the PEs that are ready while others have not begun, or are done.
    fn some(&mut self, claim: &ProductClaim, on_threads: bool) {
        self.write_starts(claim);
        let ys: Vec<usize> = (0..self.height).filter(|&y| (0..self.width).any(|x| self.is_ready(x, y))).collect();
        let xs: Vec<usize> = (0..self.width).filter(|&x| (0..self.height).any(|y| self.is_ready(x, y))).collect();
        let [rows, columns, inner] = [claim.rows, claim.columns, claim.inner].map(|size| size as usize);
        let left = chosen(&self.left, self.height, rows * inner, &ys);
        let right = chosen(&self.right_operand(claim), self.width, columns, &xs);
        let in_rows = chosen(&self.result, self.height, rows * self.width * columns, &ys);
        let mut result = chosen(&in_rows, self.width, columns, &xs);
        compute(claim, [&left, &right], (&mut result, None), [xs.len(), ys.len()], on_threads);
        let mut tiles = result.chunks_exact(columns);
        for (product, &y, row) in (0..claim.products() as usize)
            .flat_map(|product| ys.iter().flat_map(move |y| (0..rows).map(move |row| (product, y, row))))
        {
            for &x in &xs {
                let Some(tile) = tiles.next() else { return };
                if self.is_ready(x, y) {
                    let start = (((product * self.height + y) * rows + row) * self.width + x) * columns;
                    self.result[start..start + columns].copy_from_slice(tile);
                }
            }
        }
        for (x, y) in ys.iter().flat_map(|&y| xs.iter().map(move |&x| (x, y))) {
            if self.is_ready(x, y) {
                self.states[y * self.width + x] = State::Done;
            }
        }
    }
}

/// What each row of PEs side by side starts from, PE by PE; `result` are the tiles of their result.
fn start_row(start: RowSource, result: Tiles<'_>, row: &mut [f32]) -> Option<()> {
    match start {
        RowSource::Number(number) => row.fill(number),
        RowSource::Memory(at) => {
            let (columns, pitch) = (row.len() / result.pes, row.len());
            Tiles { at, ..result }.rows([0, 0], [1, columns], row, pitch)?;
        }
    }
    Some(())
}

/// Whether both are one constant, or none.
fn same(a: Option<&Constant>, b: Option<&Constant>) -> bool {
    a.map(std::ptr::from_ref) == b.map(std::ptr::from_ref)
}

/// The blocks of an operand that a PE at a place in its line holds: slot, first inner index, number of them.
fn blocks(
    claim: &ProductClaim,
    operand: &ClaimOperand,
    place: usize,
    pes: usize,
) -> impl Iterator<Item = (u32, usize, usize)> + use<> {
    let (first, apart) = if operand.split { (place, pes) } else { (0, 1) };
    let (block, inner) = (claim.block as usize, claim.inner as usize);
    let blocks = (first..claim.blocks() as usize).step_by(apart);
    blocks.enumerate().map(move |(slot, index)| (slot as u32, index * block, block.min(inner - index * block)))
}

/// Some of the `count` parts of `size` elements that follow each other again and again.
fn chosen(all: &[f32], count: usize, size: usize, parts: &[usize]) -> Vec<f32> {
    all.chunks_exact(count * size)
        .flat_map(|all| parts.iter().flat_map(|i| &all[i * size..(i + 1) * size]))
        .copied()
        .collect()
}

fn compute(
    claim: &ProductClaim,
    [left, right]: [&[f32]; 2],
    (result, starts): (&mut [f32], Option<Starts<'_>>),
    [width, height]: [usize; 2],
    on_threads: bool,
) {
    let inner = claim.inner as usize;
    let (rows, columns) = (height * claim.rows as usize, width * claim.columns as usize);
    let right_columns = right.len() / (claim.operand_matrices()[1] as usize * inner).max(1);
    let matrices = claim.matrices();
    let operands = |product: usize| {
        let [l, r] = matrices[product].map(|matrix| matrix as usize);
        [&left[l * rows * inner..], &right[r * inner * right_columns..]]
    };
    multiply(result, Sizes { rows, columns, inner, right: right_columns }, starts, operands, on_threads);
}
