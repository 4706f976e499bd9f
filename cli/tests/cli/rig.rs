//! Runs the built binary and looks at what it says.

#![allow(dead_code, reason = "two test binaries share this file, and neither uses all of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use waferloom_models::{Tensor, write_npz};

/// What the binary did.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A folder of a test's own.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// Writes an npz file.
    pub(crate) fn npz(&self, name: &str, entries: &[(&str, Tensor)]) -> PathBuf {
        let path = self.path(name);
        let entries: BTreeMap<String, Tensor> = entries.iter().map(|(n, t)| ((*n).into(), t.clone())).collect();
        write_npz(&path, &entries).expect("written");
        path
    }

    /// Runs the binary in the folder, with the arguments that spaces separate.
    pub(crate) fn run(&self, arguments: &str) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_waferloom"))
            .args(arguments.split_whitespace())
            .current_dir(self.folder.path())
            .output()
            .expect("the binary starts");
        said(&output)
    }

    /// Names of the files in the folder.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("listed");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Runs the binary and expects exit code 2, one error that holds all `words`, nothing on stdout and no new file.
    pub(crate) fn refuses(&self, arguments: &str, words: &[&str]) {
        let before = self.files();
        let said = self.run(arguments);
        let context = format!("waferloom {arguments}\n{}\n{}", said.stdout, said.stderr);
        assert_eq!(said.code, 2, "{context}");
        assert_eq!(said.stdout, "", "{context}");
        for word in words {
            assert!(said.stderr.contains(word), "`{word}` is missing\n{context}");
        }
        assert!(!said.stderr.contains("panicked"), "{context}");
        assert!(!said.stderr.contains('\u{1b}'), "colours in a pipe\n{context}");
        // Clap starts with `error:`, everything else with miette's cross.
        let errors =
            said.stderr.lines().filter(|l| l.starts_with("error:") || l.trim_start().starts_with("x ")).count();
        assert_eq!(errors, 1, "{context}");
        assert_eq!(self.files(), before, "{context}");
    }
}

fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().expect("not killed"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A file of a reference model.
pub(crate) fn fixture(model: &str, file: &str) -> String {
    let models = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/models"));
    models.join(model).join(file).canonicalize().expect("a fixture").display().to_string()
}

pub(crate) fn floats(shape: &[usize], values: Vec<f32>) -> Tensor {
    Tensor::from_f32(shape, values).expect("as many elements as the shape says")
}
