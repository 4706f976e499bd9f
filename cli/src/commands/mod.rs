//! The commands, one file each.

pub(crate) mod compile;
pub(crate) mod inspect;
pub(crate) mod kernel;
pub(crate) mod run;
pub(crate) mod simulate;
pub(crate) mod tune;
pub(crate) mod validate;
pub(crate) mod verify;
