//! The rows of the table, and the machine that they were measured on.

use serde::Serialize;
use std::fmt;
use std::process::Command;

/// One measurement.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    /// The group it belongs to.
    pub(crate) group: &'static str,
    /// What was measured.
    pub(crate) what: String,
    /// The command that was timed, without the folder of the binary.
    pub(crate) command: String,
    /// Seconds of the phase that the row is about, best of the runs.
    pub(crate) seconds: Option<f64>,
    /// Processor time of the whole process, reading and checking included.
    pub(crate) cpu_seconds: Option<f64>,
    /// Largest resident memory of the process.
    pub(crate) peak_bytes: Option<u64>,
    /// Simulated cycles.
    pub(crate) cycles: Option<u64>,
    /// What comes out, held against targets.
    pub(crate) figures: Vec<Figure>,
    /// Why the row could not be run.
    pub(crate) reason: Option<String>,
}

/// A number that a row is about.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// The number.
    pub(crate) value: f64,
    /// What it counts.
    pub(crate) unit: &'static str,
    /// What it should be.
    pub(crate) target: Option<Target>,
}

/// What a number should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Row {
    /// A row of which nothing is known yet.
    pub(crate) fn new(group: &'static str, what: String) -> Self {
        Self { group, what, ..Self::default() }
    }

    /// Adds a number.
    pub(crate) fn figure(&mut self, value: f64, unit: &'static str, target: Option<Target>) {
        self.figures.push(Figure { value, unit, target });
    }
}

impl Figure {
    /// Whether the target is met; true without one.
    fn met(&self) -> bool {
        match self.target {
            None => true,
            Some(Target::AtLeast(least)) => self.value >= least,
            Some(Target::AtMost(most)) => self.value <= most,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", significant(self.value), self.unit)?;
        let (word, bound) = match self.target {
            None => return Ok(()),
            Some(Target::AtLeast(least)) => ("at least", least),
            Some(Target::AtMost(most)) => ("at most", most),
        };
        write!(f, " ({word} {}: {})", significant(bound), if self.met() { "met" } else { "missed" })
    }
}

/// Three significant digits.
pub(crate) fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// The machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Host {
    /// Name of the processor, where it is known.
    processor: String,
    /// Cores that this process may use.
    cores: usize,
    /// Operating system and architecture.
    system: String,
    /// The compiler.
    rustc: String,
    /// The commit that was measured, with a mark when files differ from it.
    commit: String,
    /// Processes that ran or wanted to, averaged over a minute, at the end.
    load: String,
}

impl Host {
    /// This machine, now.
    pub(crate) fn here() -> Self {
        let field = |path: &str, name: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.trim_start_matches(name).trim_start_matches([' ', '\t', ':']).to_string()
        };
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            rustc: said("rustc", &["--version"]),
            commit: said("git", &["describe", "--always", "--dirty"]),
            load: field("/proc/loadavg", "").split(' ').next().unwrap_or_default().into(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, system, rustc, commit, load } = self;
        write!(f, "{cores} cores of {processor}, {system}, {rustc}, commit {commit}, load {load}")
    }
}

/// What a program prints; nothing when it cannot be run.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(super::root()).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_targets_are_held() {
        let cases = [(0.0, "0"), (0.001_234_5, "0.00123"), (1.5, "1.5"), (20.24, "20.2"), (2_088_960.0, "2088960")];
        for (value, text) in cases {
            assert_eq!(significant(value), text);
        }
        let figure = |value, target| Figure { value, unit: "s", target }.to_string();
        assert_eq!(figure(2.5, None), "2.5 s");
        assert_eq!(figure(2.5, Some(Target::AtMost(2.0))), "2.5 s (at most 2: missed)");
        assert_eq!(figure(2.5, Some(Target::AtLeast(2.0))), "2.5 s (at least 2: met)");
    }
}
