"""What instructions work on: numbers, registers, vectors in memory and on the fabric.

``fields`` are those of the fabric crate's types, which the native half reads.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from waferloom.errors import InputError

Fields = dict[str, Any]

DTYPES = {"f32": "F32", "f16": "F16", "i32": "I32", "u16": "U16", "bf16": "Bf16", "cb16": "Cb16"}
"""Types on the mesh: the text form's names, and the fabric crate's."""

BYTES = {"f32": 4, "i32": 4, "f16": 2, "u16": 2, "bf16": 2, "cb16": 2}


def dtype_fields(dtype: str) -> str:
    """The fabric crate's name of a type."""
    return choice(dtype, DTYPES, "type on the mesh")


def choice(given: str, known: dict[str, str], what: str) -> str:
    """What a word stands for."""
    if given not in known:
        raise InputError(f"there is no {what} `{given}`", f"give one of {', '.join(known)}")
    return known[given]


@dataclass(frozen=True)
class Reg:
    """A scalar register."""

    index: int


@dataclass(frozen=True)
class Param:
    """A number that differs from PE to PE."""

    index: int
    name: str


@dataclass(frozen=True)
class Operator:
    """What marks in the code stand for, for the report."""

    index: int
    name: str


Value = int | Reg | Param
"""A 32-bit integer: a number, a register's, or a parameter's."""


def value_fields(value: Value) -> Fields:
    """A value as the fabric crate has it."""
    if isinstance(value, Reg):
        return {"Reg": value.index}
    if isinstance(value, Param):
        return {"Param": value.index}
    return {"Imm": _signed(value)}


def _signed(number: int) -> int:
    """A number of 32 bits, unsigned ones by their bits."""
    number = operator.index(number)
    if not -(1 << 31) <= number < 1 << 32:
        raise InputError(f"{number} does not fit 32 bits", "give a smaller number")
    return number - (1 << 32) if number >= 1 << 31 else number


@dataclass(frozen=True)
class Operand:
    """A source or the destination of a vector instruction."""

    fields: Fields | str


NULL = Operand("Null")
"""A destination that throws everything away."""


def scalar(value: float | Reg | Param, dtype: str = "f32") -> Operand:
    """A source: the same number for every element. A register or a parameter gives its bits."""
    return Operand({"Scalar": {"value": value_fields(_bits(value, dtype)), "dtype": dtype_fields(dtype)}})


def _bits(value: float | Reg | Param, dtype: str) -> Value:
    if isinstance(value, Reg | Param):
        return value
    if dtype == "f32":
        return int(np.float32(value).view(np.uint32))
    if dtype == "f16":
        return int(np.float16(value).view(np.uint16))
    if dtype in ("i32", "u16"):
        return operator.index(value)  # type: ignore[arg-type]
    raise InputError(f"a number cannot be given as {dtype}", "put it into a register as bits, or use f32")


@dataclass(frozen=True)
class Buffer:
    """A named range of SRAM, as elements of a type. ``buffer[2:10:2]`` is a vector in it."""

    name: str
    address: int
    count: int
    dtype: str

    def __getitem__(self, at: slice) -> Operand:
        start, stop, step = at.indices(self.count)
        return self.dsd((len(range(start, stop, step)), step), offset=start)

    def dsd(self, *dims: tuple[Value, Value], offset: int = 0, base: Value | None = None) -> Operand:
        """A vector of up to four dimensions, the outermost first, each a length and a stride in elements.

        ``offset`` is the first element; ``base`` an address in bytes instead of the buffer's.
        """
        return Operand(
            {
                "Mem": {
                    "base": value_fields(self.address if base is None else base),
                    "offset": offset * BYTES[self.dtype],
                    "dtype": dtype_fields(self.dtype),
                    "dims": [{"len": value_fields(length), "stride": value_fields(stride)} for length, stride in dims],
                }
            }
        )


@dataclass(frozen=True)
class InputQueue:
    """A queue from the fabric."""

    index: int

    def take(self, count: Value, dtype: str = "f32") -> Operand:
        """A source: the next wavelets, one element each."""
        return Operand({"FabIn": {"queue": self.index, "dtype": dtype_fields(dtype), "len": value_fields(count)}})


@dataclass(frozen=True)
class OutputQueue:
    """A queue to the fabric."""

    index: int

    def send(self, count: Value, dtype: str = "f32") -> Operand:
        """A destination: wavelets, one element each."""
        return Operand({"FabOut": {"queue": self.index, "dtype": dtype_fields(dtype), "len": value_fields(count)}})


@dataclass(frozen=True)
class Fifo:
    """A circular buffer of 32-bit words in SRAM."""

    index: int

    def words(self, count: Value, dtype: str = "f32") -> Operand:
        """Words popped (a source) or pushed (a destination)."""
        return Operand({"Fifo": {"fifo": self.index, "dtype": dtype_fields(dtype), "len": value_fields(count)}})


def region_fields(at: Sequence[int], size: Sequence[int], step: Sequence[int] = (1, 1)) -> Fields:
    """PEs: a corner, columns and rows, and of these every so many."""
    return {"x": at[0], "y": at[1], "width": size[0], "height": size[1], "step_x": step[0], "step_y": step[1]}
