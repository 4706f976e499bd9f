//! What claims are worked out in, used again: to get new pages from the system takes longer than to fill them.

use std::collections::BTreeMap;

/// Elements that are kept at most: 256 MiB.
const MOST_KEPT: usize = 1 << 26;

/// Buffers that nobody uses now.
#[derive(Debug, Default)]
pub(super) struct Buffers<T> {
    /// By how many elements they have room for.
    unused: BTreeMap<usize, Vec<Vec<T>>>,
    kept: usize,
}

impl<T: Copy + Default> Buffers<T> {
    /// A buffer of some elements, of which nobody knows what they are.
    pub(super) fn take(&mut self, elements: usize) -> Vec<T> {
        let size = self.unused.range(elements..=elements.saturating_mul(2)).next().map(|(&size, _)| size);
        let Some(mut buffer) = size.and_then(|size| self.take_one_of(size)) else {
            return vec![T::default(); elements];
        };
        buffer.resize(elements, T::default());
        buffer
    }

    fn take_one_of(&mut self, size: usize) -> Option<Vec<T>> {
        let some = self.unused.get_mut(&size)?;
        let buffer = some.pop();
        if some.is_empty() {
            self.unused.remove(&size);
        }
        self.kept -= size;
        buffer
    }

    /// Takes a buffer back.
    pub(super) fn give(&mut self, buffer: Vec<T>) {
        let size = buffer.capacity();
        if size > 0 && self.kept + size <= MOST_KEPT {
            self.kept += size;
            self.unused.entry(size).or_default().push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_for_as_many_elements_or_down_to_half_as_many() {
        let mut buffers = Buffers::<f32>::default();
        let first = buffers.take(100);
        assert_eq!(first, [0.0; 100]);
        let place = first.as_ptr();
        buffers.give(first);
        // 49 are less than half, 101 more than there is room for.
        let others = [49, 101].map(|elements| buffers.take(elements));
        assert!(others.iter().all(|other| other.as_ptr() != place));
        let again = buffers.take(50);
        assert_eq!((again.as_ptr(), again.len(), buffers.kept), (place, 50, 0));
        let other = buffers.take(50);
        assert_ne!(other.as_ptr(), place);
        // More than is kept is given back to the system.
        buffers.give(Vec::with_capacity(MOST_KEPT));
        buffers.give(again);
        assert_eq!(buffers.kept, MOST_KEPT);
    }
}
