"""Search over the tunables of a kernel or of the planner, by Optuna's samplers and storages."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from waferloom.catalog import kernels
from waferloom.errors import Error, InputError, KernelError
from waferloom.machine import machine_of
from waferloom.model import load
from waferloom.program import PRODUCT
from waferloom.store import point_key
from waferloom.sweeps import RUN_OPTIONS, run_point

if TYPE_CHECKING:
    import optuna

Values = tuple[int, int] | Sequence[int | str]
"""What a tunable may be: a range as a tuple of two integers, both included, or a list of values."""

Space = Mapping[str, Values]

STORAGE = "sqlite:///waferloom-tune.sqlite"
"""Where trials are kept unless somebody says otherwise."""

_MAXIMISED = ("utilisation", "items_per_second")
_LOG_RATIO = 16


@dataclass(frozen=True)
class Tuned:
    """What a search has found."""

    point: dict[str, Any]
    """The best point, for `run_point`: the tunables' values with everything that was fixed."""
    tunables: dict[str, int | str]
    """The values of the tunables alone; empty when nothing is better than the defaults."""
    value: float
    """The objective there."""
    default_value: float | None
    """The objective with the defaults; None where these cannot run."""
    study: optuna.Study
    """Optuna's study with all trials: ``study.trials_dataframe()``, ``optuna.visualization``."""

    @property
    def gain(self) -> float:
        """How much better than the defaults, as a share of these: 0.1 is a tenth fewer cycles."""
        return 0.0 if not self.default_value else abs(self.value - self.default_value) / self.default_value


def tune(
    what: str | os.PathLike[str],
    *,
    objective: str = "cycles",
    trials: int = 100,
    space: Space | None = None,
    constraint: Callable[[dict[str, Any]], bool] | None = None,
    sampler: optuna.samplers.BaseSampler | None = None,
    seed: int = 0,
    storage: str | optuna.storages.BaseStorage | None = STORAGE,
    study_name: str | None = None,
    progress: bool = False,
    **fixed: Any,
) -> Tuned:
    """Searches the tunables of a kernel (by its name) or of the planner for a model (by its file).

    ``fixed`` are the options of `run_point` that stay, sizes for one; a tunable among them is not searched. ``space``
    narrows tunables to ranges or lists. ``constraint`` takes the tunables' values and says whether they are allowed.
    ``objective``: a column of `run_point`, made small (utilisation and items_per_second: large).

    A point that the kernel or the compiler refuses, for lack of SRAM or colours for one, is pruned before anything is
    simulated. Trials are kept in ``storage`` (a file by default, a database for workers on many machines, None for memory)
    under ``study_name``: a search that was interrupted goes on, up to ``trials`` in all. The same call on an empty storage
    gives the same trials: ``seed`` is the sampler's, a TPE unless ``sampler`` is another.
    """
    import optuna

    base = _base(what, fixed)
    searched = _searched(base, space or {})
    if not searched:
        raise InputError(f"nothing of {what} is left to search", "fix fewer of its tunables")
    name = study_name or _study_name(base, searched, objective)
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        direction="maximize" if objective in _MAXIMISED else "minimize",
        load_if_exists=True,
    )
    done = len(study.get_trials(deepcopy=False, states=[s for s in optuna.trial.TrialState if s.is_finished()]))
    # Trials that go on must not be those of the beginning once more.
    study.sampler = sampler or optuna.samplers.TPESampler(seed=seed + done)
    default = _value(base, objective)

    def attempt(trial: optuna.Trial) -> float:
        values = {name: _suggest(trial, name, values) for name, values in searched.items()}
        return _trial(study, trial, base, values, objective, constraint)

    study.optimize(attempt, n_trials=max(0, trials - done), show_progress_bar=progress)
    return _best(study, base, default)


def _base(what: str | os.PathLike[str], fixed: dict[str, Any]) -> dict[str, Any]:
    """The point with the defaults."""
    name = os.fspath(what)
    if name in kernels():
        parameters = [parameter.name for parameter in kernels()[name].parameters]
        for given in fixed:
            if given not in (*parameters, *RUN_OPTIONS, "machine"):
                raise KernelError(f"the kernel `{name}` has no parameter `{given}`", f"give one of {', '.join(parameters)}")
        return {"engine": "stream"} | fixed | {"kernel": name}
    if not name.lower().endswith(".onnx"):
        raise InputError(f"there is no kernel `{name}`", f"give the path of a model (.onnx), or one of {', '.join(kernels())}")
    return {"engine": "stream"} | fixed | {"model": name}


def _searched(base: dict[str, Any], space: Space) -> dict[str, Values]:
    """The tunables that are not fixed, with their ranges."""
    declared = _kernel_tunables(base) if "kernel" in base else _planner_tunables(base)
    for name in space:
        if name not in declared:
            raise InputError(f"there is no tunable `{name}` to search", f"give one of {', '.join(declared)}")
    return {name: space.get(name, values) for name, values in declared.items()}


def _kernel_tunables(base: dict[str, Any]) -> dict[str, Values]:
    fabric = machine_of(base.get("machine", "wse2")).fabric
    most = max(fabric["width"], fabric["height"])
    tunables: dict[str, Values] = {}
    for parameter in kernels()[base["kernel"]].parameters:
        if parameter.tunable and parameter.name not in base:
            if parameter.choices is not None:
                tunables[parameter.name] = parameter.choices
            elif parameter.range is not None:
                tunables[parameter.name] = (parameter.range[0], min(parameter.range[1], most))
    return tunables


def _planner_tunables(base: dict[str, Any]) -> dict[str, Values]:
    options = {name: value for name, value in base.items() if name not in (*RUN_OPTIONS, "model", "inputs")}
    program = load(base["model"]).compile(**options)
    return {name: values for name, values in program.tunables.items() if name not in base}


def _suggest(trial: optuna.Trial, name: str, values: Values) -> int | str:
    """A value of the sampler's: large ranges by orders of magnitude."""
    if isinstance(values, tuple) and len(values) == 2 and all(isinstance(value, int) for value in values):
        low, high = int(values[0]), int(values[1])
        log = low > 0 and high // low >= _LOG_RATIO
        return trial.suggest_int(name, low, high, log=log)
    # Categories come back as they were given, whatever the signature allows beside.
    return cast("int | str", trial.suggest_categorical(name, list(values)))


def _trial(
    study: optuna.Study,
    trial: optuna.Trial,
    base: dict[str, Any],
    values: dict[str, int | str],
    objective: str,
    constraint: Callable[[dict[str, Any]], bool] | None,
) -> float:
    import optuna

    if constraint is not None and not constraint(dict(values)):
        raise optuna.TrialPruned("the constraint does not allow it")
    states = [optuna.trial.TrialState.COMPLETE]
    for known in study.get_trials(deepcopy=False, states=states):
        if known.params == trial.params and known.value is not None:
            return known.value
    try:
        return float(run_point(_point(base, values))[objective])
    except Error as error:
        trial.set_user_attr("error", error.message)
        raise optuna.TrialPruned(error.message) from error


def _point(base: dict[str, Any], values: Mapping[str, int | str]) -> dict[str, Any]:
    """The base with the tunables' values; a product's is a choice in the plan."""
    products = {name.removeprefix(PRODUCT): value for name, value in values.items() if name.startswith(PRODUCT)}
    point = base | {name: value for name, value in values.items() if not name.startswith(PRODUCT)}
    if products:
        chosen = [f"(node: {json.dumps(node, ensure_ascii=False)}, algorithm: {a})" for node, a in products.items()]
        point["plan"] = f"(products: [{', '.join(chosen)}])"
    return point


def _value(point: dict[str, Any], objective: str) -> float | None:
    """The objective with the defaults."""
    try:
        row = run_point(point)
    except InputError:
        raise
    except Error:
        return None
    if objective not in row:
        raise InputError(f"a run has no `{objective}`", f"give one of {', '.join(row)}")
    return float(row[objective])


def _study_name(base: dict[str, Any], searched: dict[str, Values], objective: str) -> str:
    """A name that only the same search has."""
    text = json.dumps([point_key(base), {name: list(values) for name, values in searched.items()}, objective])
    what = os.path.basename(str(base.get("kernel", base.get("model"))))
    return f"{what} {objective} {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _best(study: optuna.Study, base: dict[str, Any], default: float | None) -> Tuned:
    import optuna

    complete = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    if not complete and default is None:
        raise InputError("nothing that was tried can run", "search a larger space, or fix smaller sizes")
    sign = 1.0 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1.0
    if complete and (default is None or sign * study.best_value < sign * default):
        return Tuned(_point(base, study.best_params), study.best_params, study.best_value, default, study)
    assert default is not None
    return Tuned(base, {}, default, default, study)
