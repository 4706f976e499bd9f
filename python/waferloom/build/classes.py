"""Classes of PEs: the code and the memory map that PEs of one kind share."""

from __future__ import annotations

from waferloom.build.code import Task, starts
from waferloom.build.values import BYTES, Buffer, Fields, Fifo, InputQueue, OutputQueue, Param, choice, dtype_fields

_KINDS = {kind.lower(): kind for kind in "Weight Activation Scratch Table".split()}
_FIRST_TASK = 8
_ALIGNMENT = 8


class PeClass:
    """A class of PEs; see `Builder.pe_class`. Queues, ids and addresses that are not given are the next free ones."""

    def __init__(self, index: int, name: str) -> None:
        self.index = index
        self.name = name
        self._inputs: dict[int, Fields] = {}
        self._outputs: dict[int, Fields] = {}
        self._fifos: list[Fields] = []
        self._buffers: list[Fields] = []
        self._tasks: list[Task] = []
        self._end = 0

    @property
    def fields(self) -> Fields:
        """The fabric crate's class."""
        return {
            "name": self.name,
            "input_queues": list(self._inputs.values()),
            "output_queues": list(self._outputs.values()),
            "fifos": self._fifos,
            "buffers": self._buffers,
            "tasks": [task.fields for task in self._tasks],
        }

    def input(self, color: int | Param, queue: int | None = None) -> InputQueue:
        """A queue that listens to a colour."""
        return InputQueue(_bind(self._inputs, color, queue))

    def output(self, color: int | Param, queue: int | None = None) -> OutputQueue:
        """A queue that sends on a colour."""
        return OutputQueue(_bind(self._outputs, color, queue))

    def buffer(
        self, name: str, count: int, dtype: str = "f32", kind: str = "scratch", *, address: int | None = None
    ) -> Buffer:
        """A range of SRAM for so many elements; kinds: weight, activation, scratch, table."""
        dtype_fields(dtype)
        size = -(-count * BYTES[dtype] // 4) * 4
        address = self._allocate(size, address)
        self._buffers.append(
            {
                "name": name,
                "address": address,
                "bytes": size,
                "kind": choice(kind, _KINDS, "kind of buffer"),
                "owner": None,
                "live": None,
            }
        )
        return Buffer(name, address, count, dtype)

    def fifo(self, words: int, *, address: int | None = None) -> Fifo:
        """A circular buffer of so many words."""
        self._fifos.append({"address": self._allocate(4 * words, address), "words": words})
        return Fifo(len(self._fifos) - 1)

    def task(
        self,
        name: str,
        kind: str = "local",
        *,
        queue: InputQueue | None = None,
        color: int | None = None,
        activated: bool = False,
        blocked: bool = False,
        id: int | None = None,
    ) -> Task:
        """A task: local, control, data (of a ``queue``) or teardown (of a ``color``)."""
        taken = {task.id for task in self._tasks}
        if id is None:
            id = next(free for free in range(_FIRST_TASK, 1 << 8) if free not in taken)
        task = Task(id, name, starts(kind, queue, color), activated, blocked)
        self._tasks.append(task)
        return task

    def _allocate(self, size: int, address: int | None) -> int:
        if address is None:
            address = -(-self._end // _ALIGNMENT) * _ALIGNMENT
        self._end = max(self._end, address + size)
        return address


def _bind(queues: dict[int, Fields], color: int | Param, queue: int | None) -> int:
    """Binds a colour to a queue: the one it has already, the one that was given, or the next free one."""
    fields = {"Param": color.index} if isinstance(color, Param) else {"Fixed": color}
    bound = next((known for known, binding in queues.items() if binding["color"] == fields), None)
    if queue is None:
        queue = bound if bound is not None else next(free for free in range(1 << 8) if free not in queues)
    queues[queue] = {"queue": queue, "color": fields}
    return queue
