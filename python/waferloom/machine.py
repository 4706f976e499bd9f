"""Machines: the parameters of a wafer."""

from __future__ import annotations

import copy
import os
from typing import Any

from waferloom import _waferloom
from waferloom.errors import InputError


class Machine:
    """The parameters of a wafer; docs/machine.md explains each. Fields are attributes: ``machine.sram_bytes``."""

    def __init__(self, fields: dict[str, Any]) -> None:
        _waferloom.check_machine(fields)
        self._fields = copy.deepcopy(fields)

    @staticmethod
    def load(name_or_path: str | os.PathLike[str]) -> Machine:
        """A built-in machine (wse2, wse3, bench16), or one from a machine file (.ron)."""
        return Machine(_waferloom.machine(os.fspath(name_or_path)))

    @staticmethod
    def wse2() -> Machine:
        """The second wafer-scale engine."""
        return Machine.load("wse2")

    @staticmethod
    def wse3() -> Machine:
        """The third wafer-scale engine."""
        return Machine.load("wse3")

    @staticmethod
    def bench16() -> Machine:
        """A small machine for tests: 16x16 PEs."""
        return Machine.load("bench16")

    @property
    def fields(self) -> dict[str, Any]:
        """All parameters."""
        return copy.deepcopy(self._fields)

    def with_(self, **changes: Any) -> Machine:
        """The same machine with other values of some fields."""
        for name in changes:
            if name not in self._fields:
                known = ", ".join(self._fields)
                raise InputError(f"a machine has no field `{name}`", f"give one of {known}")
        return Machine(self._fields | changes)

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self._fields:
            return copy.deepcopy(self._fields[name])
        raise AttributeError(f"a machine has no field `{name}`")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._fields]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Machine) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(repr(self._fields))

    def __repr__(self) -> str:
        width, height = self._fields["fabric"]["width"], self._fields["fabric"]["height"]
        return f"<Machine {self._fields['name']}: {width}x{height} PEs of {self._fields['sram_bytes']} bytes>"


def machine_of(machine: Machine | str | os.PathLike[str]) -> Machine:
    """A machine, also by its name or file."""
    return machine if isinstance(machine, Machine) else Machine.load(machine)
