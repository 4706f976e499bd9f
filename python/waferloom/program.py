"""Programs: what the machine runs, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from waferloom import _waferloom, display
from waferloom.arrays import host_arrays
from waferloom.machine import Machine
from waferloom.progress import Progress, told
from waferloom.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


PRODUCT = "product "
"""How the names of tunables begin that choose the kernel of a product."""


class TensorSpec(NamedTuple):
    """What a tensor must be, or is."""

    shape: tuple[int, ...]
    """Its shape, of one item."""
    dtype: str
    """Type of its elements on the host."""
    mesh_dtype: str | None = None
    """Type of its elements on the mesh, of a program's tensors."""


class Program:
    """A program for a rectangle of PEs, in which the verifier has found no error.

    Comes from `Model.compile`, from a file, from its text form, or from `waferloom.build`.
    """

    def __init__(self, core: _waferloom.Program) -> None:
        self._core = core

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Program:
        """Reads a file, compact or text."""
        return Program(_waferloom.Program.load(path))

    @staticmethod
    def from_text(text: str) -> Program:
        """Reads the text form; docs/program-format.md explains it."""
        return Program(_waferloom.Program.from_text(text))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it: as text when the path ends in .wlt, else in the compact form."""
        self._core.save(path)

    @property
    def name(self) -> str:
        """What it computes, for people."""
        return self._core.name

    @property
    def machine(self) -> Machine:
        """The machine it was made for."""
        return Machine(self._core.machine)

    @property
    def grid(self) -> tuple[int, int]:
        """Columns and rows of PEs."""
        return self._core.grid

    @property
    def items(self) -> int:
        """Inputs that one run works on; with more than one, its tensors have a leading dimension of that size."""
        return self._core.items

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """The tensors that it takes."""
        return {name: TensorSpec(tuple(shape), host, mesh) for name, shape, host, mesh in self._core.inputs}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """The tensors that it gives."""
        return {name: TensorSpec(tuple(shape), host, mesh) for name, shape, host, mesh in self._core.outputs}

    @property
    def text(self) -> str:
        """The text form."""
        return self._core.text

    @property
    def warnings(self) -> list[str]:
        """What the verifier cannot prove, a sentence each."""
        return self._core.warnings

    @property
    def explanation(self) -> str | None:
        """The compiler's decisions and why they were made; None of a program that was not compiled here."""
        explanation: str | None = self._core.origin["explanation"]
        return explanation

    @property
    def choices(self) -> str | None:
        """The planner's choices, to edit and give to `Model.compile` as its ``plan``."""
        choices: str | None = self._core.origin["choices"]
        return choices

    @property
    def tunables(self) -> dict[str, list[int] | list[str]]:
        """What the planner has chosen by estimates, and might choose otherwise; `waferloom.tune` searches these.

        ``stages``: the numbers that it has weighed. ``product NODE``: the kernels that can compute a product.
        """
        stages, products = self._core.origin["tunables"]
        tunables: dict[str, list[int] | list[str]] = {"stages": list(stages)} if stages else {}
        return tunables | {PRODUCT + node: list(kernels) for node, kernels in products}

    @property
    def report(self) -> dict[str, Any]:
        """The report of no run, as ``waferloom compile --json`` prints it: memory, operators."""
        report: dict[str, Any] = json.loads(self._core.report())
        return report

    def run(
        self,
        inputs: Mapping[str, Any] | None = None,
        *,
        engine: str = "stream",
        threads: int = 0,
        timing_only: bool = False,
        max_cycles: int | None = None,
        progress: Progress = False,
    ) -> Run:
        """Runs it; the options are those of ``waferloom simulate``.

        ``inputs``: arrays by name, float32 or int64; other types are converted, these are not even copied. Do not write to
        them meanwhile. With several items they are stacked on a new axis 0; a single item is repeated.
        ``engine``: wavelet, the reference, or stream, with the same outputs and nearly the same cycles.
        ``threads``: host threads; 0 lets the engine choose.
        ``timing_only``: no outputs, everything else is the same.
        ``max_cycles``: stop with an error after so many.
        ``progress``: True for a bar of tqdm's, or a function that takes the cycle at hand.
        """
        arrays = host_arrays(inputs or {})
        with told(progress, f"simulating {self.name}") as tell:
            return Run(self._core.run(arrays, engine, threads, timing_only, max_cycles, tell))

    def plot_placement(self, ax: Axes | None = None) -> Axes:
        """Draws which class each PE is of (needs matplotlib)."""
        from waferloom import plot

        names, classes = self._core.class_map
        return plot.placement(names, classes, self.grid, ax)

    def __repr__(self) -> str:
        width, height = self.grid
        return f"<Program {self.name}: {width}x{height} PEs of {self._core.machine['name']}>"

    def _repr_html_(self) -> str:
        return display.program(self)

    def __reduce__(self) -> tuple[object, ...]:
        return _unpickled, (self._core.to_bytes(), self._core.origin)


def _unpickled(compact: bytes, origin: dict[str, Any]) -> Program:
    return Program(_waferloom.Program.from_bytes(compact, origin))
