//! What a relayout of two steps sends, by the axis along which it goes first.

use super::Need;
use crate::mesh::Axis;
use waferloom_fabric::Extent;

/// Elements that go along a line, in the fullest line of each of the two steps: whole tiles in the first, in the second what
/// the PEs of the line have kept for it.
pub(super) fn words(grid: Extent, first: Axis, needs: &[Vec<Need>], tile: u32) -> u64 {
    let (width, height) = (usize::from(grid.width), usize::from(grid.height));
    let mut roots = 0;
    let mut fullest = 0;
    // The line for which an element has been counted last, from 1 on.
    let mut counted = vec![0u16; grid.pes() * tile as usize];
    let (lines, length) = if first == Axis::X { (width, height) } else { (height, width) };
    for line in 0..lines {
        let mut elements = 0u64;
        for place in 0..length {
            let pe = if first == Axis::X { place * width + line } else { line * width + place };
            for &(home, from, _) in &needs[pe] {
                let root = if first == Axis::X { home.x } else { home.y };
                roots = roots.max(u64::from(root) + 1);
                let counted = &mut counted[grid.index(home) * tile as usize + from as usize];
                if *counted != line as u16 + 1 {
                    *counted = line as u16 + 1;
                    elements += 1;
                }
            }
        }
        fullest = elements.max(fullest);
    }
    roots * u64::from(tile) + fullest
}
