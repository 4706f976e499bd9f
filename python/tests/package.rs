//! The Python package as its users meet it: its stubs, its types and its tests, in a virtual environment under the target
//! directory. `WAFERLOOM_UPDATE=1` writes the stubs anew.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX, EXE_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;

const STUBS: &str = "waferloom/_waferloom.pyi";
const NEEDED: &str = "the tests of the Python package need Python 3.10 or newer as `python3`, with its venv module \
                      (Debian: python3-venv), and a package index that pip can reach";

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo has put this test and the native half of the package.
fn deps() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    test.parent().expect("in a folder").into()
}

fn native() -> PathBuf {
    deps().join(format!("{DLL_PREFIX}_waferloom{DLL_SUFFIX}"))
}

/// Runs a command and gives its output; panics with all that it said when it fails.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} cannot be run ({e}); {NEEDED}"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?} failed; {NEEDED}\n{said}");
    said
}

#[test]
fn stubs_are_those_of_the_native_half() {
    let module = pyo3_introspection::introspect_cdylib(native(), "_waferloom").expect("a module of PyO3's");
    let files = pyo3_introspection::module_stub_files(&module);
    let stubs = files.get(Path::new("__init__.pyi")).expect("one file for a module without submodules");
    let path = folder().join(STUBS);
    if std::env::var_os("WAFERLOOM_UPDATE").is_some() {
        std::fs::write(&path, stubs).expect("written");
    }
    let stored = std::fs::read_to_string(&path).expect("stored stubs");
    assert!(
        stored == *stubs,
        "python/{STUBS} is out of date: run this test once more with WAFERLOOM_UPDATE=1\n{stubs}"
    );
}

#[test]
fn the_package_passes_its_tests() {
    let python = environment();
    let package = package();
    let check = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        // Not in the package's own folder, which has no native half and would come first.
        command.args(arguments).current_dir(&package).env("PYTHONPATH", &package).env("MYPYPATH", &package);
        command.env("MYPY_CACHE_DIR", package.with_file_name("mypy-cache"));
        command.env("WAFERLOOM_CLI", binary()).env("PYTHONDONTWRITEBYTECODE", "1").env("MPLBACKEND", "agg");
        run(&mut command)
    };
    let configuration = folder().join("pyproject.toml").display().to_string();
    let tests = folder().join("tests").display().to_string();
    check(&["-m", "mypy", "--config-file", &configuration]);
    check(&["-m", "mypy.stubtest", "waferloom._waferloom", "--mypy-config-file", &configuration]);
    check(&["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", &configuration, &tests]);
}

/// The interpreter of a virtual environment with the `test` group of pyproject.toml, made anew when that has changed.
fn environment() -> PathBuf {
    let wanted = std::fs::read_to_string(folder().join("pyproject.toml")).expect("read");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-environment");
    let python = if cfg!(windows) { home.join("Scripts/python.exe") } else { home.join("bin/python") };
    let stamp = home.join("pyproject.toml");
    if std::fs::read_to_string(&stamp).is_ok_and(|made_for| made_for == wanted) {
        return python;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    // Groups are known to pip since 25.1.
    run(Command::new(&python).args(pip).args(["--upgrade", "pip>=25.1"]));
    run(Command::new(&python)
        .args(pip)
        .arg("--group")
        .arg(format!("{}:test", folder().join("pyproject.toml").display())));
    std::fs::write(&stamp, wanted).expect("written");
    python
}

/// The package put together as a wheel would be: building one would compile everything once more.
fn package() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-package");
    if home.exists() {
        std::fs::remove_dir_all(&home).expect("removed");
    }
    copy(&folder().join("waferloom"), &home.join("waferloom"));
    let name = if cfg!(windows) { "_waferloom.pyd" } else { "_waferloom.abi3.so" };
    std::fs::copy(native(), home.join("waferloom").join(name)).expect("cargo has built the native half");
    home
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("read") {
        let entry = entry.expect("read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// The binary that the package is held against: built with the features of the whole workspace, as `cargo test --workspace`
/// has done already.
fn binary() -> PathBuf {
    let home = deps();
    let profile = home.parent().expect("target/PROFILE/deps");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--workspace", "--locked", "--no-run", "--test", "cli"]).current_dir(folder());
    if profile.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    run(&mut cargo);
    profile.join(format!("waferloom{EXE_SUFFIX}"))
}
