//! The `waferloom` binary. Its commands follow once the compiler stands; see `docs/NEXT.md`.

fn main() -> std::process::ExitCode {
    eprintln!("waferloom {}: no command is there yet; docs/NEXT.md says what comes next", env!("CARGO_PKG_VERSION"));
    std::process::ExitCode::from(2)
}
