//! Tensors of models and tensors of programs: the same thing in two crates that do not know each other.

use std::collections::BTreeMap;
use waferloom_fabric::{HostData, HostTensor};
use waferloom_models::{Tensor, TensorData};

/// For the simulator.
pub(crate) fn to_host(tensor: Tensor) -> HostTensor {
    let data = match tensor.data {
        TensorData::F32(values) => HostData::F32(values),
        TensorData::I64(values) => HostData::I64(values),
    };
    HostTensor { shape: tensor.shape, data }
}

/// For files.
pub(crate) fn from_host(tensor: HostTensor) -> Tensor {
    let data = match tensor.data {
        HostData::F32(values) => TensorData::F32(values),
        HostData::I64(values) => TensorData::I64(values),
    };
    Tensor { shape: tensor.shape, data }
}

/// The outputs of several runs side by side on axis 0, cut to `keep` rows where `batch` of them came from each run.
pub(crate) fn concatenate(
    runs: Vec<BTreeMap<String, HostTensor>>,
    batch: usize,
    keep: usize,
) -> BTreeMap<String, Tensor> {
    let count = runs.len();
    let mut joined: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, tensor) in runs.into_iter().flatten() {
        let tensor = from_host(tensor);
        match joined.get_mut(&name) {
            None => drop(joined.insert(name, tensor)),
            Some(whole) => append(whole, tensor),
        }
    }
    if count > 1 {
        for tensor in joined.values_mut() {
            cut(tensor, count, batch, keep);
        }
    }
    joined
}

fn append(whole: &mut Tensor, part: Tensor) {
    match (&mut whole.data, part.data) {
        (TensorData::F32(whole), TensorData::F32(part)) => whole.extend(part),
        (TensorData::I64(whole), TensorData::I64(part)) => whole.extend(part),
        // Outputs of one program: the type of a name never changes.
        _ => {}
    }
}

/// Sets axis 0 of `count` tensors that were appended, and drops the rows of items that only filled the last batch.
fn cut(tensor: &mut Tensor, count: usize, batch: usize, keep: usize) {
    match tensor.shape.first().copied() {
        None => tensor.shape = vec![count],
        Some(rows) => {
            tensor.shape[0] = rows * count;
            if rows == batch && keep < rows * count {
                let row = tensor.shape[1..].iter().product::<usize>();
                tensor.shape[0] = keep;
                match &mut tensor.data {
                    TensorData::F32(values) => values.truncate(keep * row),
                    TensorData::I64(values) => values.truncate(keep * row),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_joined_and_filling_items_dropped() {
        let run = |from: i64| {
            BTreeMap::from([
                ("rows".to_string(), HostTensor::i64(&[2, 3], (from..from + 6).collect())),
                ("one".to_string(), HostTensor::f32(&[], vec![from as f32])),
            ])
        };
        let joined = concatenate(vec![run(0), run(6)], 2, 3);
        assert_eq!(joined["rows"], Tensor { shape: vec![3, 3], data: TensorData::I64((0..9).collect()) });
        assert_eq!(joined["one"], Tensor { shape: vec![2], data: TensorData::F32(vec![0.0, 6.0]) });
        let single = concatenate(vec![run(0)], 2, 2);
        assert_eq!(single["one"].shape, Vec::<usize>::new());
    }
}
