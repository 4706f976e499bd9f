"""The builder of programs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from waferloom import _waferloom
from waferloom.build.classes import PeClass
from waferloom.build.values import Buffer, Fields, Operator, Param, choice, dtype_fields, region_fields
from waferloom.errors import InputError
from waferloom.machine import Machine, machine_of
from waferloom.program import Program

_DIRECTIONS = {name.upper(): name for name in "West East North South Ramp".split()}
_BITS = {name: 1 << bit for bit, name in enumerate(_DIRECTIONS)}
_HOST_TYPES: dict[str, type[np.generic]] = {"f32": np.float32, "f16": np.float16, "i32": np.int32, "u16": np.uint16}

Deal = int | tuple[int, int]
"""A dimension dealt to columns or rows: in equal blocks, or in blocks of a size."""


class Builder:
    """Builds a `Program`; see `waferloom.build` for an example."""

    def __init__(
        self, name: str, *, machine: Machine | str | os.PathLike[str] = "wse2", grid: tuple[int, int], items: int = 1
    ) -> None:
        self.name = name
        self.grid = grid
        self._machine, self._items = machine_of(machine), items
        self._params: list[Fields] = []
        self._classes: list[PeClass] = []
        self._placements: list[Fields] = []
        self._routes: list[Fields] = []
        self._constants: list[Fields] = []
        self._ports: list[Fields] = []
        self._readbacks: list[Fields] = []
        self._operators: list[Fields] = []

    def build(self) -> Program:
        """The program, after the verifier has found no error in it."""
        fields: dict[str, Any] = {
            "name": self.name,
            "machine": self._machine.fields,
            "grid": _extent(self.grid),
            "items": self._items,
            "params": self._params,
            "classes": [pe_class.fields for pe_class in self._classes],
            "placements": self._placements,
            "routes": self._routes,
            "constants": self._constants,
            "ports": self._ports,
            "readbacks": self._readbacks,
            "operators": self._operators,
        }
        return Program(_waferloom.Program.from_fields(fields))

    def param(
        self,
        name: str,
        *,
        columns: Sequence[int] | None = None,
        rows: Sequence[int] | None = None,
        pes: Sequence[int] | None = None,
    ) -> Param:
        """A number that differs from PE to PE: one value a column, a row, or a PE row by row."""
        given = [(kind, v) for kind, v in (("ByColumn", columns), ("ByRow", rows), ("PerPe", pes)) if v is not None]
        if len(given) != 1:
            raise InputError(f"the parameter `{name}` has {len(given)} lists of values", "give columns, rows or pes")
        kind, values = given[0]
        self._params.append({"name": name, "values": {kind: [int(value) for value in values]}})
        return Param(len(self._params) - 1, name)

    def pe_class(self, name: str) -> PeClass:
        """A class of PEs."""
        self._classes.append(PeClass(len(self._classes), name))
        return self._classes[-1]

    def place(
        self, pe_class: PeClass, *, at: Sequence[int] = (0, 0), size: Sequence[int] = (1, 1), step: Sequence[int] = (1, 1)
    ) -> None:
        """Makes PEs of a class."""
        self._placements.append({"region": region_fields(at, size, step), "class": pe_class.index})

    def route(
        self,
        color: int,
        *positions: str,
        at: Sequence[int] = (0, 0),
        size: Sequence[int] = (1, 1),
        step: Sequence[int] = (1, 1),
        start: int = 0,
        ring: bool = False,
        filter: Fields | None = None,
    ) -> None:
        """How routers treat a colour: positions of their switch, such as ``"WEST -> RAMP EAST"``.

        ``filter``: ``{"Range": {"low": 3, "high": 9}}`` or ``{"Count": {"first": 0, "pass": 1, "period": 4}}``.
        """
        self._routes.append(
            {
                "color": color,
                "region": region_fields(at, size, step),
                "positions": [_position(position) for position in positions],
                "start": start,
                "ring": ring,
                "filter": filter,
            }
        )

    def operator(
        self,
        name: str,
        kind: str,
        *,
        at: Sequence[int] = (0, 0),
        size: Sequence[int] | None = None,
        flops: int = 0,
        bytes: int = 0,
    ) -> Operator:
        """Something that the report lists; `Task.mark` says when it runs. On all PEs by default."""
        region = region_fields(at, size or self.grid)
        self._operators.append({"name": name, "kind": kind, "region": region, "flops": flops, "bytes": bytes})
        return Operator(len(self._operators) - 1, name)

    def constant(
        self,
        name: str,
        values: ArrayLike,
        buffer: Buffer,
        *,
        at: Sequence[int] = (0, 0),
        size: Sequence[int] | None = None,
        x: Deal | None = None,
        y: Deal | None = None,
    ) -> None:
        """A tensor that lies in a buffer before the first cycle.

        ``x`` and ``y`` are the dimensions that are dealt to the columns and the rows of the PEs ``at``, ``size`` (all of the
        grid by default); along an axis without one every PE has the same.
        """
        array = np.asarray(values)
        payload = np.ascontiguousarray(array, dtype=_host_type(buffer.dtype)).tobytes()
        of = self._tensor(name, array.shape, buffer.dtype, size, x, y)
        place = {"origin": _coord(at), "address": buffer.address}
        self._constants.append(of | place | {"payload": {"Inline": payload}})

    def result(
        self,
        name: str,
        shape: Sequence[int],
        buffer: Buffer,
        *,
        at: Sequence[int] = (0, 0),
        size: Sequence[int] | None = None,
        x: Deal | None = None,
        y: Deal | None = None,
    ) -> None:
        """A tensor that is read from a buffer after the last cycle."""
        of = self._tensor(name, shape, buffer.dtype, size, x, y)
        self._readbacks.append(of | {"origin": _coord(at), "address": buffer.address})

    def input(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        *,
        edge: str,
        at: Sequence[int],
        color: int,
        size: Sequence[int] = (1, 1),
        x: Deal | None = None,
        y: Deal | None = None,
    ) -> None:
        """A tensor from the host over the fabric's edge: a stream a row of ``size`` (a column at NORTH and SOUTH)."""
        self._port("Input", self._tensor(name, shape, dtype, size, x, y), edge, at, color)

    def output(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        *,
        edge: str,
        at: Sequence[int],
        color: int,
        size: Sequence[int] = (1, 1),
        x: Deal | None = None,
        y: Deal | None = None,
    ) -> None:
        """A tensor to the host, as `input`."""
        self._port("Output", self._tensor(name, shape, dtype, size, x, y), edge, at, color)

    def _port(self, kind: str, of: Fields, edge: str, at: Sequence[int], color: int) -> None:
        edge = choice(edge, _DIRECTIONS, "edge")
        self._ports.append(of | {"kind": kind, "edge": edge, "at": _coord(at), "color": color})

    def _tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        size: Sequence[int] | None,
        x: Deal | None,
        y: Deal | None,
    ) -> Fields:
        size = size or self.grid
        distribution = {
            "grid": _extent(size),
            "shape": [int(n) for n in shape],
            "x": _split(x, shape, size[0]),
            "y": _split(y, shape, size[1]),
        }
        return {"name": name, "dtype": dtype_fields(dtype), "distribution": distribution}


def _extent(size: Sequence[int]) -> Fields:
    return {"width": size[0], "height": size[1]}


def _coord(at: Sequence[int]) -> Fields:
    return {"x": at[0], "y": at[1]}


def _split(deal: Deal | None, shape: Sequence[int], pes: int) -> Fields | None:
    """Blocks of a dimension: equal ones, one a PE, where no size is given."""
    if deal is None:
        return None
    if isinstance(deal, tuple):
        return {"dim": deal[0], "block": deal[1]}
    size = shape[deal] if 0 <= deal < len(shape) else 1
    return {"dim": deal, "block": max(1, -(-size // pes))}


def _position(text: str) -> Fields:
    """``WEST -> RAMP EAST``."""
    rx, arrow, tx = text.partition("->")
    if not arrow:
        raise InputError(f"`{text}` is no position of a switch", "write it as in WEST -> RAMP EAST")
    return {"rx": _ports(rx), "tx": _ports(tx)}


def _ports(names: str) -> int:
    bits = 0
    for name in names.split():
        choice(name, _DIRECTIONS, "port of a router")
        bits |= _BITS[name]
    return bits


def _host_type(dtype: str) -> type[np.generic]:
    if dtype not in _HOST_TYPES:
        raise InputError(f"a constant cannot be {dtype}", f"give one of {', '.join(_HOST_TYPES)}, or bits as u16")
    return _HOST_TYPES[dtype]
