//! Keeps the front end's panics on malformed models inside, as errors with one clear message.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs work that may panic. The panic's own report is suppressed: the caller gets its message and makes an error of it.
///
/// The process's panic hook is wrapped once, at the first call; on threads outside of guarded work it does what it did
/// before. A program that sets a hook of its own does so before it imports a model.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static WRAP: Once = Once::new();
    WRAP.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                previous(info);
            }
        }));
    });
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|payload| {
        format!("the reader gave up on a malformed or unsupported part of the model ({})", message(&*payload))
    })
}

/// The first line of what a panic says.
fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.and_then(|text| text.lines().next()).unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(guarded(|| 1), Ok(1));
        let nested = guarded(|| {
            assert!(guarded(|| panic!("inner")).unwrap_err().contains("(inner)"));
            // Still guarded behind the inner one.
            assert!(GUARDED.get());
            panic!("{} one\nwith more", "outer")
        });
        assert!(nested.is_err_and(|problem: String| problem.contains("(outer one)")));
        assert!(!GUARDED.get());
    }
}
