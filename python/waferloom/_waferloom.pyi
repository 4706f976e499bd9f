"""
The native half of the package waferloom.
"""

from _typeshed import Incomplete, SupportsGetItem
from os import PathLike
from typing import Any, SupportsIndex, final

__all__ = ["Model", "Program", "Run", "check_machine", "estimate", "kernel", "kernels", "machine"]

@final
class Model:
    """
    An imported model.
    """
    def __new__(cls, /, path: str | PathLike[str], shapes: dict[str, SupportsGetItem[int, SupportsIndex]], dims: dict[str, SupportsIndex]) -> Model:
        """
        Imports an ONNX file.
        """
    def compile(self, /, machine: dict, grid: tuple[SupportsIndex, SupportsIndex] | None, dtype: str, items: SupportsIndex, optimize: str | None, stages: SupportsIndex | None, plan: str | None, whole_grid: bool) -> Program:
        """
        Compiles it.
        """
    @property
    def inputs(self, /) -> list[tuple[str, list[int], str]]:
        """
        Name, shape and element type of the tensors that it takes.
        """
    @property
    def name(self, /) -> str:
        """
        Its name: that of the file, or of its folder.
        """
    @property
    def nodes(self, /) -> list[tuple[str, str, list[int], str, list[int]]]:
        """
        Word, name, shape, element type and operands (indices into this list) of each operator, input and constant, operands
        first.
        """
    @property
    def outputs(self, /) -> list[tuple[str, list[int], str]]:
        """
        Name, shape and element type of the tensors that it gives.
        """
    @property
    def text(self, /) -> str:
        """
        The operators that the compiler sees, as text.
        """

@final
class Program:
    """
    A program that the verifier has found no error in.
    """
    @property
    def class_map(self, /) -> tuple[list[str], list[int]]:
        """
        Names of the classes of PEs, and the class of each PE row by row: an index, or -1 where there is none.
        """
    @staticmethod
    def from_bytes(bytes: bytes, origin: Any) -> Program:
        """
        Reads the compact form, with the origin that [`Program::origin`] gave.
        """
    @staticmethod
    def from_fields(fields: dict) -> Program:
        """
        A program from its parts, as the fields of the fabric crate's types.
        """
    @staticmethod
    def from_text(text: str) -> Program:
        """
        Reads the text form.
        """
    @property
    def grid(self, /) -> tuple[int, int]:
        """
        Columns and rows.
        """
    @property
    def inputs(self, /) -> list[tuple[str, list[int], str, str]]:
        """
        Name, shape, type on the host and type on the mesh of the tensors that it takes.
        """
    @property
    def items(self, /) -> int:
        """
        Inputs that one run works on.
        """
    @staticmethod
    def load(path: str | PathLike[str]) -> Program:
        """
        Reads a file in either form.
        """
    @property
    def machine(self, /) -> Any:
        """
        The fields of its machine.
        """
    @property
    def name(self, /) -> str:
        """
        Its name.
        """
    @property
    def origin(self, /) -> Any:
        """
        Where it comes from.
        """
    @property
    def outputs(self, /) -> list[tuple[str, list[int], str, str]]:
        """
        Name, shape, type on the host and type on the mesh of the tensors that it gives.
        """
    def report(self, /) -> str:
        """
        The report of no run as JSON: memory and operators.
        """
    def run(self, /, inputs: SupportsGetItem[int, tuple[str, Incomplete]], engine: str, threads: SupportsIndex, timing_only: bool, max_cycles: SupportsIndex | None, progress: Any | None) -> Run:
        """
        Runs it.
        """
    def save(self, /, path: str | PathLike[str]) -> None:
        """
        Writes it: as text when the path ends in `.wlt`, else in the compact form.
        """
    @property
    def text(self, /) -> str:
        """
        The text form.
        """
    def to_bytes(self, /) -> bytes:
        """
        The compact form.
        """
    @property
    def warnings(self, /) -> list[str]:
        """
        What the verifier cannot prove, a sentence each.
        """

@final
class Run:
    """
    What a run gave.
    """
    @property
    def counters(self, /) -> dict:
        """
        Where each PE's cycles went, an array of rows and columns for each counter.
        """
    @property
    def cycles(self, /) -> int:
        """
        Cycles until everything was done.
        """
    @property
    def leftover_wavelets(self, /) -> int:
        """
        Wavelets that nobody took.
        """
    @property
    def outputs(self, /) -> dict:
        """
        The tensors that it gave.
        """
    def report(self, /, per_pe: bool) -> str:
        """
        The report, as `waferloom run --json` prints it.
        """
    @property
    def timeline(self, /) -> list[tuple[str, str, int, int]]:
        """
        Name, kind, first and last cycle of each operator.
        """

def check_machine(fields: dict) -> None:
    """
    Raises an error when fields are not those of a machine.
    """

def estimate(name: str, settings: SupportsGetItem[int, tuple[str, str]], machine: dict) -> tuple[str, int]:
    """
    Builds a kernel without its numbers: the algorithm that would run, and its cycles by the closed form.
    """

def kernel(name: str, settings: SupportsGetItem[int, tuple[str, str]], machine: dict, engine: str, threads: SupportsIndex, timing_only: bool, max_cycles: SupportsIndex | None, progress: Any | None) -> str:
    """
    Builds and runs a kernel; what came out as JSON.
    """

def kernels() -> list[tuple[str, str, list[tuple[str, str, str, tuple[int, int] | None, list[str] | None, bool]]]]:
    """
    Name and summary of every kernel with its parameters: name, meaning, default, a range or a list of words, and whether it
    is tunable.
    """

def machine(name_or_path: str) -> Any:
    """
    The fields of a built-in machine, or of a machine file.
    """
