"""Arrays of any kind as those that programs take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waferloom.errors import InputError

HostArray = NDArray[np.float32] | NDArray[np.int64]
"""What programs take and give: float32 and int64."""


def host_arrays(inputs: Mapping[str, Any]) -> list[tuple[str, HostArray]]:
    """Inputs of a run as contiguous float32 and int64 arrays: without a copy where they are that already.

    Takes what numpy takes, and tensors of other libraries by DLPack.
    """
    return [(name, host_array(name, value)) for name, value in inputs.items()]


def host_array(name: str, value: Any) -> HostArray:
    """One input."""
    foreign = hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray)
    try:
        array = np.from_dlpack(value) if foreign else np.asarray(value)
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise InputError(f"input `{name}` is no array ({error})", "give a numpy array or a tensor on the CPU") from error
    if array.dtype.kind == "f":
        return np.asarray(array, dtype=np.float32, order="C")
    if array.dtype.kind in "bi" or array.dtype.kind == "u" and array.dtype.itemsize < 8:
        return np.asarray(array, dtype=np.int64, order="C")
    raise InputError(
        f"input `{name}` has elements of type {array.dtype}",
        "give float32, float64, float16, int8 to int64, uint8 to uint32, or bool",
    )
