"""Outputs, cycles and reports are those of the binary, to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ADDER, MODELS, ROOT

import waferloom as wl


def but_host_times(report: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name != "host_seconds"}


@pytest.mark.parametrize(
    ("model", "engine", "options"),
    [
        ("dnabert", "wavelet", {}),
        ("dnabert", "stream", {"dtype": "f16", "grid": (8, 16)}),
        ("vit", "stream", {"machine": "wse3", "stages": 2}),
        ("vit", "stream", {"items": 3, "grid": (16, 12)}),
    ],
)
def test_models(
    cli: Callable[..., Any], tmp_path: Path, model: str, engine: str, options: dict[str, Any]
) -> None:
    folder, out = MODELS / model, tmp_path / "out.npz"
    flags = [f"--{name}={'x'.join(map(str, v)) if isinstance(v, tuple) else v}" for name, v in options.items()]
    report = cli("run", folder / "model.onnx", "--inputs", folder / "inputs.npz", "--engine", engine, "--out", out, *flags)
    inputs = dict(np.load(folder / "inputs.npz"))
    program = wl.load(folder / "model.onnx", shapes={n: a.shape for n, a in inputs.items()}).compile(**options)
    run = program.run(inputs, engine=engine)
    assert but_host_times(run.report) == but_host_times(report)
    assert all(seconds > 0 for seconds in run.report["host_seconds"].values())
    same(run.outputs, dict(np.load(out)))


def test_programs(cli: Callable[..., Any], tmp_path: Path) -> None:
    chain = ROOT / "examples/programs/reduce_chain.wlt"
    report = cli("simulate", chain, "--out", tmp_path / "out.npz", "--per-pe")
    run = wl.Program.load(chain).run()
    assert but_host_times(run.per_pe_report()) == but_host_times(report)
    same(run.outputs, dict(np.load(tmp_path / "out.npz")))


def test_stacked_items(cli: Callable[..., Any], tmp_path: Path) -> None:
    text = ADDER.replace("grid 1x1\n", "grid 1x1 items 2\n", 1).replace(
        "add out q2 f32[4] <- in q0 f32[4], f32 1.5", "loop r1 in 2 { add out q2 f32[4] <- in q0 f32[4], f32 1.5 }"
    )
    (tmp_path / "p.wlt").write_text(text)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.savez(tmp_path / "in.npz", x=x)
    report = cli("simulate", tmp_path / "p.wlt", "--inputs", tmp_path / "in.npz", "--out", tmp_path / "out.npz")
    run = wl.Program.load(tmp_path / "p.wlt").run({"x": x})
    assert but_host_times(run.report) == but_host_times(report)
    # Stacked items stay stacked; the binary puts them side by side on axis 0.
    same({"y": run.outputs["y"].reshape(-1)}, dict(np.load(tmp_path / "out.npz")))


def test_kernels(cli: Callable[..., Any]) -> None:
    said = cli("kernel", "gemm", "--set", "p=8", "--set", "m=32", "--set", "dtype=f16", "--machine", "wse3")
    run = wl.kernel("gemm", p=8, m=32, dtype="f16", machine="wse3")
    for name, value in said.items():
        mine = getattr(run, name)
        assert (but_host_times(mine), but_host_times(value)) if name == "report" else mine == value
    assert but_host_times(run.report) == but_host_times(said["report"])


def test_reports_of_no_run(cli: Callable[..., Any], tmp_path: Path) -> None:
    model = MODELS / "vit/model.onnx"
    report = cli("compile", model, "--grid=16x12", "-o", tmp_path / "p.wlt")
    program = wl.load(model).compile(grid=(16, 12))
    assert but_host_times(program.report) == but_host_times(report)
    assert program.text == (tmp_path / "p.wlt").read_text()


def same(mine: dict[str, Any], theirs: dict[str, np.ndarray]) -> None:
    assert mine.keys() == theirs.keys()
    for name, array in theirs.items():
        assert mine[name].dtype == array.dtype and mine[name].shape == array.shape
        assert mine[name].tobytes() == array.tobytes(), name
