//! The words of a bank, of which each line begins where a cache line of the host does: else each access would be to two of them.

use super::SIDE;
use std::ops::{Deref, DerefMut};

/// Zeros until somebody writes them.
pub(super) struct Bank {
    all: Vec<u32>,
    /// The first word of a cache line.
    first: usize,
}

impl Bank {
    pub(super) fn zeros(words: usize) -> Self {
        let all = vec![0; words + SIDE - 1];
        Self { first: first_in_line(&all), all }
    }
}

/// The first element of a list that begins a cache line of the host: one of the first 64 bytes.
pub(crate) fn first_in_line<T>(list: &[T]) -> usize {
    const LINE: usize = 64;
    list.as_ptr().align_offset(LINE).min((LINE / size_of::<T>().max(1)).saturating_sub(1))
}

impl Deref for Bank {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.all[self.first..self.all.len() - (SIDE - 1 - self.first)]
    }
}

impl DerefMut for Bank {
    fn deref_mut(&mut self) -> &mut [u32] {
        let end = self.all.len() - (SIDE - 1 - self.first);
        &mut self.all[self.first..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_bank_are_cache_lines() {
        for words in [0, 1, 48, 1 << 16] {
            let mut bank = Bank::zeros(words);
            assert_eq!((bank.len(), bank.as_ptr().align_offset(64)), (words, 0));
            bank.fill(1);
            assert_eq!(bank.iter().sum::<u32>(), words as u32);
        }
    }
}
