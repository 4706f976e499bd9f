//! Programs and their payloads in files.
//!
//! The compact form is 8 bytes of magic, the version (little-endian `u32`), the length of the body in bytes (little-endian
//! `u64`), the SHA-256 of the body, and the body: the postcard form of [`Program`]. A file that was cut short or damaged is
//! refused before it is decoded.

use crate::program::{Payload, Program};
use crate::text::{self, TextError};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// First bytes of the compact form. The first is no text, the last two tell of line ends that a transfer has mangled.
const MAGIC: [u8; 8] = *b"\x89WLOOM\r\n";
/// Version of the compact form that this crate writes and reads.
const VERSION: u32 = 6;
/// Magic, version, length of the body, SHA-256 of the body.
const HEADER_BYTES: usize = 8 + 4 + 8 + 32;
/// Extension of the text form.
const TEXT_EXTENSION: &str = "wlt";

/// Why bytes or a file are not a program.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Neither the compact nor the text form.
    #[error("this is not a waferloom program: it has neither the header of the compact form nor is it UTF-8 text")]
    Foreign,
    /// An older or a newer crate wrote it.
    #[error(
        "the file has version {found} of the format, this waferloom reads version {VERSION}: compile the program again"
    )]
    Version {
        /// The version in the header.
        found: u32,
    },
    /// The end is missing, or something follows it.
    #[error("the file should have {expected} bytes but has {found}: copy or write it again")]
    Length {
        /// What the header says, in bytes.
        expected: u64,
        /// What there is, in bytes.
        found: u64,
    },
    /// The body's hash is not the header's.
    #[error("the file is damaged (its checksum does not match): copy or write it again")]
    Damaged,
    /// The body is whole, but no program.
    #[error("the body is not a program: {0}; compile the program again")]
    Body(String),
    /// A text form with a fault.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Something about a file, with its name.
    #[error("{}: {source}", path.display())]
    At {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<FileError>,
    },
    /// The operating system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The compact form of a program.
///
/// # Panics
/// Never: every program has a postcard form.
pub fn to_bytes(program: &Program) -> Vec<u8> {
    // The body is most of it: it is written once, behind the room for its own length and hash.
    let header = vec![0; HEADER_BYTES];
    let mut bytes = postcard::to_io(program, header).expect("a program has a postcard form");
    let (header, body) = bytes.split_at_mut(HEADER_BYTES);
    let fields: [&[u8]; 4] =
        [&MAGIC, &VERSION.to_le_bytes(), &(body.len() as u64).to_le_bytes(), &Sha256::digest(&*body)];
    header.copy_from_slice(&fields.concat());
    bytes
}

/// Reads the compact form.
///
/// # Errors
/// Bytes that are not in the compact form, of another version, cut short, damaged, or no program.
pub fn from_bytes(bytes: &[u8]) -> Result<Program, FileError> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(FileError::Foreign)?;
    let short = FileError::Length { expected: HEADER_BYTES as u64, found: bytes.len() as u64 };
    let Some((version, rest)) = rest.split_first_chunk::<4>() else { return Err(short) };
    let found = u32::from_le_bytes(*version);
    if found != VERSION {
        return Err(FileError::Version { found });
    }
    let Some((length, rest)) = rest.split_first_chunk::<8>() else { return Err(short) };
    let Some((hash, body)) = rest.split_first_chunk::<32>() else { return Err(short) };
    let length = u64::from_le_bytes(*length);
    if length != body.len() as u64 {
        let expected = length.saturating_add(HEADER_BYTES as u64);
        return Err(FileError::Length { expected, found: bytes.len() as u64 });
    }
    if Sha256::digest(body).as_slice() != hash {
        return Err(FileError::Damaged);
    }
    let (program, rest) = postcard::take_from_bytes(body).map_err(|e| FileError::Body(e.to_string()))?;
    if !rest.is_empty() {
        return Err(FileError::Body(format!("{} bytes follow it", rest.len())));
    }
    Ok(program)
}

/// Reads a program from a file in either form; the first bytes tell which.
///
/// # Errors
/// A file that cannot be read or is not a program; the error names it.
pub fn read_program(path: &Path) -> Result<Program, FileError> {
    read_any(path).map_err(|source| FileError::At { path: path.to_owned(), source: Box::new(source) })
}

fn read_any(path: &Path) -> Result<Program, FileError> {
    let bytes = fs::read(path)?;
    if bytes.starts_with(&MAGIC) {
        return from_bytes(&bytes);
    }
    let text = String::from_utf8(bytes).map_err(|_| FileError::Foreign)?;
    Ok(text::parse(&text)?)
}

/// Writes a program: as text when the path ends in `.wlt`, else in the compact form. The file is there whole or not at all.
///
/// # Errors
/// A file that cannot be written; the error names it.
pub fn write_program(path: &Path, program: &Program) -> Result<(), FileError> {
    let as_text = path.extension().is_some_and(|e| e.eq_ignore_ascii_case(TEXT_EXTENSION));
    let bytes = if as_text { text::print(program).into_bytes() } else { to_bytes(program) };
    write_whole(path, &bytes).map_err(|e| FileError::At { path: path.to_owned(), source: Box::new(e.into()) })
}

/// Writes beside the target, then renames: readers never see half a file. The temporary file goes away on any error.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // A temporary file is private by default, which would make the program unreadable for a colleague.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(".waferloom-").tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Why the bytes of a constant could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The program holds another number of bytes than the tensor needs.
    #[error("the constant needs {expected} bytes but the program holds {found}: compile the program again")]
    Length {
        /// What the tensor needs, in bytes.
        expected: u64,
        /// What the program holds, in bytes.
        found: u64,
    },
    /// The file cannot be read, or ends too early.
    #[error("{}: {source}; put the weights' file where the program expects it", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is not the one that the program was compiled with.
    #[error("{}: bytes {offset} to {end} are not those that the program was compiled with: restore the file or compile again", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
        /// First byte after the last.
        end: u64,
    },
}

impl Payload {
    /// The bytes of a constant that needs `expected_bytes` of them; paths are relative to `base_dir`.
    ///
    /// # Errors
    /// A wrong length, a file that cannot be read, and a file whose hash is not the program's.
    pub fn load(&self, base_dir: &Path, expected_bytes: u64) -> Result<Cow<'_, [u8]>, PayloadError> {
        match self {
            Payload::Inline(bytes) if bytes.len() as u64 == expected_bytes => Ok(Cow::Borrowed(bytes)),
            Payload::Inline(bytes) => Err(PayloadError::Length { expected: expected_bytes, found: bytes.len() as u64 }),
            Payload::File { path, offset, sha256 } => {
                let path = base_dir.join(path);
                let bytes = read_range(&path, *offset, expected_bytes)
                    .map_err(|source| PayloadError::Io { path: path.clone(), source })?;
                if hex(&Sha256::digest(&bytes)) != sha256.to_ascii_lowercase() {
                    return Err(PayloadError::Hash {
                        path,
                        offset: *offset,
                        end: offset.saturating_add(expected_bytes),
                    });
                }
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

/// Exactly `length` bytes of a file. The file's own length is asked first, so that a wrong one allocates nothing.
fn read_range(path: &Path, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let available = file.metadata()?.len().saturating_sub(offset);
    if available < length {
        let message = format!("{length} bytes are needed from byte {offset} on, there are {available}");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file shrank while it was read"));
    }
    Ok(bytes)
}

/// Lower-case hexadecimal digits, as [`Payload::File`] holds a hash.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, b| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Program {
        text::parse("program p machine bench16 grid 2x2 param x = columns [0, 1]").expect("valid")
    }

    #[test]
    fn damage_of_every_kind_is_named() {
        let bytes = to_bytes(&sample());
        assert_eq!(from_bytes(&bytes).expect("own bytes"), sample());
        for cut in 0..bytes.len() {
            assert!(from_bytes(&bytes[..cut]).is_err(), "cut to {cut} bytes");
        }
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x40;
            assert!(from_bytes(&broken).is_err(), "byte {at} changed");
        }
        let mut newer = bytes.clone();
        newer[8] = 9;
        assert!(matches!(from_bytes(&newer), Err(FileError::Version { found: 9 })));
        assert!(matches!(from_bytes(b"\x7fELF"), Err(FileError::Foreign)));
        assert!(matches!(from_bytes(&bytes[..bytes.len() - 1]), Err(FileError::Length { .. })));
    }

    #[test]
    fn inline_bytes_lie_in_the_file_as_they_are() {
        // The variant's place, the number of bytes, the bytes.
        let bytes = postcard::to_stdvec(&Payload::Inline(vec![7, 200, 255])).expect("a postcard form");
        assert_eq!(bytes, [0, 3, 7, 200, 255]);
        assert_eq!(postcard::from_bytes::<Payload>(&bytes), Ok(Payload::Inline(vec![7, 200, 255])));
    }

    #[test]
    fn both_forms_are_written_and_read() {
        let directory = tempfile::tempdir().expect("temporary directory");
        for name in ["p.wlt", "p.wlp", "p"] {
            let path = directory.path().join(name);
            write_program(&path, &sample()).expect("written");
            write_program(&path, &sample()).expect("written over");
            assert_eq!(read_program(&path).expect("read"), sample());
        }
        assert!(fs::read(directory.path().join("p.wlt")).expect("text").starts_with(b"program \"p\""));
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 3, "no temporary file is left");
        let error = read_program(&directory.path().join("none")).expect_err("missing").to_string();
        assert!(error.contains("none"), "{error}");
    }

    #[test]
    fn a_payload_in_a_file_is_checked() {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::write(directory.path().join("w.bin"), b"xxabcdyy").expect("written");
        let file = |sha256| Payload::File { path: "w.bin".into(), offset: 2, sha256 };
        let good = file(hex(&Sha256::digest(b"abcd")));
        assert_eq!(&*good.load(directory.path(), 4).expect("whole"), b"abcd");
        assert!(matches!(good.load(directory.path(), 5), Err(PayloadError::Hash { .. })));
        assert!(matches!(good.load(directory.path(), u64::MAX), Err(PayloadError::Io { .. })));
        assert!(matches!(Payload::Inline(vec![0; 3]).load(directory.path(), 4), Err(PayloadError::Length { .. })));
    }
}
