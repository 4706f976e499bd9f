//! The `waferloom` binary as a process.

use super::process::{self, Finished, Limits};
use super::row::Row;
use super::{BenchError, root};
use serde_json::Value;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The binary in the release profile.
#[derive(Debug)]
pub(crate) struct Waferloom {
    program: String,
    limits: Limits,
}

/// A command and its options.
#[derive(Clone, Debug)]
pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    /// From text in which spaces separate.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.split_whitespace().map(Into::into).collect())
    }

    /// With further text in which spaces separate.
    pub(crate) fn with(mut self, text: &str) -> Self {
        self.0.extend(text.split_whitespace().map(Into::into));
        self
    }

    /// With a file, which may have spaces in its name.
    pub(crate) fn file(mut self, path: &Path) -> Self {
        self.0.push(path.display().to_string());
        self
    }
}

impl fmt::Display for Arguments {
    /// As one would type it in the root of the workspace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = format!("{}/", root().display());
        let words: Vec<&str> = self.0.iter().map(|word| word.strip_prefix(&root).unwrap_or(word)).collect();
        write!(f, "waferloom {}", words.join(" "))
    }
}

impl Waferloom {
    /// Builds the binary of this workspace.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn build(limits: Limits) -> Result<Self, BenchError> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let arguments = ["build", "--release", "-p", "waferloom-cli", "--message-format=json-render-diagnostics"];
        let output = Command::new(cargo).args(arguments).current_dir(root()).stderr(Stdio::inherit()).output();
        let output = output.map_err(|e| BenchError::Setup(format!("cargo: {e}")))?;
        if !output.status.success() {
            return Err(BenchError::Setup("waferloom does not build".into()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let program = messages.find_map(|m| Some(m.get("executable")?.as_str()?.to_string()));
        let program = program.ok_or_else(|| BenchError::Setup("cargo named no executable".into()))?;
        Ok(Self { program, limits })
    }

    /// Runs a command that prints JSON; `row` gets the command's text, its processor time and its peak memory.
    ///
    /// # Errors
    /// The reason why there is no result.
    pub(crate) fn json(&self, row: &mut Row, arguments: Arguments) -> Result<Value, String> {
        row.command = arguments.to_string();
        let done = self.run(&arguments.with("--json"))?;
        row.cpu_seconds = Some(done.cpu_seconds);
        row.peak_bytes = Some(done.peak_bytes);
        serde_json::from_str(&done.stdout).map_err(|e| format!("what it printed is no JSON: {e}"))
    }

    /// Runs a command.
    ///
    /// # Errors
    /// The reason why there is no result.
    pub(crate) fn run(&self, arguments: &Arguments) -> Result<Finished, String> {
        let done = process::run(&self.program, &arguments.clone().with("--quiet").0, self.limits)?;
        if done.success { Ok(done) } else { Err(why(&done, self.limits)) }
    }
}

/// Why a process failed, in a line.
fn why(done: &Finished, limits: Limits) -> String {
    if done.stderr.contains("memory allocation of") {
        return format!("needs more than {} GiB", limits.memory_bytes.unwrap_or(0) >> 30);
    }
    // Errors begin with a cross, and may go on in further lines.
    let lines: Vec<&str> = done.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let first = lines.iter().find_map(|line| line.strip_prefix("x ").or_else(|| line.strip_prefix("× ")));
    match (first.or(lines.last().copied()), done.code) {
        (Some(line), _) => line.chars().take(160).collect(),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "ended by a signal".into(),
    }
}

/// A number inside JSON.
///
/// # Errors
/// When there is none.
pub(crate) fn number(value: &Value, pointer: &str) -> Result<f64, String> {
    value.pointer(pointer).and_then(Value::as_f64).ok_or_else(|| format!("it printed no {pointer}"))
}
