"""Runs: what a program gave, and where its time went."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from waferloom import _waferloom, display
from waferloom.arrays import HostArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Run:
    """What a run of a program gave."""

    def __init__(self, core: _waferloom.Run) -> None:
        self._core = core
        self._report: dict[str, Any] | None = None
        if core.leftover_wavelets > 0:
            warnings.warn(
                f"{core.leftover_wavelets} wavelets were left over that nobody took: a sign of a mistake in the program",
                stacklevel=3,
            )

    @property
    def outputs(self) -> dict[str, HostArray]:
        """The tensors that it gave; none of a run for the time alone. Stacked items stay stacked."""
        outputs: dict[str, HostArray] = self._core.outputs
        return outputs

    @property
    def cycles(self) -> int:
        """Cycles until everything was done."""
        return self._core.cycles

    @property
    def seconds(self) -> float:
        """The same in seconds of the machine."""
        seconds: float = self.report["seconds"]
        return seconds

    @property
    def report(self) -> dict[str, Any]:
        """Everything about it, as ``waferloom run --json`` prints it; docs/report.md explains each field."""
        if self._report is None:
            self._report = json.loads(self._core.report(False))
        return self._report

    def per_pe_report(self) -> dict[str, Any]:
        """The report with every PE, as ``--per-pe`` gives it."""
        report: dict[str, Any] = json.loads(self._core.report(True))
        return report

    @property
    def counters(self) -> dict[str, NDArray[np.uint64]]:
        """Where each PE's cycles went: an array of rows and columns for busy, fabric_in, fabric_out, memory and idle."""
        counters: dict[str, NDArray[np.uint64]] = self._core.counters
        return counters

    @property
    def timeline(self) -> list[tuple[str, str, int, int]]:
        """Name, kind, first and last cycle of each operator, in the program's order."""
        return self._core.timeline

    def plot_utilisation(self, counter: str = "busy", ax: Axes | None = None) -> Axes:
        """Draws the share of the cycles that each PE spent ``busy`` (or in another counter; needs matplotlib)."""
        from waferloom import plot

        return plot.utilisation(self, counter, ax)

    def plot_timeline(self, ax: Axes | None = None) -> Axes:
        """Draws when each operator ran (needs matplotlib)."""
        from waferloom import plot

        return plot.timeline(self, ax)

    def __repr__(self) -> str:
        return f"<Run of {self.report['model']}: {self.cycles} cycles>"

    def _repr_html_(self) -> str:
        return display.run(self)
