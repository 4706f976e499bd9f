//! [`KmerTokenizer`]: DNA as overlapping words of k letters, as DNABERT reads it.

/// Fills up short windows.
pub const PAD: i64 = 0;
/// A word with a letter that is not one of the four bases.
pub const UNK: i64 = 1;
/// Stands before every window.
pub const CLS: i64 = 2;
/// Stands behind every window.
pub const SEP: i64 = 3;
/// Hides a word in training; no word of a file becomes it.
pub const MASK: i64 = 4;

/// Special tokens before the words: `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`.
const SPECIAL: usize = 5;
/// The longest words; their vocabulary has 16 million entries.
const LONGEST: usize = 12;

/// Cuts DNA into overlapping words of k letters, one letter apart.
///
/// The vocabulary is DNABERT's: the five special tokens, then all words of k letters in the order of A, T, C, G, the last
/// letter changing fastest: `AAA`, `AAT`, `AAC`, `AAG`, `ATA`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KmerTokenizer {
    k: usize,
}

/// Why there is no tokeniser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// The words are too short or too long.
    #[error("words of {0} letters are not supported; choose 1 to {LONGEST}, and what the model was trained with")]
    Length(usize),
    /// The vocabulary is too small even for words of one letter.
    #[error(
        "a vocabulary of {0} entries holds no words of DNA: k letters need 4^k + {SPECIAL} entries; give a model over DNA words"
    )]
    Vocabulary(usize),
}

impl KmerTokenizer {
    /// Words of `k` letters.
    ///
    /// # Errors
    /// When `k` is 0 or above 12.
    pub fn new(k: usize) -> Result<Self, TokenizerError> {
        if (1..=LONGEST).contains(&k) { Ok(Self { k }) } else { Err(TokenizerError::Length(k)) }
    }

    /// The longest words whose vocabulary fits one of `size` entries. (Models round the size up, so it need not be exact.)
    ///
    /// # Errors
    /// When not even single letters fit.
    pub fn for_vocabulary(size: usize) -> Result<Self, TokenizerError> {
        let fits = |k: &usize| 4_usize.pow(*k as u32) + SPECIAL <= size;
        (1..=LONGEST).rev().find(fits).map(|k| Self { k }).ok_or(TokenizerError::Vocabulary(size))
    }

    /// Letters in a word.
    pub fn k(self) -> usize {
        self.k
    }

    /// Entries of the vocabulary.
    pub fn vocabulary(self) -> usize {
        4_usize.pow(self.k as u32) + SPECIAL
    }

    /// The words of a sequence, without special tokens: one for each place where `k` letters follow. Upper and lower case
    /// are the same, and U is T; a word with any other letter is [`UNK`].
    pub fn words(self, bases: &[u8]) -> Vec<i64> {
        let words = 4_i64.pow(self.k as u32);
        let (mut code, mut known) = (0_i64, 0);
        let mut ids = Vec::with_capacity(bases.len().saturating_sub(self.k - 1));
        for (i, &base) in bases.iter().enumerate() {
            match digit(base) {
                Some(digit) => {
                    code = (code * 4 + digit) % words;
                    known += 1;
                }
                None => known = 0,
            }
            if i + 1 >= self.k {
                ids.push(if known >= self.k { SPECIAL as i64 + code } else { UNK });
            }
        }
        ids
    }
}

/// A base's place in the vocabulary's order.
fn digit(base: u8) -> Option<i64> {
    match base.to_ascii_uppercase() {
        b'A' => Some(0),
        b'T' | b'U' => Some(1),
        b'C' => Some(2),
        b'G' => Some(3),
        _ => None,
    }
}

/// Whether a letter is one of IUPAC's codes for nucleotides or sets of them.
pub(crate) fn is_nucleotide(letter: u8) -> bool {
    b"ACGTURYSWKMBDHVN".contains(&letter.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_places_of_the_published_vocabulary() {
        let words = |text: &str| KmerTokenizer::new(3).unwrap().words(text.as_bytes());
        // Lines of DNABERT's vocabulary of 3 letters, from 0: AAA 5, AAT 6, AAC 7, AAG 8, ATA 9, TAA 21, CAA 37, GGG 68.
        assert_eq!(words("AAA"), [5]);
        assert_eq!(words("AAT"), [6]);
        assert_eq!(words("AAC"), [7]);
        assert_eq!(words("AAG"), [8]);
        assert_eq!(words("ATA"), [9]);
        assert_eq!(words("TAA"), [21]);
        assert_eq!(words("CAA"), [37]);
        assert_eq!(words("GGG"), [68]);
        // GAA = 5 + 3*16, AAT 6, ATT = 5 + 4 + 1, TTC = 5 + 16 + 4 + 2.
        assert_eq!(words("GAATTC"), [53, 6, 10, 27]);
        assert_eq!(words("gaauuc"), [53, 6, 10, 27]);
        assert_eq!(words("AA"), Vec::<i64>::new());
    }

    #[test]
    fn a_word_with_another_letter_is_unknown() {
        // AAN, ANA, NAA, then AAA, and AAR.
        assert_eq!(KmerTokenizer::new(3).unwrap().words(b"AANAAAR"), [UNK, UNK, UNK, 5, UNK]);
    }

    #[test]
    fn the_vocabulary_gives_the_length_of_words() {
        let k = |size| KmerTokenizer::for_vocabulary(size).map(KmerTokenizer::k);
        assert_eq!(k(8), Err(TokenizerError::Vocabulary(8)));
        assert_eq!(k(9), Ok(1));
        // The published ones, of 3 to 6 letters, and one rounded up.
        assert_eq!([k(69), k(261), k(1029), k(4101)], [Ok(3), Ok(4), Ok(5), Ok(6)]);
        assert_eq!((k(72), k(68)), (Ok(3), Ok(2)));
        assert_eq!(k(usize::MAX), Ok(LONGEST));
        for k in 1..=LONGEST {
            let tokenizer = KmerTokenizer::new(k).unwrap();
            assert_eq!(KmerTokenizer::for_vocabulary(tokenizer.vocabulary()), Ok(tokenizer));
        }
        assert_eq!(KmerTokenizer::new(0), Err(TokenizerError::Length(0)));
        assert_eq!(KmerTokenizer::new(13), Err(TokenizerError::Length(13)));
    }
}
