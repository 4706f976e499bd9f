//! Tensors in `NumPy`'s `.npz` archives.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use half::f16;
use ndarray::{ArrayD, ArrayViewD, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, NpzWriter, ReadDataError, ReadNpyError, ReadNpzError, ReadableElement};

use crate::tensor::{Tensor, TensorData};

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NpzError {
    /// The file cannot be opened.
    #[error("{path}: the file cannot be read ({source}); check the path and the permissions")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is something else, or damaged.
    #[error("{path}: this is not an npz archive, or it is cut short ({problem}); write it with numpy.savez")]
    NotNpz {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// An entry has elements of another type.
    #[error(
        "{path}: the entry \"{entry}\" has elements of an unsupported type ({problem}); save it as float32, float64, float16, int8 to int64, uint8 to uint32, or bool"
    )]
    Type {
        /// The file.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// The type.
        problem: String,
    },
    /// An entry is damaged.
    #[error("{path}: the entry \"{entry}\" is damaged ({problem}); write the file again")]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// What was found.
        problem: String,
    },
    /// The file cannot be written.
    #[error("{path}: the file cannot be written ({problem}); check the folder, its permissions and the free space")]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        problem: String,
    },
}

type Reader = NpzReader<BufReader<File>>;

/// Reads all entries of an archive.
///
/// # Errors
/// When the file is missing, no archive, damaged, or holds elements of an unsupported type.
pub fn read_npz(path: &Path) -> Result<BTreeMap<String, Tensor>, NpzError> {
    let file = File::open(path).map_err(|source| NpzError::Open { path: path.to_path_buf(), source })?;
    let not_npz = |e: ReadNpzError| NpzError::NotNpz { path: path.to_path_buf(), problem: e.to_string() };
    let mut archive = NpzReader::new(BufReader::new(file)).map_err(not_npz)?;
    let names = archive.names().map_err(not_npz)?;
    let mut tensors = BTreeMap::new();
    for entry in names {
        let tensor = read_entry(&mut archive, &entry).map_err(|e| match e {
            ReadNpzError::Npy(ReadNpyError::WrongDescriptor(descriptor)) => {
                NpzError::Type { path: path.to_path_buf(), entry: entry.clone(), problem: descriptor.to_string() }
            }
            e => NpzError::Entry { path: path.to_path_buf(), entry: entry.clone(), problem: e.to_string() },
        })?;
        tensors.insert(entry, tensor);
    }
    Ok(tensors)
}

/// Tries the types one after another: an entry says its type only when it is read.
fn read_entry(archive: &mut Reader, entry: &str) -> Result<Tensor, ReadNpzError> {
    type Attempt = fn(&mut Reader, &str) -> Result<Tensor, ReadNpzError>;
    const ATTEMPTS: [Attempt; 10] = [
        |a, e| Ok(read::<f32>(a, e)?.into()),
        |a, e| Ok(read::<i64>(a, e)?.into()),
        |a, e| Ok(read::<bool>(a, e)?.mapv(i64::from).into()),
        |a, e| Ok(read::<f64>(a, e)?.mapv(|x| x as f32).into()),
        |a, e| Ok(read::<i32>(a, e)?.mapv(i64::from).into()),
        |a, e| Ok(read::<i16>(a, e)?.mapv(i64::from).into()),
        |a, e| Ok(read::<i8>(a, e)?.mapv(i64::from).into()),
        |a, e| Ok(read::<u8>(a, e)?.mapv(i64::from).into()),
        |a, e| Ok(read::<u16>(a, e)?.mapv(i64::from).into()),
        |a, e| Ok(read::<u32>(a, e)?.mapv(i64::from).into()),
    ];
    for attempt in ATTEMPTS {
        match attempt(archive, entry) {
            Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(_))) => {}
            result => return result,
        }
    }
    Ok(read::<Half>(archive, entry)?.mapv(|x| x.0.to_f32()).into())
}

fn read<T: ReadableElement>(archive: &mut Reader, entry: &str) -> Result<ArrayD<T>, ReadNpzError> {
    archive.by_name::<OwnedRepr<T>, IxDyn>(entry)
}

/// An element of `NumPy`'s float16.
#[derive(Clone, Copy)]
struct Half(f16);

impl ReadableElement for Half {
    fn read_to_end_exact_vec<R: std::io::Read>(
        mut reader: R,
        descriptor: &py_literal::Value,
        len: usize,
    ) -> Result<Vec<Self>, ReadDataError> {
        let decode: fn([u8; 2]) -> f16 = match descriptor.as_string().map(String::as_str) {
            Some("<f2") => f16::from_le_bytes,
            Some(">f2") => f16::from_be_bytes,
            _ => return Err(ReadDataError::WrongDescriptor(descriptor.clone())),
        };
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        if bytes.len() > len * 2 {
            return Err(ReadDataError::ExtraBytes(bytes.len() - len * 2));
        }
        if bytes.len() < len * 2 {
            return Err(ReadDataError::MissingData);
        }
        Ok(bytes.chunks_exact(2).map(|pair| Self(decode([pair[0], pair[1]]))).collect())
    }
}

/// Writes an archive; the file appears whole or not at all.
///
/// # Errors
/// When the file cannot be written, or a tensor's elements do not fill its shape.
pub fn write_npz(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), NpzError> {
    let fail = |problem: String| NpzError::Write { path: path.to_path_buf(), problem };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| fail(e.to_string()))?;
    let mut archive = NpzWriter::new_compressed(BufWriter::new(file.as_file_mut()));
    for (name, tensor) in tensors {
        let shape = IxDyn(&tensor.shape);
        let written = match &tensor.data {
            TensorData::F32(v) => {
                let array = ArrayViewD::from_shape(shape, v).map_err(|e| fail(format!("\"{name}\": {e}")))?;
                archive.add_array(name.as_str(), &array)
            }
            TensorData::I64(v) => {
                let array = ArrayViewD::from_shape(shape, v).map_err(|e| fail(format!("\"{name}\": {e}")))?;
                archive.add_array(name.as_str(), &array)
            }
        };
        written.map_err(|e| fail(e.to_string()))?;
    }
    archive.finish().map_err(|e| fail(e.to_string()))?.into_inner().map_err(|e| fail(e.to_string()))?;
    file.persist(path).map_err(|e| fail(e.error.to_string()))?;
    Ok(())
}
