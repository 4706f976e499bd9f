"""Many runs at once: points in, a table out. Any executor of `concurrent.futures`' kind does the work."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from waferloom.errors import Error, InputError
from waferloom.catalog import kernel
from waferloom.machine import Machine
from waferloom.model import load
from waferloom.store import open_store, point_key

if TYPE_CHECKING:
    import pandas as pd

Point = Mapping[str, Any]
"""Options of one run by name: those of `waferloom.kernel` with a ``kernel``, or of `run_point` with a ``model``."""

Result = Mapping[str, Any]
"""What one run gave, by column."""

RUN_OPTIONS = ("engine", "threads", "timing_only", "max_cycles")


def points(**values: Any) -> list[dict[str, Any]]:
    """Every combination: lists are swept, the last one fastest, anything else is fixed.

    >>> wl.points(kernel="reduce", p=[4, 8], algorithm=["chain", "tree"], elements=64)
    """
    lists = [value if isinstance(value, list | range) else [value] for value in values.values()]
    return [dict(zip(values, combination, strict=True)) for combination in itertools.product(*lists)]


def run_point(point: Point) -> dict[str, Any]:
    """Runs a kernel or a model, and gives one row of numbers.

    A kernel's point holds the options and settings of `waferloom.kernel` beside its name as ``kernel``. A model's holds its
    path as ``model``, the options of `Model.compile` and `Program.run`, and as ``inputs`` an npz file; without one all
    inputs are 0, which changes no time where the program does not branch on them.
    """
    if ("kernel" in point) == ("model" in point):
        raise InputError("a point is of a kernel or of a model", "give it one of the two")
    rest = {name: value for name, value in point.items() if name not in ("kernel", "model")}
    return _kernel(point["kernel"], rest) if "kernel" in point else _model(point["model"], rest)


def _kernel(name: str, options: dict[str, Any]) -> dict[str, Any]:
    run = kernel(name, **options)
    return {
        "algorithm": run.algorithm,
        "cycles": run.cycles,
        "estimate_cycles": run.estimate_cycles,
        "max_abs_error": run.max_abs_error,
        "max_rel_error": run.max_rel_error,
        **_common(run.report),
    }


def _model(path: str | os.PathLike[str], options: dict[str, Any]) -> dict[str, Any]:
    how = {name: options.pop(name) for name in RUN_OPTIONS if name in options}
    given = options.pop("inputs", None)
    arrays = {} if given is None else dict(np.load(given))
    shapes = {name: array.shape for name, array in arrays.items()} | options.pop("shapes", {})
    program = load(path).compile(shapes=shapes, **options)
    if given is None:
        arrays = {name: np.zeros(spec.shape, spec.dtype) for name, spec in program.inputs.items()}
    run = program.run(arrays, **how)
    report = run.report
    return {
        "cycles": run.cycles,
        "items_per_second": report["throughput"]["items_per_second"],
        "bound_by": report["bound_by"],
        **_common(report),
    }


def _common(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "seconds": report["seconds"],
        "flops": report["flops"]["total"],
        "utilisation": report["utilisation"]["busy"],
        "peak_link": report["links"]["peak_load"],
        "sram_bytes": report["sram"]["peak_bytes"],
    }


def sweep(
    points: Iterable[Point],
    *,
    run: Callable[[Point], Result] = run_point,
    executor: Executor | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Runs every point, and gives a table with a row for each, in the order of the points.

    A point that fails is a row with its ``error``. ``executor`` is anything like `concurrent.futures.Executor`: a pool of
    processes by default, ``client.get_executor()`` of Dask, ``mpi4py.futures.MPIPoolExecutor()``. With a ``store`` (a file
    that ends in .parquet, .sqlite or .db) rows are kept as they come, and points that it has already do not run again; those
    whose worker died do. ``run`` turns a point into its row's columns; it must be a function that workers can import.
    ``progress`` shows a bar of tqdm's.
    """
    import pandas as pd

    listed = list(points)
    wanted = {point_key(point): dict(point) for point in listed}
    with open_store(store) as kept, ExitStack() as stack:
        rows = {key: row for key, row in kept.rows().items() if key in wanted}
        missing = {key: point for key, point in wanted.items() if key not in rows}
        if missing:
            pool = executor or stack.enter_context(_processes(len(missing)))
            for key, row, is_final in _finished(pool, run, missing, progress):
                rows[key] = row
                if is_final:
                    kept.add(key, row)
    return pd.DataFrame([plain(point) | {"error": None} | rows[point_key(point)] for point in listed])


def plain(point: Point) -> dict[str, Any]:
    """A point as columns of a table: machines by name, grids as 16x16."""

    def column(value: Any) -> Any:
        if isinstance(value, Machine):
            return value.name
        if isinstance(value, tuple):
            return "x".join(map(str, value))
        return value if isinstance(value, int | float | str | bool | None) else str(value)

    return {name: column(value) for name, value in point.items()}


def _processes(points: int) -> ProcessPoolExecutor:
    """A process a processor. They are started anew: a forked process would inherit locks of threads that it does not have."""
    return ProcessPoolExecutor(min(os.cpu_count() or 1, points), mp_context=multiprocessing.get_context("spawn"))


def _finished(
    pool: Executor, run: Callable[[Point], Result], points: dict[str, dict[str, Any]], progress: bool
) -> Iterable[tuple[str, dict[str, Any], bool]]:
    """Rows as they come, each with its key and whether running the point again would give the same."""
    futures: dict[Future[dict[str, Any]], str] = {pool.submit(_guarded, run, point): key for key, point in points.items()}
    try:
        for future in _shown(as_completed(futures), len(futures), progress):
            try:
                yield futures[future], future.result(), True
            except Exception as error:  # whatever kills a worker must not kill the sweep
                yield futures[future], {"error": f"the worker died: {error!r}"}, False
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _guarded(run: Callable[[Point], Result], point: Point) -> dict[str, Any]:
    """What a worker does."""
    try:
        return dict(run(point))
    except Error as error:
        return {"error": error.message}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _shown(futures: Iterable[Any], total: int, progress: bool) -> Iterable[Any]:
    if not progress:
        return futures
    from tqdm.auto import tqdm

    return tqdm(futures, total=total, unit=" points")
