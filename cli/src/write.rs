//! Files and stdout. A file is there whole or not at all.

use crate::errors::Error;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// Checks, before anything slow, that the files can be written, that no two are the same, and that none is read from.
pub(crate) fn check_targets(targets: &[(&str, Option<&Path>)], sources: &[Option<&Path>]) -> Result<(), Error> {
    let sources: Vec<PathBuf> = sources.iter().flatten().filter_map(|path| path.canonicalize().ok()).collect();
    let mut seen: Vec<(PathBuf, &str)> = Vec::new();
    for &(option, target) in targets {
        let Some(target) = target else { continue };
        check_target(target)?;
        let full = full_path(target);
        if sources.contains(&full) {
            return Err(Error::new(
                format!("{}: {option} would overwrite a file that is read", target.display()),
                "give another name",
            ));
        }
        if let Some((_, other)) = seen.iter().find(|(path, _)| *path == full) {
            return Err(Error::new(
                format!("{}: {option} and {other} name the same file", target.display()),
                "give different names",
            ));
        }
        seen.push((full, option));
    }
    Ok(())
}

/// The folder with links resolved, and the name: the file itself need not be there.
fn full_path(target: &Path) -> PathBuf {
    let folder = folder(target).canonicalize().unwrap_or_default();
    target.canonicalize().unwrap_or_else(|_| folder.join(target.file_name().unwrap_or_default()))
}

fn folder(target: &Path) -> &Path {
    target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn check_target(target: &Path) -> Result<(), Error> {
    let bad = |problem: &str, help: &str| Err(Error::new(format!("{}: {problem}", target.display()), help));
    match std::fs::metadata(target) {
        Ok(metadata) if metadata.is_dir() => return bad("this is a directory", "give the name of a file in it"),
        // A whole file takes the place of what is there: a device would be lost.
        Ok(metadata) if !metadata.is_file() => return bad("this is no regular file", "give the name of a file"),
        _ => {}
    }
    if target.file_name().is_none() {
        return bad("this is no name of a file", "give the name of a file");
    }
    // A file that is made and goes away again is the only proof that one can be made.
    match tempfile::Builder::new().prefix(".waferloom-").tempfile_in(folder(target)) {
        Ok(_) => Ok(()),
        Err(error) => {
            // The system's words without the name of the trial file, which nobody has asked for.
            let reason = error.kind();
            bad(
                &format!("the file cannot be written ({reason})"),
                "check that the folder exists, its permissions and the free space",
            )
        }
    }
}

/// Writes a text file.
pub(crate) fn text(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        let mut builder = tempfile::Builder::new();
        // A temporary file is private by default, which would make the report unreadable for a colleague.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.prefix(".waferloom-").tempfile_in(folder(path))?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|e| e.error)?;
        Ok::<(), std::io::Error>(())
    };
    write().map_err(|e| {
        Error::new(
            format!("{}: the file cannot be written ({e})", path.display()),
            "check the folder, its permissions and the free space",
        )
    })
}

/// Prints to stdout. A reader that has gone away (`| head`) is no error.
pub(crate) fn stdout(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(format!("stdout cannot be written to ({e})"), "check where it leads"))
        }
        _ => Ok(()),
    }
}
