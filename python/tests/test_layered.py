"""Places of the nodes of a graph."""

from itertools import pairwise

import pytest

from waferloom.layered import Layout


def test_a_chain_is_a_column() -> None:
    layout = Layout.of({0: [], 1: [0], 2: [1]}, 10)
    assert [layout.places[node] for node in range(3)] == [(0.0, 0.0), (0.0, 1.0), (0.0, 2.0)]
    assert layout.ways == [[(0.0, 0.0), (0.0, 1.0)], [(0.0, 1.0), (0.0, 2.0)]]
    assert (layout.layers, layout.drawn, layout.extent) == (3, 3, (-0.5, 0.5))


def test_a_way_past_a_layer_has_its_own_place_there() -> None:
    # 0 goes to 2 past 1: in layer 1 there is a node and a point, side by side.
    layout = Layout.of({0: [], 1: [0], 2: [0, 1]}, 10)
    (long,) = [way for way in layout.ways if len(way) == 3]
    assert long[0] == layout.places[0] and long[2] == layout.places[2] and long[1][1] == 1.0
    assert abs(long[1][0] - layout.places[1][0]) >= 0.6 - 1e-9


def test_layers_that_are_left_out_leave_ways_open() -> None:
    layout = Layout.of({0: [], 1: [0], 2: [1], 3: [0]}, 2)
    assert (layout.layers, layout.drawn) == (3, 2)
    assert sorted(layout.places) == [0, 1, 3]
    assert len(layout.ways) == 3 and sorted(map(len, layout.ways)) == [1, 2, 2]


def test_nothing_is_laid_out() -> None:
    assert Layout.of({}, 5).places == {} and Layout.of({}, 5).extent == (-0.5, 0.5)


@pytest.mark.parametrize("seed", range(20))
def test_nodes_do_not_meet_and_users_are_below(seed: int) -> None:
    operands = {node: sorted({(node * 7 + seed * k) % node for k in range(1, 3)}) if node else [] for node in range(40)}
    layout = Layout.of(operands, 100)
    for node, from_nodes in operands.items():
        assert all(layout.places[operand][1] < layout.places[node][1] for operand in from_nodes)
    rows: dict[float, list[float]] = {}
    for x, y in layout.places.values():
        rows.setdefault(y, []).append(x)
    assert all(right - left >= 1 - 1e-9 for row in rows.values() for left, right in pairwise(sorted(row)))
