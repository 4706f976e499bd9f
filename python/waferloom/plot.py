"""Static pictures with matplotlib; each function draws into axes and gives them back.

Colours are those of Okabe and Ito, which people with any kind of colour vision tell apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from waferloom.errors import InputError
from waferloom.layered import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from waferloom.model import Node
    from waferloom.run import Run

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Blue, orange, green, purple, light blue, red, yellow."""

GREY = "#999999"
"""For everything else."""

_MOST_LABELS = 40
_MOST_LEGEND = 16
_INCHES_A_LABEL = 0.19
_GROUPS = {
    "input": ("input",),
    "product": ("matmul", "conv"),
    "row operation": ("softmax", "normalize", "reduce_sum", "reduce_max", "reduce_min"),
    "look-up": ("gather",),
    "movement": ("reshape", "permute", "slice", "concat", "broadcast"),
}


def placement(names: Sequence[str], classes: Sequence[int], grid: tuple[int, int], ax: Axes | None = None) -> Axes:
    """The class of each PE; white where PEs only route."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    ax = _axes(ax)
    width, height = grid
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(names))]
    image = np.ones((height, width, 3))
    index = np.asarray(classes).reshape(height, width)
    for number, colour in enumerate(colours):
        image[index == number] = to_rgb(colour)
    ax.imshow(image, interpolation="nearest")
    counts = Counter(index[index >= 0].tolist())
    patches = [Patch(color=colours[number], label=f"{names[number]}: {counts[number]:,} PEs") for number in sorted(counts)]
    if len(patches) > _MOST_LEGEND:
        rest = len(patches) - _MOST_LEGEND
        patches = [*patches[:_MOST_LEGEND], Patch(color="none", label=f"and {rest} more")]
    if patches:
        _legend(ax, patches)
    return _mesh(ax, "classes of PEs")


def utilisation(run: Run, counter: str = "busy", ax: Axes | None = None) -> Axes:
    """The share of the cycles that each PE spent in a counter, as a heat map."""
    counters = run.counters
    if counter not in counters:
        raise InputError(f"there is no counter `{counter}`", f"give one of {', '.join(counters)}")
    ax = _axes(ax)
    share = counters[counter] / max(run.cycles, 1)
    image = ax.imshow(share, vmin=0.0, vmax=1.0, interpolation="nearest")
    name = counter.replace("_", " ")
    # As high as the picture, whatever its shape.
    side = ax.inset_axes((1.03, 0.0, 0.04, 1.0))
    _figure(ax).colorbar(image, cax=side, label=f"{name}, share of {run.cycles:,} cycles")
    return _mesh(ax, f"{name}: {share.mean():.1%} of all PE-cycles")


def timeline(run: Run, ax: Axes | None = None) -> Axes:
    """When each operator ran, from its first cycle on any PE to its last."""
    from matplotlib.patches import Patch
    from matplotlib.ticker import StrMethodFormatter

    spans = run.timeline
    labelled = len(spans) <= _MOST_LABELS
    ax = _axes(ax, (8.0, max(4.0, _INCHES_A_LABEL * len(spans) + 1.0) if labelled else 6.0))
    colours = _by_weight([(kind, end - start) for _, kind, start, end in spans])
    for row, (_, kind, start, end) in enumerate(spans):
        # A line of its own width keeps operators visible that are shorter than a pixel.
        colour = colours.get(kind, GREY)
        ax.barh(row, end - start, left=start, color=colour, edgecolor=colour, linewidth=0.5)
    if labelled:
        ax.set_yticks(range(len(spans)), [name for name, _, _, _ in spans], fontsize="small")
    ax.invert_yaxis()
    ax.set_xlim(0, max(run.cycles, 1))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.set_xlabel("cycle")
    ax.set_ylabel("operator" if labelled else "operator, in the program's order")
    ax.set_title(f"timeline of {run.cycles:,} cycles")
    patches = [Patch(color=colour, label=kind) for kind, colour in colours.items()]
    if any(kind not in colours for _, kind, _, _ in spans):
        patches.append(Patch(color=GREY, label="other"))
    if patches:
        _legend(ax, patches)
    return ax


def graph(nodes: Sequence[Node], most_layers: int = 80, ax: Axes | None = None) -> Axes:
    """Operators as boxes, their operands above them; constants are left out."""
    from matplotlib.patches import Patch
    from matplotlib.path import Path
    from matplotlib.patches import PathPatch

    kept = {number: node for number, node in enumerate(nodes) if node.kind != "constant"}
    layout = Layout.of({number: [o for o in node.operands if o in kept] for number, node in kept.items()}, most_layers)
    left, right = layout.extent
    ax = _axes(ax, (max(4.0, 1.25 * (right - left) + 1.8), 0.32 * layout.drawn + 0.8))
    for way in layout.ways:
        points, codes = [way[0]], [Path.MOVETO]
        for (x0, y0), (x1, y1) in zip(way, way[1:]):
            middle = (y0 + y1) / 2
            points += [(x0, middle), (x1, middle), (x1, y1)]
            codes += [Path.CURVE4] * 3
        ax.add_patch(PathPatch(Path(points, codes), fill=False, edgecolor=GREY, linewidth=0.8))
    colours = dict(zip(_GROUPS, COLOURS))
    group_of = {kind: group for group, kinds in _GROUPS.items() for kind in kinds}
    used: dict[str, str] = {}
    for number, (x, y) in layout.places.items():
        group = group_of.get(kept[number].kind, "element-wise")
        colour = used.setdefault(group, colours.get(group, GREY))
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colour, "linewidth": 1.4}
        ax.text(x, y, _described(kept[number]), ha="center", va="center", fontsize=7, bbox=box)
    ax.set_xlim(left - 0.2, right + 0.2)
    ax.set_ylim(layout.drawn - 0.3, -0.7)
    ax.axis("off")
    part = "" if layout.drawn == layout.layers else f", the first {layout.drawn} of {layout.layers} layers"
    ax.set_title(f"{len(kept):,} operators{part}")
    _legend(ax, [Patch(facecolor="white", edgecolor=colour, label=group) for group, colour in used.items()])
    return ax


def _described(node: Node) -> str:
    return f"{node.name if node.kind == 'input' else node.kind} {'×'.join(map(str, node.shape))}"


def _by_weight(weights: Sequence[tuple[str, int]]) -> dict[str, str]:
    """A colour for each of the kinds that weigh most, these first."""
    total: Counter[str] = Counter()
    for kind, weight in weights:
        total[kind] += weight
    return dict(zip((kind for kind, _ in total.most_common(len(COLOURS))), COLOURS))


def _legend(ax: Axes, patches: Sequence[object]) -> None:
    ax.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize="small")


def _mesh(ax: Axes, title: str) -> Axes:
    from matplotlib.ticker import MaxNLocator

    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    ax.set_xlabel("column")
    ax.set_ylabel("row")
    ax.set_title(title)
    return ax


def _axes(ax: Axes | None, size: tuple[float, float] | None = None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'waferloom[plot]'") from error
    return pyplot.subplots(layout="constrained", figsize=size)[1]


def _figure(ax: Axes) -> Figure | SubFigure:
    figure = ax.get_figure()
    assert figure is not None
    return figure
