"""Models: from a file to a program."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, SupportsIndex

from waferloom import _waferloom, display
from waferloom.errors import InputError, OpenDimensionsError
from waferloom.machine import Machine, machine_of
from waferloom.program import Program, TensorSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Shapes = Mapping[str, Sequence[int]]
Dims = Mapping[str, SupportsIndex]


def load(
    path: str | os.PathLike[str], *, shapes: Shapes | None = None, dims: Dims | None = None
) -> Model:
    """Reads a model: an ONNX file. (Folders of Hugging Face models and architectures by name are not read yet.)

    ``shapes`` gives the shapes of inputs and ``dims`` the sizes of symbols that the file leaves open. Both can wait for
    `Model.compile`.
    """
    return Model(path, shapes or {}, dims or {})


class Node(NamedTuple):
    """An operator, an input or a constant of a model."""

    kind: str
    """Its word in the text form: matmul, softmax, …"""
    name: str
    """The exporter's name where it survives; unique."""
    shape: tuple[int, ...]
    """Shape of its result."""
    dtype: str
    """Type of its elements on the host."""
    operands: tuple[int, ...]
    """Places of its operands in `Model.nodes`."""


class Model:
    """A model; see `load`."""

    def __init__(self, path: str | os.PathLike[str], shapes: Shapes, dims: Dims) -> None:
        self.path = os.fspath(path)
        """Its file."""
        self._shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self._dims: dict[str, SupportsIndex] = dict(dims)
        self._open: OpenDimensionsError | None = None
        try:
            self._core: _waferloom.Model | None = self._imported()
        except OpenDimensionsError as error:
            self._core, self._open = None, error

    def _imported(self) -> _waferloom.Model:
        return _waferloom.Model(self.path, {n: list(s) for n, s in self._shapes.items()}, self._dims)

    def _bound(self) -> _waferloom.Model:
        if self._core is None:
            assert self._open is not None
            raise self._open
        return self._core

    @property
    def name(self) -> str:
        """The name of its file, or of its folder when the file is model.onnx."""
        return self._bound().name

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """The tensors that it takes."""
        return {name: TensorSpec(tuple(shape), dtype) for name, shape, dtype in self._bound().inputs}

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """The tensors that it gives."""
        return {name: TensorSpec(tuple(shape), dtype) for name, shape, dtype in self._bound().outputs}

    @property
    def text(self) -> str:
        """The operators that the compiler sees, a line each."""
        return self._bound().text

    @property
    def nodes(self) -> list[Node]:
        """The same as a list, operands first."""
        return [
            Node(kind, name, tuple(shape), dtype, tuple(operands))
            for kind, name, shape, dtype, operands in self._bound().nodes
        ]

    def plot_graph(self, *, most_layers: int = 80, ax: Axes | None = None) -> Axes:
        """Draws the operators without constants, the first layers of a deep model (needs matplotlib)."""
        from waferloom import plot

        return plot.graph(self.nodes, most_layers, ax)

    def compile(
        self,
        *,
        machine: Machine | str | os.PathLike[str] = "wse2",
        grid: tuple[int, int] | None = None,
        whole_grid: bool = False,
        dtype: str = "f32",
        items: int = 1,
        optimize: str | None = None,
        stages: int | None = None,
        plan: str | os.PathLike[str] | None = None,
        shapes: Shapes | None = None,
        dims: Dims | None = None,
    ) -> Program:
        """Compiles it; the options are those of ``waferloom compile``.

        ``grid``: columns and rows of PEs that may be used; 16x16 by default, or less on a smaller machine.
        ``whole_grid``: take all of them, even where fewer would be faster.
        ``dtype``: f32; or f16, bf16 or cb16, with sums in f32.
        ``items``: inputs that one run works on, one behind another.
        ``optimize``: throughput or latency; by default throughput with several items.
        ``stages``: rectangles side by side into which the model is cut.
        ``plan``: choices made instead of the planner: a RON file, or its text as `Program.choices` gives it.
        ``shapes``, ``dims``: what the model's file leaves open, as in `load`.
        """
        if shapes or dims:
            bound = Model(self.path, self._shapes | dict(shapes or {}), self._dims | dict(dims or {}))
            return bound.compile(
                machine=machine,
                grid=grid,
                whole_grid=whole_grid,
                dtype=dtype,
                items=items,
                optimize=optimize,
                stages=stages,
                plan=plan,
            )
        for name, count in [("items", items), ("stages", stages), *zip(("columns", "rows"), grid or ())]:
            if count is not None and not 1 <= count < 1 << 16:
                raise InputError(f"{name} cannot be {count}", "give a number from 1 to 65535")
        core = self._bound().compile(
            machine_of(machine).fields,
            grid,
            dtype,
            items,
            optimize,
            stages,
            None if plan is None else os.fspath(plan),
            whole_grid,
        )
        return Program(core)

    def __repr__(self) -> str:
        return f"<Model {self.path}>"

    def _repr_html_(self) -> str:
        return display.model(self)

    def __reduce__(self) -> tuple[object, ...]:
        return Model, (self.path, self._shapes, self._dims)
