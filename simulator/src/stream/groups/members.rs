//! PEs, as stretches of PEs whose indices follow each other.

/// Some PEs, ascending unless they have just been added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// First PE and how many.
    stretches: Vec<(u32, u32)>,
}

impl Members {
    /// Adds PEs.
    #[inline]
    pub(super) fn push(&mut self, first: u32, count: u32) {
        match self.stretches.last_mut() {
            Some((start, behind)) if *start + *behind == first => *behind += count,
            _ => self.stretches.push((first, count)),
        }
    }

    /// Adds those of others.
    pub(super) fn append(&mut self, others: &Self) {
        others.stretches.iter().for_each(|&(first, count)| self.push(first, count));
    }

    /// Puts them in order, when they were added so that few ascending lists stand one behind another.
    #[expect(clippy::stable_sort_primitive, reason = "only the stable sort finds such lists: it takes half the time")]
    pub(super) fn sort(&mut self) {
        if self.stretches.is_sorted() {
            return;
        }
        self.stretches.sort();
        self.stretches.dedup_by(|&mut (first, count), (start, behind)| {
            let joins = *start + *behind == first;
            *behind += if joins { count } else { 0 };
            joins
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.stretches.iter().map(|&(_, count)| count as usize).sum()
    }

    pub(super) fn first(&self) -> Option<u32> {
        self.stretches.first().map(|&(first, _)| first)
    }

    pub(super) fn clear(&mut self) {
        self.stretches.clear();
    }

    /// All PEs.
    pub(super) fn pes(&self) -> impl Iterator<Item = u32> + Clone {
        self.stretches.iter().flat_map(|&(first, count)| first..first + count)
    }

    /// All PEs in parts of so many, and what is left.
    pub(super) fn blocks(&self, size: usize) -> Vec<Self> {
        let (mut blocks, mut room) = (Vec::new(), 0);
        for &(first, count) in &self.stretches {
            let mut done = 0;
            while done < count {
                if room == 0 {
                    blocks.push(Self::default());
                    room = size.max(1) as u32;
                }
                let here = room.min(count - done);
                blocks.iter_mut().last().into_iter().for_each(|block| block.push(first + done, here));
                (done, room) = (done + here, room - here);
            }
        }
        blocks
    }

    /// The first PE of each stretch, and how many it has.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (u32, u32)> {
        self.stretches.iter().copied()
    }

    /// Stretches that stay within a row of so many PEs.
    pub(super) fn in_rows(&self, width: u32) -> impl Iterator<Item = (u32, u32)> {
        self.stretches.iter().flat_map(move |&(first, count)| {
            let rows = first / width..=(first + count - 1) / width;
            rows.map(move |row| {
                let start = first.max(row * width);
                (start, (first + count).min((row + 1) * width) - start)
            })
        })
    }
}

impl FromIterator<u32> for Members {
    fn from_iter<I: IntoIterator<Item = u32>>(pes: I) -> Self {
        let mut members = Self::default();
        pes.into_iter().for_each(|pe| members.push(pe, 1));
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_join_and_are_cut_at_the_ends_of_rows() {
        let mut members: Members = [8, 9, 2, 3, 4, 5].into_iter().collect();
        members.push(10, 1);
        members.sort();
        assert_eq!((members.count(), members.first()), (7, Some(2)));
        assert_eq!(members.pes().collect::<Vec<_>>(), [2, 3, 4, 5, 8, 9, 10]);
        // Rows of 4: PEs 0 to 3, 4 to 7, 8 to 11.
        assert_eq!(members.in_rows(4).collect::<Vec<_>>(), [(2, 2), (4, 2), (8, 3)]);
        let blocks: Vec<Vec<u32>> = members.blocks(3).iter().map(|block| block.pes().collect()).collect();
        assert_eq!(blocks, [vec![2, 3, 4], vec![5, 8, 9], vec![10]]);
    }
}
