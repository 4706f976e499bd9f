//! The words of wavelets on their way.

/// A list of words that runs share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload(u32);

impl Payload {
    /// Words that nobody computed, in a run for the time alone.
    pub(super) const UNKNOWN: Self = Self(u32::MAX);
}

/// Words, and how many runs still need them.
#[derive(Debug, Default)]
struct Buffer {
    words: Vec<u32>,
    users: u32,
}

/// All words on their way. Lists that nobody needs any more are used again with their memory.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    buffers: Vec<Buffer>,
    /// Buffers without users.
    unused: Vec<u32>,
    /// Lists to be filled again.
    spare: Vec<Vec<u32>>,
    /// Words in all buffers.
    held: usize,
}

impl Payloads {
    /// An empty list.
    pub(super) fn empty(&mut self) -> Vec<u32> {
        let mut words = self.spare.pop().unwrap_or_default();
        words.clear();
        words
    }

    /// Takes a list back that has not been kept.
    pub(super) fn put_back(&mut self, words: Vec<u32>) {
        self.spare.push(words);
    }

    /// Keeps words for one run.
    pub(super) fn keep(&mut self, words: Vec<u32>) -> Payload {
        let index = self.unused.pop().unwrap_or_else(|| {
            self.buffers.push(Buffer::default());
            self.buffers.len() as u32 - 1
        });
        self.held += words.len();
        self.buffers[index as usize] = Buffer { words, users: 1 };
        Payload(index)
    }

    /// How many words are kept.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The words; none when they are unknown.
    pub(super) fn words(&self, payload: Payload) -> &[u32] {
        self.buffers.get(payload.0 as usize).map_or(&[], |buffer| &buffer.words)
    }

    /// Another run needs the words.
    pub(super) fn share(&mut self, payload: Payload) {
        self.share_among(payload, 1);
    }

    /// So many other runs need the words.
    pub(super) fn share_among(&mut self, payload: Payload, runs: u32) {
        if let Some(buffer) = self.buffers.get_mut(payload.0 as usize) {
            buffer.users += runs;
        }
    }

    /// A run does not need them any more.
    pub(super) fn release(&mut self, payload: Payload) {
        self.release_from(payload, 1);
    }

    /// So many runs do not need them any more.
    pub(super) fn release_from(&mut self, payload: Payload, runs: u32) {
        // What has been taken out has left a list without memory.
        if let Some(words) = self.take_from(payload, runs)
            && words.capacity() > 0
        {
            self.spare.push(words);
        }
    }

    /// Takes all words out of a payload, if there are so many and one run alone still needs it. It is to be released all the same.
    pub(super) fn take_out(&mut self, payload: Payload, count: usize) -> Option<Vec<u32>> {
        let buffer = self.buffers.get_mut(payload.0 as usize)?;
        if buffer.users != 1 || buffer.words.len() != count {
            return None;
        }
        self.held -= count;
        Some(std::mem::take(&mut buffer.words))
    }

    /// As [`Payloads::release_from`]; gives the words when nobody needs them any more.
    fn take_from(&mut self, payload: Payload, runs: u32) -> Option<Vec<u32>> {
        let buffer = self.buffers.get_mut(payload.0 as usize)?;
        buffer.users -= runs;
        (buffer.users == 0).then(|| {
            self.unused.push(payload.0);
            self.held -= buffer.words.len();
            std::mem::take(&mut buffer.words)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_until_nobody_needs_them() {
        let mut payloads = Payloads::default();
        let first = payloads.keep(vec![1, 2]);
        payloads.share(first);
        payloads.release(first);
        assert_eq!((payloads.words(first), payloads.held()), (&[1, 2][..], 2));
        assert_eq!(payloads.take_from(first, 1), Some(vec![1, 2]));
        // Its place is used again.
        let second = payloads.keep(vec![3]);
        assert_eq!((second, payloads.words(second)), (first, &[3][..]));
        payloads.release(second);
        assert!(payloads.empty().is_empty() && payloads.held() == 0);
        // All words of one user can be taken out, and nothing else.
        let third = payloads.keep(vec![4, 5]);
        payloads.share(third);
        assert_eq!(payloads.take_out(third, 2), None);
        payloads.release(third);
        assert_eq!((payloads.take_out(third, 1), payloads.take_out(third, 2)), (None, Some(vec![4, 5])));
        payloads.release(third);
        assert_eq!((payloads.held(), payloads.take_out(Payload::UNKNOWN, 0)), (0, None));
    }
}
