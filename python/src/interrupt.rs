//! Long work without the interpreter's lock, which Ctrl-C ends.

use crate::errors::raise;
use crossbeam::channel::{self, RecvTimeoutError};
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use waferloom_driver::{Error, panics};
use waferloom_simulator::Progress;

/// How long an interruption may go unnoticed, and how often progress is told.
const POLL: Duration = Duration::from_millis(50);

/// What work on another thread is told and tells.
pub(crate) struct Ties<'a> {
    /// Becomes true when the work is to stop.
    pub(crate) cancel: &'a AtomicBool,
    /// Takes word of the cycle at hand.
    pub(crate) progress: &'a (dyn Fn(Progress) + Sync),
}

/// Runs `work`, which nobody can stop, on a thread of its own. When Ctrl-C is pressed, this returns at once; the thread goes on
/// to its end, and what it gives is thrown away.
///
/// # Errors
/// Those of `work` and of a signal's handler.
pub(crate) fn wait<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> PyResult<T> {
    let (done, waiting) = channel::bounded(1);
    std::thread::spawn(move || {
        // Nobody listens any more after Ctrl-C.
        let _ = done.send(panics::guarded(work));
    });
    loop {
        match py.detach(|| waiting.recv_timeout(POLL)) {
            Ok(result) => return result.map_err(raise),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => return Err(raise(Error::bug("a thread died"))),
        }
    }
}

/// Runs `work` on a thread of its own, while this one looks after signals and calls `progress` with the cycle at hand.
///
/// # Errors
/// Those of `work`, of a signal's handler and of `progress`; after the latter two the work has been stopped.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(Ties<'_>) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let (cancel, cycle) = (AtomicBool::new(false), AtomicU64::new(0));
    let tell = |p: Progress| cycle.store(p.cycle, Ordering::Relaxed);
    let (done, waiting) = channel::bounded::<()>(1);
    std::thread::scope(|scope| {
        let (cancel, tell) = (&cancel, &tell);
        let worker = scope.spawn(move || {
            // Dropped at the end, also of a panic: that is what the other thread waits for.
            let _done = done;
            panics::guarded(|| work(Ties { cancel, progress: tell }))
        });
        let mut stopped = Ok(());
        while let Err(RecvTimeoutError::Timeout) = py.detach(|| waiting.recv_timeout(POLL)) {
            if stopped.is_ok() {
                stopped = py.check_signals().and_then(|()| match progress {
                    Some(progress) => progress.call1((cycle.load(Ordering::Relaxed),)).map(drop),
                    None => Ok(()),
                });
                cancel.store(stopped.is_err(), Ordering::Relaxed);
            }
        }
        let result = worker.join().unwrap_or_else(|_| Err(Error::bug("a thread died")));
        stopped?;
        result.map_err(raise)
    })
}
