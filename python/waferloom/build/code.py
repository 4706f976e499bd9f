"""The code of a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from waferloom.build.values import (
    NULL,
    Fields,
    InputQueue,
    Operand,
    Operator,
    OutputQueue,
    Reg,
    Value,
    choice,
    dtype_fields,
    value_fields,
)
from waferloom.errors import InputError

_COMPARISONS = {"==": "Eq", "!=": "Ne", "<": "Lt", "<=": "Le"}
_SCALAR_OPS = {op.lower(): op for op in "Add Sub Mul Div Rem Min Max And Or Xor Shl Shr".split()}
_VECTOR_OPS = {
    op.lower(): op
    for op in "Mov Round Add Sub Mul Mac Max Min Abs Neg And Or Xor Shl Shr Eq Lt Le Select".split()
}
_SWITCH_COMMANDS = {command.lower(): command for command in "Nop Advance Reset Teardown".split()}


class Task:
    """A task: its methods append instructions. ``with`` only shows where its code begins and ends."""

    def __init__(self, id: int, name: str, kind: Fields | str, activated: bool, blocked: bool) -> None:
        self.id = id
        self.name = name
        self._kind, self._activated, self._blocked = kind, activated, blocked
        self._bodies: list[list[Fields]] = [[]]

    def __enter__(self) -> Task:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        return None

    @property
    def fields(self) -> Fields:
        """The fabric crate's task."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": self._kind,
            "blocked": self._blocked,
            "activated": self._activated,
            "body": self._bodies[0],
        }

    def vector(
        self,
        op: str,
        dst: Operand | None,
        *srcs: Operand,
        microthread: int | None = None,
        activates: Task | None = None,
        unblocks: Task | None = None,
    ) -> None:
        """``dst = op(srcs)``, element by element; ops as in the text form. A destination None throws results away.

        With a ``microthread`` it runs beside the main thread; its end may activate or unblock a task.
        """
        if activates is not None and unblocks is not None:
            raise InputError("the end of an instruction activates a task or unblocks one, not both", "give one of them")
        then = {"Activate": activates.id} if activates else {"Unblock": unblocks.id} if unblocks else None
        if microthread is None and then is not None:
            raise InputError("only the end of an instruction on a microthread activates a task", "give a microthread")
        self._append(
            {
                "Vector": {
                    "op": choice(op, _VECTOR_OPS, "vector operation"),
                    "dst": (dst or NULL).fields,
                    "srcs": [source.fields for source in srcs],
                    "run_async": None if microthread is None else {"microthread": microthread, "then": then},
                }
            }
        )

    def mov(self, dst: Operand | None, a: Operand) -> None:
        """``dst = a``, with conversion."""
        self.vector("mov", dst, a)

    def add(self, dst: Operand | None, a: Operand, b: Operand) -> None:
        """``dst = a + b``."""
        self.vector("add", dst, a, b)

    def sub(self, dst: Operand | None, a: Operand, b: Operand) -> None:
        """``dst = a - b``."""
        self.vector("sub", dst, a, b)

    def mul(self, dst: Operand | None, a: Operand, b: Operand) -> None:
        """``dst = a * b``."""
        self.vector("mul", dst, a, b)

    def mac(self, dst: Operand | None, a: Operand, b: Operand, c: Operand) -> None:
        """``dst = a + b * c``, with one rounding."""
        self.vector("mac", dst, a, b, c)

    def max(self, dst: Operand | None, a: Operand, b: Operand) -> None:
        """The larger of two; a NaN gives NaN."""
        self.vector("max", dst, a, b)

    def scalar(self, op: str, dst: Reg, a: Value, b: Value) -> None:
        """``dst = op(a, b)`` on registers, ops as in the text form: ``add``, ``sub``, …"""
        fields = {"op": choice(op, _SCALAR_OPS, "scalar operation"), "dst": dst.index}
        self._append({"Scalar": fields | {"a": value_fields(a), "b": value_fields(b)}})

    def load(self, dst: Reg, dtype: str, base: Value, offset: int = 0) -> None:
        """Reads the bits of an element at a byte address."""
        fields = {"dst": dst.index, "dtype": dtype_fields(dtype), "base": value_fields(base), "offset": offset}
        self._append({"Load": fields})

    def store(self, src: Value, dtype: str, base: Value, offset: int = 0) -> None:
        """Writes the low bits of a value to a byte address."""
        fields = {"src": value_fields(src), "dtype": dtype_fields(dtype), "base": value_fields(base), "offset": offset}
        self._append({"Store": fields})

    def clock(self, dst: Reg) -> None:
        """Puts the PE's cycle counter into a register."""
        self._append({"ReadClock": {"dst": dst.index}})

    @contextmanager
    def loop(self, count: Value, counter: Reg) -> Iterator[Reg]:
        """The code inside runs ``count`` times, with the counter 0, 1, 2, …"""
        with self._body() as body:
            yield counter
        self._append({"Loop": {"counter": counter.index, "count": value_fields(count), "body": body}})

    @contextmanager
    def when(self, a: Value, comparison: str, b: Value) -> Iterator[None]:
        """The code inside runs when ``a == b`` (or != < <=)."""
        with self._body() as body:
            yield
        compare = choice(comparison, _COMPARISONS, "comparison")
        fields = {"compare": compare, "a": value_fields(a), "b": value_fields(b), "then": body, "otherwise": []}
        self._append({"If": fields})

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """The code inside runs when that of the `when` before it does not."""
        before = self._bodies[-1][-1] if self._bodies[-1] else {}
        if "If" not in before or before["If"]["otherwise"]:
            raise InputError("there is no condition before this", "put it behind a `when`")
        with self._body() as body:
            yield
        before["If"]["otherwise"] = body

    def activate(self, task: Task) -> None:
        """Activates a task."""
        self._append({"Activate": task.id})

    def block(self, task: Task) -> None:
        """Blocks a task."""
        self._append({"Block": task.id})

    def unblock(self, task: Task) -> None:
        """Unblocks a task."""
        self._append({"Unblock": task.id})

    def control(
        self, queue: OutputQueue, commands: Sequence[str], task: Task | None = None, payload: Value = 0
    ) -> None:
        """Sends a control wavelet: a command (nop, advance, reset, teardown) for each router on its way."""
        names = [choice(command, _SWITCH_COMMANDS, "switch command") for command in commands]
        control = {"commands": names, "task": task and task.id, "payload": value_fields(payload)}
        self._append({"SendControl": {"queue": queue.index, "control": control}})

    def position(self, color: int, position: int) -> None:
        """Sets the switch of the PE's own router."""
        self._append({"SetPosition": {"color": color, "position": position}})

    def mark(self, operator: Operator, plus: Value = 0) -> None:
        """From here on cycles are the operator's."""
        self._append({"Mark": {"operator": operator.index, "plus": value_fields(plus)}})

    def _append(self, instruction: Fields) -> None:
        self._bodies[-1].append(instruction)

    @contextmanager
    def _body(self) -> Iterator[list[Fields]]:
        body: list[Fields] = []
        self._bodies.append(body)
        yield body
        self._bodies.pop()


def starts(kind: str, queue: InputQueue | None, color: int | None) -> Fields | str:
    """What starts a task, as the fabric crate has it."""
    if (queue is not None) != (kind == "data") or (color is not None) != (kind == "teardown"):
        raise InputError("a data task needs a queue, a teardown task a colour", "give what this kind of task needs")
    if queue is not None:
        return {"Data": {"queue": queue.index}}
    if color is not None:
        return {"Teardown": {"color": color}}
    return choice(kind, {"local": "Local", "control": "Control"}, "kind of task")
