//! Windows of FASTA files, and windows as the inputs of a model.

use std::path::{Path, PathBuf};

use waferloom_models::fasta::{FastaError, Window, Windows, windows};
use waferloom_models::tokenizer::KmerTokenizer;
use waferloom_models::{ImportOptions, Tensor, TokenModel, TokenModelError, import_onnx};

fn cut(text: &str, k: usize, tokens: usize, count: usize) -> Result<Windows, FastaError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.fa");
    std::fs::write(&path, text).unwrap();
    windows(&path, KmerTokenizer::new(k).unwrap(), tokens, count)
}

fn window(record: &str, start: u64, end: u64, ids: &[i64], mask: &[i64]) -> Window {
    Window { record: record.into(), start, end, ids: ids.to_vec(), mask: mask.to_vec() }
}

#[test]
fn windows_follow_each_other_and_the_last_is_padded() {
    // 5 tokens hold 3 words of 2 letters, of 4 bases. A T C G are 0 1 2 3, so that a word is 5 + 4 * first + second.
    // ACGT: AC 7, CG 16, GT 18; TTAA: TT 10, TA 9, AA 5; GC: GC 19.
    let expected = [
        window("chr1", 0, 4, &[2, 7, 16, 18, 3], &[1, 1, 1, 1, 1]),
        window("chr1", 4, 8, &[2, 10, 9, 5, 3], &[1, 1, 1, 1, 1]),
        window("chr1", 8, 10, &[2, 19, 3, 0, 0], &[1, 1, 1, 0, 0]),
    ];
    // Lower case, line ends of both kinds, lines that do not end with the windows: all the same.
    for text in [
        ">chr1 a description\nACGTTTAAGC\n",
        ">chr1\nacg\nttta\nagc",
        ">chr1\r\nACGTTT\r\nAAGC\r\n",
        ">chr1\nACGTTT\n\nAAGC\n\n",
    ] {
        let found = cut(text, 2, 5, 10).unwrap();
        assert_eq!(found, Windows { windows: expected.to_vec(), skipped: 0, too_short: 0 }, "{text:?}");
    }
    // Only as many as wanted; what is behind is not even read.
    let found = cut(">chr1\nACGTTTAAGC\n!", 2, 5, 2).unwrap();
    assert_eq!(found.windows, expected[..2]);
}

#[test]
fn records_are_cut_on_their_own() {
    // The second record's window begins at its own first base; the fourth record is shorter than a word.
    let found = cut(">a\nACGTA\n>empty\n>b\nTTAA\n>c\nG\n", 2, 5, 10).unwrap();
    let places: Vec<_> = found.windows.iter().map(|w| (w.record.as_str(), w.start, w.end)).collect();
    assert_eq!(places, [("a", 0, 4), ("b", 0, 4)]);
    // The A that remains of the first record, and the G of the last.
    assert_eq!((found.skipped, found.too_short), (0, 2));
}

#[test]
fn windows_without_known_words_are_skipped_and_counted() {
    // NNNN, nnNN: skipped. NACG: NA unknown, AC 7, CG 16. NANT: no word without an N. TRTT: TR, RT unknown, TT 10.
    let found = cut(">a\nNNNNnnNNNACGNANTTRTT", 2, 5, 10).unwrap();
    assert_eq!(
        found.windows,
        [window("a", 8, 12, &[2, 1, 7, 16, 3], &[1; 5]), window("a", 16, 20, &[2, 1, 1, 10, 3], &[1; 5]),]
    );
    assert_eq!(found.skipped, 3);
}

#[test]
fn other_letters_are_errors_that_say_where() {
    let error = cut(">a\nACGT\n>b\nACGT\nAC-T\n", 2, 5, 10).unwrap_err();
    assert!(matches!(&error, FastaError::Letter { record, position: 7, letter: '-', .. } if record == "b"), "{error}");
    let text = error.to_string();
    assert!(text.contains("some.fa") && text.contains("\"b\", base 7: '-'"), "{text}");
    assert!(matches!(cut(">a\nACGE", 2, 5, 10), Err(FastaError::Letter { position: 4, letter: 'E', .. })));
}

#[test]
fn files_of_other_kinds_are_errors() {
    for (text, problem) in [
        ("", "it is empty"),
        ("ACGT\n", "does not begin with `>`"),
        ("@read\nACGT\n+\nIIII\n", "does not begin with `>`"),
        ("\u{1f}\u{8b}", "does not begin"),
        (">\nACGT\n", "no name"),
        (">a\nAC\n> \nACGT\n", "no name"),
    ] {
        let error = cut(text, 2, 5, 10).unwrap_err();
        assert!(matches!(&error, FastaError::NotFasta { problem: found, .. } if found.contains(problem)), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.fa.gz");
    std::fs::write(&path, [0x1f, 0x8b, 8, 0, 0]).unwrap();
    let error = windows(&path, KmerTokenizer::new(2).unwrap(), 5, 1).unwrap_err();
    assert!(error.to_string().contains("gunzip"), "{error}");
    let error = windows(&folder.path().join("none.fa"), KmerTokenizer::new(2).unwrap(), 5, 1).unwrap_err();
    assert!(matches!(&error, FastaError::Read { path, .. } if path.ends_with("none.fa")), "{error}");
    assert!(matches!(cut(">a\nACGT", 2, 2, 1), Err(FastaError::Tokens(2))));
}

fn model_folder(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models")).join(name)
}

fn import(name: &str, shape: &[usize]) -> waferloom_models::Model {
    let inputs = ["input_ids", "attention_mask"].map(|name| (name.to_string(), shape.to_vec()));
    let options = ImportOptions { input_shapes: inputs.into(), ..ImportOptions::default() };
    import_onnx(&model_folder(name).join("model.onnx"), &options).unwrap()
}

#[test]
fn the_start_of_chromosome_10_runs_through_a_model() {
    let model = import("dnabert", &[2, 32]);
    let tokens = TokenModel::of(&model.graph).unwrap();
    assert_eq!((tokens.batch, tokens.tokens, tokens.vocabulary), (2, 32, Some(72)));
    let tokenizer = KmerTokenizer::for_vocabulary(72).unwrap();
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/chr10_grch37_start.fa"));
    let found = windows(path, tokenizer, tokens.tokens, 3).unwrap();
    // The telomere gap of 60,000 N is 1,875 windows of 32 bases.
    assert_eq!((found.skipped, found.windows[0].start), (1875, 60_000));
    // The first bases are GAATTCCTTG: GAA 53, AAT 6, ATT 10, TTC 27, TCC 31 = 5 + 16 + 2 * 4 + 2, CCT 46, CTT 42, TTG 28.
    assert_eq!(found.windows[0].ids[..9], [2, 53, 6, 10, 27, 31, 46, 42, 28]);
    let inputs = tokens.batch(&found.windows[..2]).unwrap();
    assert_eq!(inputs["attention_mask"], Tensor::from_i64(&[2, 32], vec![1; 64]).unwrap());
    let (logits, expected) =
        (&waferloom_models::evaluate(&model.graph, &inputs).unwrap(), model.reference.run(&inputs).unwrap());
    for (a, b) in logits["logits"].to_f32().iter().zip(expected["logits"].to_f32()) {
        assert!((a - b).abs() <= 1e-5 + 1e-4 * b.abs(), "{a} is not {b}");
    }
    // A batch that is not full repeats its last window.
    let one = tokens.batch(&found.windows[2..]).unwrap()["input_ids"].to_i64();
    assert_eq!(one[..32], one[32..]);
    assert_eq!(one[..32], found.windows[2].ids);
    assert_eq!(tokens.batch(&[]), Err(TokenModelError::Batch { found: 0, batch: 2 }));
    assert_eq!(tokens.batch(&found.windows), Err(TokenModelError::Batch { found: 3, batch: 2 }));
    let short = windows(path, tokenizer, 16, 1).unwrap();
    assert!(matches!(tokens.batch(&short.windows), Err(TokenModelError::Length { found: 16, tokens: 32, .. })));
}

#[test]
fn a_model_over_something_else_lists_its_inputs() {
    let options = ImportOptions { dims: [("batch".to_string(), 1)].into(), ..ImportOptions::default() };
    let inputs = waferloom_models::read_npz(&model_folder("vit").join("inputs.npz")).unwrap();
    let shapes = inputs.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect();
    let model =
        import_onnx(&model_folder("vit").join("model.onnx"), &ImportOptions { input_shapes: shapes, ..options })
            .unwrap();
    let error = TokenModel::of(&model.graph).unwrap_err().to_string();
    assert!(error.contains("there is no input_ids") && error.contains(inputs.keys().next().unwrap()), "{error}");
}
