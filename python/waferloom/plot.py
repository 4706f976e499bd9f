"""Static pictures with matplotlib; each function draws into axes and gives them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from waferloom.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from waferloom.run import Run

_MOST_LABELS = 40


def placement(names: Sequence[str], classes: Sequence[int], grid: tuple[int, int], ax: Axes | None = None) -> Axes:
    """The class of each PE; white where PEs only route."""
    import matplotlib as mpl
    from matplotlib.patches import Patch

    ax = _axes(ax)
    width, height = grid
    colours = mpl.colormaps["tab20"]
    image = np.ones((height, width, 3))
    index = np.asarray(classes).reshape(height, width)
    for number in range(len(names)):
        image[index == number] = colours(number % colours.N)[:3]
    ax.imshow(image, interpolation="nearest")
    used = [number for number in range(len(names)) if (index == number).any()]
    patches = [Patch(color=colours(number % colours.N), label=names[number]) for number in used]
    if patches:
        ax.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False)
    return _mesh(ax, "classes of PEs")


def utilisation(run: Run, counter: str = "busy", ax: Axes | None = None) -> Axes:
    """The share of the cycles that each PE spent in a counter, as a heat map."""
    counters = run.counters
    if counter not in counters:
        raise InputError(f"there is no counter `{counter}`", f"give one of {', '.join(counters)}")
    ax = _axes(ax)
    image = ax.imshow(counters[counter] / max(run.cycles, 1), vmin=0.0, vmax=1.0, interpolation="nearest")
    _figure(ax).colorbar(image, ax=ax, label=f"{counter.replace('_', ' ')}, share of {run.cycles:,} cycles")
    return _mesh(ax, "utilisation")


def timeline(run: Run, ax: Axes | None = None) -> Axes:
    """When each operator ran, from its first cycle on any PE to its last."""
    import matplotlib as mpl

    ax = _axes(ax)
    spans = run.timeline
    kinds = sorted({kind for _, kind, _, _ in spans})
    colours = mpl.colormaps["tab20"]
    for row, (_, kind, start, end) in enumerate(spans):
        first = kind not in ax.get_legend_handles_labels()[1]
        colour = colours(kinds.index(kind) % colours.N)
        ax.barh(row, end - start, left=start, color=colour, label=kind if first else None)
    if len(spans) <= _MOST_LABELS:
        ax.set_yticks(range(len(spans)), [name for name, _, _, _ in spans])
    ax.invert_yaxis()
    ax.set_xlabel("cycle")
    ax.set_ylabel("operator")
    ax.set_title("timeline")
    if kinds:
        ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False)
    return ax


def _mesh(ax: Axes, title: str) -> Axes:
    ax.set_xlabel("column")
    ax.set_ylabel("row")
    ax.set_title(title)
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'waferloom[plot]'") from error
    return pyplot.subplots(layout="constrained")[1]


def _figure(ax: Axes) -> Figure | SubFigure:
    figure = ax.get_figure()
    assert figure is not None
    return figure
