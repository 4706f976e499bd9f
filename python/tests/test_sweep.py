import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import MODELS

import waferloom as wl

STORES = ["rows.parquet", "rows.sqlite"]


def count(point: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves a mark for each run."""
    Path(point["folder"], f"{point['n']}-{time.monotonic_ns()}").touch()
    if point["n"] == 3:
        raise ValueError("three")
    return {"square": point["n"] ** 2}


def die(point: Mapping[str, Any]) -> dict[str, Any]:
    if point["n"] == 1:
        os._exit(1)
    return {"square": point["n"] ** 2}


def test_points_are_combined() -> None:
    assert wl.points(kernel="reduce", p=[2, 4], elements=range(1, 3)) == [
        {"kernel": "reduce", "p": p, "elements": n} for p in (2, 4) for n in (1, 2)
    ]
    assert wl.points() == [{}]


def test_kernels_are_swept_by_processes() -> None:
    table = wl.sweep(wl.points(kernel="reduce", p=[3, 4], algorithm=["chain", "tree"], elements=8))
    assert table["p"].tolist() == [3, 3, 4, 4]
    # A tree needs a power of two.
    assert table["error"].isna().tolist() == [True, False, True, True]
    assert "`p` cannot be 3" in table["error"][1]
    for row in table[table["error"].isna()].itertuples():
        alone = wl.kernel("reduce", p=row.p, algorithm=row.algorithm, elements=8)
        assert (row.cycles, row.estimate_cycles) == (alone.cycles, alone.estimate_cycles)
        assert row.utilisation == alone.utilisation and row.max_abs_error == alone.max_abs_error


def test_models_are_swept(bert_inputs: dict[str, Any]) -> None:
    model = str(MODELS / "dnabert/model.onnx")
    inputs = str(MODELS / "dnabert/inputs.npz")
    points = wl.points(model=model, inputs=inputs, engine="stream", grid=[(16, 16), (1, 1)], machine=wl.Machine.wse2())
    table = wl.sweep(points, executor=ThreadPoolExecutor(2))
    assert table["grid"].tolist() == ["16x16", "1x1"] and table["machine"].tolist() == ["wse2", "wse2"]
    program = wl.load(model, shapes={n: a.shape for n, a in bert_inputs.items()}).compile(grid=(16, 16))
    assert table["cycles"][0] == program.run(bert_inputs, engine="stream").cycles
    assert table["error"].isna().tolist() == [True, False]
    zeros = wl.run_point({"model": model, "dims": {"b": 1, "s": 16}, "grid": (8, 8), "engine": "stream"})
    assert zeros["cycles"] > 0 and zeros["bound_by"]


@pytest.mark.parametrize("name", STORES)
def test_a_sweep_continues_from_its_file(tmp_path: Path, name: str) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    points = wl.points(n=[1, 2, 3], folder=str(marks))
    first = wl.sweep(points[:2], run=count, store=tmp_path / name, executor=ThreadPoolExecutor(1))
    assert first["square"].tolist() == [1, 4]
    table = wl.sweep(points, run=count, store=tmp_path / name, executor=ThreadPoolExecutor(1))
    assert table["square"].tolist()[:2] == [1, 4]
    assert table["error"][2] == "ValueError: three"
    again = wl.sweep(points, run=count, store=tmp_path / name, executor=ThreadPoolExecutor(1))
    pd.testing.assert_frame_equal(again, table)
    assert len(list(marks.iterdir())) == 3


@pytest.mark.parametrize("name", STORES)
def test_an_interrupted_sweep_keeps_its_rows(tmp_path: Path, name: str) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()

    class Interrupted(ThreadPoolExecutor):
        """Ctrl-C, as the third point is asked for."""

        def submit(self, function, /, *arguments, **options):  # type: ignore[no-untyped-def]
            future = super().submit(function, *arguments, **options)
            if arguments[1]["n"] == 2:
                future.result()
            return future

    points = wl.points(n=[1, 2, 4, 5], folder=str(marks))

    def interrupted(point: Mapping[str, Any]) -> dict[str, Any]:
        if point["n"] == 4:
            raise KeyboardInterrupt
        return count(point)

    with pytest.raises(KeyboardInterrupt):
        wl.sweep(points, run=interrupted, store=tmp_path / name, executor=Interrupted(1))
    table = wl.sweep(points, run=count, store=tmp_path / name, executor=ThreadPoolExecutor(1))
    assert table["square"].tolist() == [1, 4, 16, 25]
    ran = [mark.name.split("-")[0] for mark in marks.iterdir()]
    assert ran.count("1") == 1 and ran.count("2") == 1


def test_a_worker_that_dies_costs_its_points_alone(tmp_path: Path) -> None:
    points = wl.points(n=[0, 1])
    store = tmp_path / "rows.sqlite"
    table = wl.sweep(points, run=die, store=store)
    assert table["error"][1].startswith("the worker died")
    # It is not kept: the next sweep tries again.
    kept = sqlite3.connect(store).execute("SELECT point FROM sweep").fetchall()
    assert all('"n": 1' not in point for (point,) in kept)


def test_dask_runs_points_on_its_workers() -> None:
    distributed = pytest.importorskip("dask.distributed", reason="Dask is not installed; CI installs it")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        points = [{"kernel": "reduce", "p": p, "elements": 8, "algorithm": "chain"} for p in (2, 4, 0)]
        table = wl.sweep(points, executor=client.get_executor())
        workers = set(client.run(os.getpid).values())
    assert len(workers) == 2 and os.getpid() not in workers
    assert table["cycles"].tolist()[:2] == [wl.kernel("reduce", p=p, elements=8, algorithm="chain").cycles for p in (2, 4)]
    assert "`p` cannot be 0" in table["error"][2]


def test_stores_and_points_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(wl.InputError, match="no kind of store ends in `.csv`"):
        wl.sweep([], store=tmp_path / "rows.csv")
    with pytest.raises(wl.InputError, match="no such folder"):
        wl.sweep([], store=tmp_path / "none/rows.sqlite")
    for name in STORES:
        (tmp_path / name).write_text("this is neither, but long enough to be looked at\n" * 100)
        with pytest.raises(wl.InputError, match=f"{name}: this is no"):
            wl.sweep([], store=tmp_path / name)
    for point in ({}, {"kernel": "reduce", "model": "m.onnx"}):
        with pytest.raises(wl.InputError, match="of a kernel or of a model"):
            wl.run_point(point)
    assert wl.sweep([]).empty


def test_progress_is_shown_when_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(1) as pool:
        wl.sweep(wl.points(kernel="reduce", p=[2, 4]), executor=pool, progress=True)
        assert "2/2" in capfd.readouterr().err
        wl.sweep(wl.points(kernel="reduce", p=2), executor=pool)
    assert capfd.readouterr().err == ""


def test_a_script_can_sweep_with_the_default_pool(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import waferloom as wl\n"
        "if __name__ == '__main__':\n"
        "    print(wl.sweep(wl.points(kernel='reduce', p=[2, 4]))['cycles'].tolist())\n"
    )
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert said == f"{[wl.kernel('reduce', p=p).cycles for p in (2, 4)]}\n"
