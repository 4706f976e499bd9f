"""What notebooks show of models, programs and runs: small tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html import escape
from math import prod
from typing import TYPE_CHECKING, Any

from waferloom.errors import OpenDimensionsError

if TYPE_CHECKING:
    from waferloom.catalog import KernelRun
    from waferloom.model import Model
    from waferloom.program import Program
    from waferloom.run import Run

_MOST_OPERATORS = 8


def model(model: Model) -> str:
    """A model: its tensors, weights and operators; only its file while dimensions are open."""
    try:
        nodes = model.nodes
    except OpenDimensionsError as error:
        return _titled(f"model {model.path}", _pairs([("open", error.message)]))
    tensors = [
        (way, f"{name}: {spec.dtype} {list(spec.shape)}")
        for way, specs in (("input", model.inputs), ("output", model.outputs))
        for name, spec in specs.items()
    ]
    weights = sum(prod(node.shape) for node in nodes if node.kind == "constant")
    counts = Counter(node.kind for node in nodes if node.kind not in ("constant", "input"))
    operators = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    facts = [*tensors, ("constants", f"{weights:,} elements"), ("operators", operators)]
    return _titled(f"model {model.name}", _pairs(facts))


def program(program: Program) -> str:
    """A program: its grid, tensors and memory."""
    report = program.report
    tensors = [
        (way, f"{name}: {spec.dtype} {list(spec.shape)} ({spec.mesh_dtype} on the mesh)")
        for way, specs in (("input", program.inputs), ("output", program.outputs))
        for name, spec in specs.items()
    ]
    facts = [("grid", _grid(report)), *tensors, ("items", str(program.items)), ("SRAM", _sram(report))]
    return _titled(f"program {program.name}", _pairs(facts))


def run(run: Run) -> str:
    """A run: its time, what bounds it, and the operators that took most."""
    report = run.report
    rate = report["throughput"]
    facts = [
        ("grid", _grid(report)),
        ("engine", report["engine"]),
        ("time", f"{report['seconds'] * 1e6:,.1f} µs ({report['cycles']:,} cycles)"),
        ("throughput", f"{rate['items_per_second']:,.0f} {rate['unit']}/s"),
        ("bound by", report["bound_by"].replace("_", " ")),
        ("PE-cycles", _shares(report["utilisation"])),
        ("SRAM", _sram(report)),
    ]
    heaviest = sorted(report["operators"], key=lambda o: -o["cycles"])[:_MOST_OPERATORS]
    rows = [(o["name"], o["kind"], f"{o['cycles']:,}", f"{o['utilisation']:.1%}") for o in heaviest]
    operators = _table(("heaviest operators", "kind", "cycles", "busy"), rows) if rows else ""
    return _titled(f"run of {report['model']}", _pairs(facts) + operators)


def kernel(run: KernelRun) -> str:
    """A kernel's run: its settings, cycles and error."""
    off = run.estimate_cycles / max(run.cycles, 1) - 1
    error = "unknown" if run.max_abs_error is None else f"{run.max_abs_error:.1e} absolute, {run.max_rel_error:.1e} relative"
    facts = [
        ("grid", _grid(run.report)),
        ("settings", ", ".join(f"{name}={value}" for name, value in run.settings.items())),
        ("cycles", f"{run.cycles:,} (estimate {run.estimate_cycles:,}, {off:+.1%})"),
        ("PE-cycles", _shares(run.report["utilisation"])),
        ("error", error),
    ]
    return _titled(f"{run.kernel} ({run.algorithm})", _pairs(facts))


def _grid(report: dict[str, Any]) -> str:
    return f"{report['grid']['width']}x{report['grid']['height']} PEs of {report['machine']}, {report['dtype']}"


def _sram(report: dict[str, Any]) -> str:
    peak, capacity = report["sram"]["peak_bytes"], report["sram"]["capacity_bytes"]
    return f"peak {peak / 1024:.1f} of {capacity / 1024:.1f} KiB ({peak / capacity:.1%})"


def _shares(utilisation: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in utilisation.items())


def _pairs(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    return f"<table>{rows}</table>"


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heading)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _titled(title: str, body: str) -> str:
    return f"<div><strong>{escape(title)}</strong>{body}</div>"
