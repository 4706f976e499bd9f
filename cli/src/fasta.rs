//! Windows of DNA as the inputs of a model's runs.

use crate::errors::Error;
use crate::inputs::Work;
use crate::summary::{grouped, short};
use crate::tensors::to_host;
use std::path::Path;
use waferloom_driver::load::check_file;
use waferloom_models::fasta::{Window, Windows, windows};
use waferloom_models::{Graph, KmerTokenizer, TokenModel};
use waferloom_simulator::report::{SequenceReport, WindowReport};

/// Stretches of DNA that the summary names.
const MOST_STRETCHES: usize = 2;
/// Longest name of a record in the summary.
const MOST_NAME: usize = 12;

/// The first `count` windows with known words, in batches of the model's size; one batch when no number is given.
pub(crate) fn work(path: &Path, graph: &Graph, count: Option<usize>) -> Result<Work, Error> {
    check_file(path)?;
    let model = TokenModel::of(graph).map_err(|e| Error::input(e.to_string()))?;
    let Some(vocabulary) = model.vocabulary else {
        return Err(Error::new(
            "the model looks its tokens up in no table, so the length of its words is not known",
            "give tokens with --inputs F.npz instead of --fasta",
        ));
    };
    let tokenizer = KmerTokenizer::for_vocabulary(vocabulary).map_err(|e| Error::input(e.to_string()))?;
    let wanted = count.unwrap_or(model.batch);
    let found = windows(path, tokenizer, model.tokens, wanted).map_err(|e| Error::input(e.to_string()))?;
    if found.windows.is_empty() {
        return Err(Error::new(
            format!(
                "{}: no window of {} tokens holds a known word ({} hold nothing but N, {} ends of records are too short)",
                path.display(),
                model.tokens,
                grouped(found.skipped as u64),
                grouped(found.too_short as u64)
            ),
            format!("give a file with at least {} known bases in a row", tokenizer.k()),
        ));
    }
    let mut batches = Vec::new();
    for windows in found.windows.chunks(model.batch.max(1)) {
        let tensors = model.batch(windows).map_err(|e| Error::input(e.to_string()))?;
        batches.push(tensors.into_iter().map(|(name, tensor)| (name, to_host(tensor))).collect());
    }
    Ok(Work {
        batches,
        batch: model.batch,
        items: found.windows.len(),
        unit: "windows".into(),
        notes: notes(&found, wanted, model.tokens, tokenizer.k()),
        sequence: Some(report(&found)),
    })
}

/// What the report says of the windows.
fn report(found: &Windows) -> SequenceReport {
    let window = |w: &Window| WindowReport { record: w.record.clone(), start: w.start, end: w.end };
    SequenceReport {
        windows: found.windows.iter().map(window).collect(),
        skipped: found.skipped as u64,
        too_short: found.too_short as u64,
    }
}

/// What the summary says of the windows.
fn notes(found: &Windows, wanted: usize, tokens: usize, k: usize) -> Vec<String> {
    let count = found.windows.len();
    let fewer =
        if count < wanted { format!(" (the file holds no more; {wanted} were asked for)") } else { String::new() };
    let mut places = stretches(&found.windows);
    let more = places.len().saturating_sub(MOST_STRETCHES);
    places.truncate(MOST_STRETCHES);
    if more > 0 {
        places.push(format!("and {more} more stretches"));
    }
    let mut notes = vec![format!("{count} windows of {tokens} tokens ({k}-mers){fewer}"), places.join(", ")];
    if found.skipped + found.too_short > 0 {
        notes.push(format!(
            "skipped: {} windows of N, {} ends of records shorter than a word",
            grouped(found.skipped as u64),
            grouped(found.too_short as u64)
        ));
    }
    notes
}

/// Windows that follow each other as one stretch, in the way of genome browsers: `chr10:60001-60256`, both ends included.
fn stretches(windows: &[Window]) -> Vec<String> {
    let mut joined: Vec<(&str, u64, u64)> = Vec::new();
    for window in windows {
        match joined.last_mut() {
            Some((record, _, end)) if *record == window.record && *end == window.start => *end = window.end,
            _ => joined.push((&window.record, window.start, window.end)),
        }
    }
    joined.into_iter().map(|(record, start, end)| format!("{}:{}-{end}", short(record, MOST_NAME), start + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_stretch() {
        let window = |record: &str, start, end| Window { record: record.into(), start, end, ids: vec![], mask: vec![] };
        let windows = [window("a", 0, 8), window("a", 8, 16), window("a", 24, 30), window("b", 30, 38)];
        assert_eq!(stretches(&windows), ["a:1-16", "a:25-30", "b:31-38"]);
    }
}
