import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MODELS

import waferloom as wl
from waferloom.__main__ import main

optuna = pytest.importorskip("optuna", reason="the extra `tune` is not installed; CI installs it")
optuna.logging.set_verbosity(optuna.logging.WARNING)

GEMV = {"m": 1024, "k": 32, "storage": None, "constraint": lambda s: s["p"] * s["q"] <= 64}
GEMV_SPACE = {"p": (1, 64), "q": (1, 64), "algorithm": ["chain", "tree"]}


def test_kernels_declare_their_tunables() -> None:
    tunable = {name: [p.name for p in kernel.parameters if p.tunable] for name, kernel in wl.kernels().items()}
    assert tunable["gemm"] == ["p", "q", "algorithm"]
    # Each PE of a reduction brings a vector of its own: more PEs are another problem.
    assert tunable["reduce"] == ["algorithm", "group"]


def test_the_planner_declares_its_tunables(bert_program: wl.Program) -> None:
    tunables = bert_program.tunables
    assert tunables["stages"][0] == 1 and len(tunables["stages"]) > 1
    products = [values for name, values in tunables.items() if name.startswith("product ")]
    assert products and all(sorted(values) == ["Stationary", "Summa"] for values in products)


def test_a_matrix_vector_product_beats_its_default_by_a_tenth() -> None:
    """On at most as many PEs as the default's 8x8."""
    found = wl.tune("gemv", trials=60, space=GEMV_SPACE, **GEMV)
    assert found.default_value == wl.kernel("gemv", m=1024, k=32, engine="stream").cycles
    assert found.gain >= 0.1
    assert found.tunables["p"] * found.tunables["q"] <= 64
    # What was found runs as it was found.
    assert wl.run_point(found.point)["cycles"] == found.value
    again = wl.tune("gemv", trials=60, space=GEMV_SPACE, **GEMV)
    assert [t.params for t in again.study.trials] == [t.params for t in found.study.trials]
    assert (again.point, again.value) == (found.point, found.value)


def test_a_row_operation_beats_its_default_by_a_tenth() -> None:
    """On at most as many PEs as the default's 4x4: rows that are not split need no exchange."""
    space = {"p": (1, 16), "rows": (1, 16)}
    options: dict[str, Any] = {"space": space, "storage": None, "constraint": lambda s: s["p"] * s["rows"] <= 16}
    found = wl.tune("rmsnorm", trials=60, **options)
    assert found.gain >= 0.1
    again = wl.tune("rmsnorm", trials=60, **options)
    assert [t.params for t in again.study.trials] == [t.params for t in found.study.trials]


def test_a_model_is_tuned(tmp_path: Path) -> None:
    found = wl.tune(
        MODELS / "dnabert/model.onnx", dims={"b": 1, "s": 16}, grid=(16, 8), trials=6, storage=None, timing_only=True
    )
    assert found.default_value is not None and found.value <= found.default_value
    assert wl.run_point(found.point)["cycles"] == found.value
    assert len(found.study.trials) == 6


def test_points_that_cannot_be_are_pruned(capsys: pytest.CaptureFixture[str]) -> None:
    small = wl.Machine.wse2().with_(sram_bytes=1 << 12)
    found = wl.tune("gemm", m=64, n=64, k=64, machine=small, space={"p": (1, 16)}, q=0, trials=20, storage=None)
    pruned = found.study.get_trials(states=[optuna.trial.TrialState.PRUNED])
    assert pruned and all("error" in trial.user_attrs for trial in pruned)
    assert any("SRAM" in trial.user_attrs["error"] for trial in pruned)
    # The default, 4x4 PEs, does not fit either.
    assert found.default_value is None and found.gain == 0.0 and found.tunables


def test_a_search_goes_on_where_it_stopped(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'tune.sqlite'}"
    options: dict[str, Any] = {"elements": 64, "p": 16, "storage": storage}
    first = wl.tune("reduce", trials=3, **options)
    begun = [t.params for t in first.study.trials]
    assert len(begun) == 3
    second = wl.tune("reduce", trials=8, **options)
    assert second.study.study_name == first.study.study_name
    assert len(second.study.trials) == 8
    assert [t.params for t in second.study.trials[:3]] == begun
    assert len(wl.tune("reduce", trials=8, **options).study.trials) == 8
    # Another problem is another study.
    assert len(wl.tune("reduce", trials=1, **(options | {"elements": 65})).study.trials) == 1


def test_utilisation_is_made_large() -> None:
    found = wl.tune("gemm", m=32, n=32, k=32, q=0, space={"p": [2, 4, 8]}, objective="utilisation", trials=12, storage=None)
    rates = {p: wl.run_point({"kernel": "gemm", "m": 32, "n": 32, "k": 32, "p": p, "engine": "stream"}) for p in (2, 4, 8)}
    assert found.value >= max(row["utilisation"] for row in rates.values())


def test_what_cannot_be_tuned_is_refused() -> None:
    with pytest.raises(wl.InputError, match="there is no kernel `frob`"):
        wl.tune("frob", storage=None)
    with pytest.raises(wl.InputError, match="no tunable `elements`"):
        wl.tune("reduce", space={"elements": (1, 3)}, storage=None)
    with pytest.raises(wl.InputError, match="nothing of broadcast is left to search"):
        wl.tune("broadcast", storage=None)
    with pytest.raises(wl.InputError, match="a run has no `beauty`"):
        wl.tune("reduce", objective="beauty", storage=None)
    with pytest.raises(wl.KernelError, match="no parameter `frob`"):
        wl.tune("reduce", frob=3, storage=None)
    with pytest.raises(wl.InputError, match="none.onnx: the file cannot be read"):
        wl.tune("none.onnx", storage=None)
    with pytest.raises(wl.InputError, match="nothing that was tried can run"):
        wl.tune("gemm", m=4096, n=4096, k=4096, p=1, q=1, trials=2, storage=None)


def test_the_command_line_does_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = f"sqlite:///{tmp_path / 'tune.sqlite'}"
    arguments = ["tune", "reduce", "--set", "p=16", "--set", "elements=64", "--trials", "5", "--storage", storage]
    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    found = wl.tune("reduce", p=16, elements=64, trials=5, storage=None)
    assert (said["value"], said["tunables"], said["trials"]) == (found.value, found.tunables, 5)
    assert main([*arguments, "--space", "algorithm=chain,tree", "--space", "group=1..4"]) == 0
    assert "best of 5 trials" in capsys.readouterr().out
    assert main(["tune", "frob", "--storage", storage]) == 2
    assert "there is no kernel `frob`" in capsys.readouterr().err
    for bad in ["--set=p", "--space=p=1..x", "--space=p"]:
        with pytest.raises(SystemExit) as exit:
            main([*arguments, bad])
        assert exit.value.code == 2


def test_the_binary_hands_over_to_it(tmp_path: Path) -> None:
    binary = os.environ.get("WAFERLOOM_CLI") or shutil.which("waferloom")
    assert binary is not None, "set WAFERLOOM_CLI to the path of the binary"
    arguments = ["tune", "reduce", "--set", "p=16", "--set", "elements=64", "--trials", "5", "--json"]
    environment = os.environ | {"WAFERLOOM_PYTHON": sys.executable}
    said = subprocess.run([binary, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["trials"] == 5
    assert (tmp_path / "waferloom-tune.sqlite").exists()
    bad = subprocess.run([binary, "tune", "frob"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert bad.returncode == 2 and "no kernel `frob`" in bad.stderr
    environment["WAFERLOOM_PYTHON"] = "no-such-python"
    bad = subprocess.run([binary, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert bad.returncode == 2 and "pip install" in bad.stderr


@pytest.fixture
def postgres() -> Iterator[str]:
    """A server of PostgreSQL on a socket in a folder; gives its URL for Optuna."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs or os.name != "posix":
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    # The server refuses to run as root; its package has made a user for it, who cannot enter pytest's folders.
    user = "postgres" if os.geteuid() == 0 else None
    folder = tempfile.TemporaryDirectory(prefix="waferloom-")
    home = Path(folder.name)
    if user is not None:
        shutil.chown(home, user)

    def run(program: str, *arguments: str) -> None:
        subprocess.run([programs[-1] / program, *arguments], user=user, cwd=home, check=True, stdout=subprocess.DEVNULL)

    data = str(home / "data")
    run("initdb", "-D", data, "-A", "trust", "-U", "tuner", "--no-sync")
    run("pg_ctl", "-D", data, "-w", "-l", str(home / "log"), "-o", f"-k {home} -c listen_addresses='' -F", "start")
    try:
        yield f"postgresql+psycopg://tuner@/postgres?host={home}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        folder.cleanup()


def test_workers_share_a_study_in_postgresql(postgres: str) -> None:
    pytest.importorskip("psycopg", reason="the driver for PostgreSQL is not installed; CI installs it")
    # Who comes first makes the tables.
    optuna.storages.RDBStorage(postgres)
    script = (
        "import sys, waferloom as wl\n"
        "wl.tune('reduce', p=16, elements=64, trials=6, seed=int(sys.argv[2]), storage=sys.argv[1], study_name='shared')"
    )
    workers = [subprocess.Popen([sys.executable, "-c", script, postgres, str(seed)]) for seed in (1, 2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    study = optuna.load_study(study_name="shared", storage=postgres)
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    assert 6 <= len(finished) <= 12
    assert study.best_value == min(wl.kernel("reduce", p=16, elements=64, engine="stream", **best.params).cycles
                                   for best in finished if best.value is not None)
