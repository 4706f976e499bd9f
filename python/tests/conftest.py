"""What tests share: the reference models, a program that runs in no time, and the binary to hold results against."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import waferloom as wl

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests/fixtures/models"

# Shells let what they start in the background ignore Ctrl-C, and then Python does too: some tests would wait for minutes.
signal.signal(signal.SIGINT, signal.default_int_handler)

ADDER = """
program adder machine bench16 grid 1x1
route c0 at 0,0 { pos WEST -> RAMP }
route c1 at 0,0 { pos RAMP -> WEST }
class pe {
  in q0 = c0
  out q2 = c1
  task 8 main local activated { add out q2 f32[4] <- in q0 f32[4], f32 1.5 }
}
place pe at 0,0
input x : f32[4] on 1x1 edge WEST at 0,0 color c0
output y : f32[4] on 1x1 edge WEST at 0,0 color c1
"""
"""Adds 1.5 to four numbers of the host's."""

ENDLESS = """
program endless machine bench16 grid 1x1
class pe { task 8 main local activated { loop r1 in 2000000000 { r2 = add r2, 1 } } }
place pe at 0,0
"""
"""Runs for minutes."""


@pytest.fixture
def adder() -> wl.Program:
    return wl.Program.from_text(ADDER)


@pytest.fixture
def endless() -> wl.Program:
    return wl.Program.from_text(ENDLESS)


@pytest.fixture(scope="session")
def bert_inputs() -> dict[str, np.ndarray]:
    return dict(np.load(MODELS / "dnabert/inputs.npz"))


@pytest.fixture(scope="session")
def bert(bert_inputs: dict[str, np.ndarray]) -> wl.Model:
    return wl.load(MODELS / "dnabert/model.onnx", shapes={name: a.shape for name, a in bert_inputs.items()})


@pytest.fixture(scope="session")
def bert_program(bert: wl.Model) -> wl.Program:
    return bert.compile(grid=(16, 16))


@pytest.fixture(scope="session")
def cli() -> Callable[..., Any]:
    """Runs the binary with --json and gives what it printed."""
    binary = os.environ.get("WAFERLOOM_CLI") or shutil.which("waferloom")
    if binary is None:
        pytest.fail("set WAFERLOOM_CLI to the path of the binary: cargo build -p waferloom-cli")

    def call(*arguments: object) -> Any:
        said = subprocess.run([binary, *map(str, arguments), "--json"], capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        return json.loads(said.stdout)

    return call
