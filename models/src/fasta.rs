//! Windows of DNA from FASTA files.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use noodles_fasta::io::Reader;
use noodles_fasta::record::Definition;

use crate::tokenizer::{CLS, KmerTokenizer, PAD, SEP, UNK, is_nucleotide};

/// Tokens of a stretch of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Name of the record.
    pub record: String,
    /// First base, from 0.
    pub start: u64,
    /// Base behind the last.
    pub end: u64,
    /// `[CLS]`, the words, `[SEP]`, and `[PAD]` up to the window's length.
    pub ids: Vec<i64>,
    /// 1 for every token but `[PAD]`, which has 0.
    pub mask: Vec<i64>,
}

/// The windows of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// In the file's order.
    pub windows: Vec<Window>,
    /// Windows left out because none of their words is known: in them, every word holds an N or another ambiguous letter.
    pub skipped: usize,
    /// Ends of records left out because they are shorter than a word.
    pub too_short: usize,
}

/// Why a file gives no windows.
#[derive(Debug, thiserror::Error)]
pub enum FastaError {
    /// The file cannot be read.
    #[error("{path}: the file cannot be read ({source}); check the path and the permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{path}: this is not a FASTA file: {problem}")]
    NotFasta {
        /// The file.
        path: PathBuf,
        /// What was found, and what to do.
        problem: String,
    },
    /// A letter that stands for no base.
    #[error(
        "{path}: record \"{record}\", base {position}: {letter:?} is not a nucleotide; only the IUPAC letters ACGTU and RYSWKMBDHVN are allowed: correct the file, and remove gaps"
    )]
    Letter {
        /// The file.
        path: PathBuf,
        /// The record.
        record: String,
        /// Position in the record, from 1.
        position: u64,
        /// The letter.
        letter: char,
    },
    /// A window has no place for a word.
    #[error("windows of {0} tokens hold no words between [CLS] and [SEP]; give at least 3 tokens")]
    Tokens(usize),
}

/// The first `count` windows of a file that hold known words.
///
/// A window of L tokens is `[CLS]`, L - 2 words and `[SEP]`: with words of k letters it covers L - 3 + k bases. Windows of a
/// record follow each other without overlap, from its first base on; the last one may be short. Nothing behind the last
/// window is read.
///
/// # Errors
/// When the file cannot be read, is no FASTA file, or holds a letter that is not one of IUPAC's.
pub fn windows(
    path: &Path,
    tokenizer: KmerTokenizer,
    tokens_per_window: usize,
    count: usize,
) -> Result<Windows, FastaError> {
    if tokens_per_window < 3 {
        return Err(FastaError::Tokens(tokens_per_window));
    }
    let failed = |source| FastaError::Read { path: path.to_path_buf(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    // Before the reader looks for the end of a first line that a file of another kind may not have.
    let problem = match reader.fill_buf().map_err(failed)? {
        [b'>', ..] => None,
        [] => Some("it is empty; give a file whose records begin with `>` and a name"),
        [0x1f, 0x8b, ..] => Some("it is compressed; unpack it with gunzip or bgzip -d"),
        _ => Some("it does not begin with `>`; give a file whose records begin with `>` and a name"),
    };
    if let Some(problem) = problem {
        return Err(FastaError::NotFasta { path: path.to_path_buf(), problem: problem.into() });
    }
    let mut cutter = Cutter { path, tokenizer, tokens: tokens_per_window, count, found: Windows::default() };
    let mut reader = Reader::new(reader);
    while cutter.found.windows.len() < count {
        let Some(record) = cutter.record_name(&mut reader)? else { break };
        cutter.record(&record, &mut reader.sequence_reader())?;
    }
    Ok(cutter.found)
}

struct Cutter<'a> {
    path: &'a Path,
    tokenizer: KmerTokenizer,
    tokens: usize,
    count: usize,
    found: Windows,
}

impl Cutter<'_> {
    /// Name of the next record.
    fn record_name<R: BufRead>(&self, reader: &mut Reader<R>) -> Result<Option<String>, FastaError> {
        let mut definition = Definition::default();
        match reader.read_definition(&mut definition) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(definition.name().to_string())),
            Err(e) if e.kind() == ErrorKind::InvalidData => Err(FastaError::NotFasta {
                path: self.path.to_path_buf(),
                problem: "the line of a record has no name behind its `>`; give every record a name".into(),
            }),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn failed(&self, source: std::io::Error) -> FastaError {
        FastaError::Read { path: self.path.to_path_buf(), source }
    }

    /// Cuts a record into windows.
    fn record(&mut self, record: &str, sequence: &mut impl BufRead) -> Result<(), FastaError> {
        let bases = self.tokens - 3 + self.tokenizer.k();
        let (mut start, mut held) = (0_u64, Vec::new());
        while self.found.windows.len() < self.count {
            let part = sequence.fill_buf().map_err(|source| self.failed(source))?;
            let part = &part[..part.len().min(bases - held.len())];
            let taken = part.len();
            if let Some(at) = part.iter().position(|&letter| !is_nucleotide(letter)) {
                return Err(FastaError::Letter {
                    path: self.path.to_path_buf(),
                    record: record.into(),
                    position: start + (held.len() + at) as u64 + 1,
                    letter: part[at].into(),
                });
            }
            held.extend_from_slice(part);
            sequence.consume(taken);
            if held.len() == bases || (taken == 0 && !held.is_empty()) {
                self.window(record, start, &held);
                start += held.len() as u64;
                held.clear();
            }
            if taken == 0 {
                break;
            }
        }
        Ok(())
    }

    fn window(&mut self, record: &str, start: u64, bases: &[u8]) {
        let words = self.tokenizer.words(bases);
        if words.is_empty() {
            self.found.too_short += 1;
            return;
        }
        if words.iter().all(|&word| word == UNK) {
            self.found.skipped += 1;
            return;
        }
        let mut ids = [&[CLS], words.as_slice(), &[SEP]].concat();
        let mut mask = vec![1; ids.len()];
        ids.resize(self.tokens, PAD);
        mask.resize(self.tokens, 0);
        let end = start + bases.len() as u64;
        self.found.windows.push(Window { record: record.into(), start, end, ids, mask });
    }
}
