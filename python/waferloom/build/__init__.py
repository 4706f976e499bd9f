"""Programs written in Python: classes of PEs with tasks, vectors in memory and on the fabric, routes, tensors of the host.

What is built is a `waferloom.Program` like any other: the verifier checks it, both engines run it, ``.text`` prints it.
docs/program-format.md says what each part means. A chain that adds up one vector a PE, from east to west:

>>> from waferloom.build import Builder
>>> b = Builder("pair", machine="bench16", grid=(2, 1))
>>> b.route(0, "RAMP -> WEST", at=(1, 0))
>>> b.route(0, "EAST -> RAMP", at=(0, 0))
>>> b.route(1, "RAMP -> WEST", at=(0, 0))
>>> east, west = b.pe_class("east"), b.pe_class("west")
>>> for pe, sends in (east, 0), (west, 1):
...     mine = pe.buffer("mine", 8, "f32", "weight")
...     out = pe.output(sends)
...     with pe.task("main", activated=True) as task:
...         if pe is west:
...             task.add(out.send(8), pe.input(0).take(8), mine[:])
...         else:
...             task.mov(out.send(8), mine[:])
>>> b.place(west, at=(0, 0))
>>> b.place(east, at=(1, 0))
>>> b.constant("mine", numpy.ones((2, 8)), mine, x=0)
>>> b.output("y", (8,), "f32", edge="WEST", at=(0, 0), color=1)
>>> program = b.build()
"""

from waferloom.build.builder import Builder
from waferloom.build.classes import PeClass
from waferloom.build.code import Task
from waferloom.build.values import Buffer, Fifo, InputQueue, Operand, Operator, OutputQueue, Param, Reg, scalar

__all__ = [
    "Buffer",
    "Builder",
    "Fifo",
    "InputQueue",
    "Operand",
    "Operator",
    "OutputQueue",
    "Param",
    "PeClass",
    "Reg",
    "Task",
    "scalar",
]
