"""Distributed kernels on their own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any

from waferloom import _waferloom, display
from waferloom.machine import Machine, machine_of
from waferloom.progress import Progress, told


@dataclass(frozen=True)
class Parameter:
    """A parameter of a kernel."""

    name: str
    what: str
    """What it is, with its unit."""
    default: str
    range: tuple[int, int] | None
    """The smallest and the largest value of an integer."""
    choices: tuple[str, ...] | None
    """The words that it may be."""
    tunable: bool
    """Whether it says how, not what, is computed."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that runs on its own."""

    name: str
    summary: str
    """What it computes, and where its algorithms come from."""
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class KernelRun:
    """What a run of a kernel gave."""

    kernel: str
    settings: dict[str, str]
    """All its parameters, those that were not set with their defaults."""
    algorithm: str
    """The algorithm that ran."""
    cycles: int
    estimate_cycles: int
    """Cycles by the kernel's closed form (docs/cost-model.md)."""
    max_abs_error: float | None
    """Largest difference from the reference in double precision; None of a run for the time alone."""
    max_rel_error: float | None
    """The same over the largest element of the result."""
    report: dict[str, Any] = field(repr=False)
    """Everything else; docs/report.md explains each field."""

    @property
    def utilisation(self) -> float:
        """Share of all PE-cycles in which datapaths were busy."""
        busy: float = self.report["utilisation"]["busy"]
        return busy

    def _repr_html_(self) -> str:
        return display.kernel(self)


@dataclass(frozen=True)
class Estimate:
    """What a kernel would take."""

    algorithm: str
    """The algorithm that would run."""
    cycles: int
    """Cycles by the kernel's closed form (docs/cost-model.md)."""


def kernels() -> dict[str, Kernel]:
    """All kernels by name."""
    all_kernels = {}
    for name, summary, parameters in _waferloom.kernels():
        of = tuple(
            Parameter(name, what, default, range, None if words is None else tuple(words), tunable)
            for name, what, default, range, words, tunable in parameters
        )
        all_kernels[name] = Kernel(name, summary, of)
    return all_kernels


def kernel(
    name: str,
    /,
    *,
    machine: Machine | str | os.PathLike[str] = "wse2",
    engine: str = "stream",
    threads: int = 0,
    timing_only: bool = False,
    max_cycles: int | None = None,
    progress: Progress = False,
    **settings: int | str,
) -> KernelRun:
    """Runs one kernel; ``settings`` are its parameters (see `kernels`), the other options those of `Program.run`.

    >>> wl.kernel("gemm", p=8, m=64, k=64, n=64).cycles
    """
    given = [(key, str(value)) for key, value in settings.items()]
    with told(progress, f"simulating {name}") as tell:
        measured = _waferloom.kernel(
            name, given, machine_of(machine).fields, engine, threads, timing_only, max_cycles, tell
        )
    return KernelRun(**json.loads(measured))


def estimate(
    name: str, /, *, machine: Machine | str | os.PathLike[str] = "wse2", **settings: int | str
) -> Estimate:
    """What one kernel would take, without a simulation; refuses what `kernel` refuses to build.

    >>> wl.estimate("gemm", p=64, m=512, k=512, n=512).cycles
    """
    given = [(key, str(value)) for key, value in settings.items()]
    return Estimate(*_waferloom.estimate(name, given, machine_of(machine).fields))
