//! A process of which seconds, processor time and peak memory are taken.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use wait4::Wait4 as _;

/// What a process may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Seconds after which it is ended.
    pub(crate) seconds: u64,
    /// Bytes of address space, where the system can limit them.
    pub(crate) memory_bytes: Option<u64>,
}

/// What a process said and took.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// Whether it ended with exit code 0.
    pub(crate) success: bool,
    /// Its exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) stdout: String,
    /// Its messages.
    pub(crate) stderr: String,
    /// Seconds of user and system time on all cores.
    pub(crate) cpu_seconds: f64,
    /// Largest resident memory.
    pub(crate) peak_bytes: u64,
}

/// Runs a program to its end.
///
/// # Errors
/// The reason for which there is no result: it could not be started, or it took longer than allowed.
pub(crate) fn run(program: &str, arguments: &[String], limits: Limits) -> Result<Finished, String> {
    let scratch = || tempfile::tempfile().map_err(|e| format!("a temporary file: {e}"));
    let (mut stdout, mut stderr) = (scratch()?, scratch()?);
    let copy = |file: &File| file.try_clone().map_err(|e| format!("a temporary file: {e}"));
    let mut command = limited(program, limits);
    command.args(arguments).stdin(Stdio::null()).stdout(copy(&stdout)?).stderr(copy(&stderr)?);
    let start = Instant::now();
    let child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
    let used = wait(child, start + Duration::from_secs(limits.seconds)).map_err(|e| format!("{program}: {e}"))?;
    let (used, was_ended) = used;
    if was_ended {
        let mib = used.rusage.maxrss >> 20;
        return Err(format!("not done after {} s, peak by then {mib} MiB", limits.seconds));
    }
    Ok(Finished {
        success: used.status.success(),
        code: used.status.code(),
        stdout: text(&mut stdout),
        stderr: text(&mut stderr),
        cpu_seconds: (used.rusage.utime + used.rusage.stime).as_secs_f64(),
        peak_bytes: used.rusage.maxrss,
    })
}

/// The program, started by a shell that limits its memory first.
fn limited(program: &str, limits: Limits) -> Command {
    let Some(bytes) = limits.memory_bytes else { return Command::new(program) };
    let mut command = Command::new("sh");
    // Not every system can limit this; `exec` keeps it one process.
    command.arg("-c").arg(format!("ulimit -v {} 2>/dev/null; exec \"$0\" \"$@\"", bytes >> 10)).arg(program);
    command
}

/// Waits for the end; also says whether it had to be made at `deadline`.
fn wait(child: Child, deadline: Instant) -> std::io::Result<(wait4::ResUse, bool)> {
    let pid = rustix::process::Pid::from_child(&child);
    let (done, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let late = ended.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err();
            // When it has ended by itself in this very moment, there is nothing to end.
            late && rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok()
        });
        let used = child.wait4();
        // The watch is gone when it was too late.
        let _ = done.send(());
        let killed = watch.join().unwrap_or(false);
        used.map(|used| (used, killed))
    })
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read back was not said.
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, seconds: u64) -> Result<Finished, String> {
        run("sh", &["-c".into(), script.into()], Limits { seconds, memory_bytes: Some(1 << 32) })
    }

    #[test]
    fn what_a_process_says_and_takes_is_known() {
        let done = shell("echo out; echo err >&2; exit 3", 60).unwrap();
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!((done.success, done.code), (false, Some(3)));
        assert!(done.peak_bytes > 100_000, "{}", done.peak_bytes);
    }

    #[test]
    fn a_process_that_takes_too_long_is_ended() {
        let reason = shell("exec sleep 600", 1).unwrap_err();
        assert!(reason.starts_with("not done after 1 s, peak by then "), "{reason}");
        assert!(run("there-is-no-such-program", &[], Limits { seconds: 1, memory_bytes: None }).is_err());
    }
}
