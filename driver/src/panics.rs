//! Panics as errors: no input may bring one about, but one that does must not take the user's session with it.

use crate::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, Once};

static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

static QUIET: Once = Once::new();

/// From now on keeps the message of a panic for [`guarded`] instead of printing it: readers of foreign formats may panic on
/// malformed files, which the importer catches and reports as what it is.
fn keep_quiet() {
    std::panic::set_hook(Box::new(|info| {
        tracing::debug!("{info}");
        let message = info.to_string().replace('\n', " ");
        // Whoever waits for a thread that panicked panics as well; the thread's own message says more.
        if !message.contains("a scoped thread panicked")
            && let Ok(mut last) = LAST_PANIC.lock()
        {
            *last = Some(message);
        }
    }));
}

/// What `work` gives, or an error for its panic, of which nothing is printed.
///
/// # Errors
/// Those of `work`, and a bug where it panics.
pub fn guarded<T, E: From<Error>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    QUIET.call_once(keep_quiet);
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let seen = LAST_PANIC.lock().ok().and_then(|mut last| last.take());
        Err(Error::bug(format!("internal error: {}", seen.unwrap_or_else(|| "unknown".into()))).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let error = guarded(|| -> Result<(), Error> { panic!("two\nlines") }).expect_err("a bug").to_string();
        assert!(error.starts_with("internal error: ") && error.contains("two lines"), "{error}");
        assert_eq!(guarded(|| Ok::<_, Error>(3)).expect("no panic"), 3);
    }
}
