"""Compiles genomic and imaging transformers onto a wafer-scale mesh, and runs them there in a simulator.

>>> import waferloom as wl
>>> model = wl.load("model.onnx")
>>> program = model.compile(machine="wse2", grid=(24, 24), dtype="f16")
>>> run = program.run({"input_ids": ids}, engine="stream")
>>> run.outputs["logits"], run.cycles, run.report
"""

from waferloom import build
from waferloom.errors import (
    CompileError,
    Error,
    InputError,
    InternalError,
    KernelError,
    ModelError,
    OpenDimensionsError,
    ProgramError,
    SimulationError,
)
from waferloom.catalog import Estimate, Kernel, KernelRun, Parameter, estimate, kernel, kernels
from waferloom.machine import Machine
from waferloom.model import Model, Node, load
from waferloom.program import Program, TensorSpec
from waferloom.run import Run
from waferloom.sweeps import points, run_point, sweep
from waferloom.tuning import Tuned, tune

__all__ = [
    "CompileError",
    "Error",
    "Estimate",
    "InputError",
    "InternalError",
    "Kernel",
    "KernelError",
    "KernelRun",
    "Machine",
    "Model",
    "ModelError",
    "Node",
    "OpenDimensionsError",
    "Parameter",
    "Program",
    "ProgramError",
    "Run",
    "SimulationError",
    "TensorSpec",
    "Tuned",
    "build",
    "estimate",
    "kernel",
    "kernels",
    "load",
    "points",
    "run_point",
    "sweep",
    "tune",
]
