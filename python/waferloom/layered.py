"""Places for the nodes of a graph without cycles: layers from top to bottom, few crossings (Sugiyama et al., 1981).

Of our own since igraph 1.0's `layout_sugiyama` puts nodes on top of each other in 2 of the 12 reference models (cxr_change,
nucleotide_v1), and networkx has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Place = tuple[float, float]

_SWEEPS = 8
_WAY_WIDTH = 0.2


@dataclass(frozen=True)
class Layout:
    """Where nodes and ways are drawn: x to the right, y downwards, a layer a unit."""

    places: dict[int, Place]
    ways: list[list[Place]]
    """Points of each way from an operand to a user; where the user is not drawn, until the last layer."""
    layers: int
    drawn: int
    """How many of the layers."""

    @property
    def extent(self) -> tuple[float, float]:
        """Where the leftmost node begins and the rightmost one ends."""
        xs = [x for way in self.ways for x, _ in way] + [x for x, _ in self.places.values()]
        return min(xs, default=0.0) - 0.5, max(xs, default=0.0) + 0.5

    @staticmethod
    def of(operands: Mapping[int, Sequence[int]], most_layers: int) -> Layout:
        """Nodes behind their operands, with the first layers drawn."""
        layer: dict[int, int] = {}
        for node, from_nodes in operands.items():
            layer[node] = 1 + max((layer[operand] for operand in from_nodes), default=-1)
        count = 1 + max(layer.values(), default=-1)
        drawn = min(count, most_layers)
        rows: list[list[int]] = [[] for _ in range(drawn)]
        for node, row in layer.items():
            if row < drawn:
                rows[row].append(node)
        ways = _ways(operands, layer, rows)
        xs = _ordered(rows, ways, {node for node in layer})
        places = {node: (xs[node], float(layer[node])) for node in layer if node in xs}
        return Layout(places, [[(xs[point], row) for point, row in way] for way in ways], count, drawn)


def _ways(
    operands: Mapping[int, Sequence[int]], layer: Mapping[int, int], rows: list[list[int]]
) -> list[list[tuple[int, float]]]:
    """Ways as nodes with their layers; in layers that a way passes, points are added that take part in the order."""
    free = 1 + max(operands, default=0)
    ways = []
    for node, from_nodes in operands.items():
        for operand in dict.fromkeys(from_nodes):
            way = [(operand, float(layer[operand]))]
            for row in range(layer[operand] + 1, min(layer[node], len(rows))):
                rows[row].append(free)
                way.append((free, float(row)))
                free += 1
            if layer[node] < len(rows):
                way.append((node, float(layer[node])))
            if layer[operand] < len(rows):
                ways.append(way)
    return ways


def _ordered(rows: list[list[int]], ways: Iterable[list[tuple[int, float]]], nodes: set[int]) -> dict[int, float]:
    """The x of every node and point: each near the mean of those above it, then of those below, in turns."""
    above: dict[int, list[int]] = {}
    below: dict[int, list[int]] = {}
    for way in ways:
        for (upper, _), (lower, _) in zip(way, way[1:]):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    xs: dict[int, float] = {}
    for row in rows:
        _place(row, above, xs, nodes)
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            _place(row, above if sweep % 2 else below, xs, nodes)
    return xs


def _place(row: list[int], towards: Mapping[int, list[int]], xs: dict[int, float], nodes: set[int]) -> None:
    """Puts a layer's nodes side by side, as near as they may to where their neighbours draw them."""
    wanted = {node: _mean([xs[n] for n in towards.get(node, ()) if n in xs], xs.get(node, 0.0)) for node in row}
    row.sort(key=lambda node: wanted[node])
    edge, shift = None, 0.0
    for node in row:
        half = (1.0 if node in nodes else _WAY_WIDTH) / 2
        xs[node] = wanted[node] if edge is None else max(wanted[node], edge + half)
        edge = xs[node] + half
        shift += wanted[node] - xs[node]
    for node in row:
        xs[node] += shift / len(row)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
