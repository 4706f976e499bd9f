"""Progress of long work, when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = bool | Callable[[int], object]
"""True for a bar of tqdm's; or a function that takes the cycle at hand, every 50 ms or so."""


@contextmanager
def told(progress: Progress, what: str) -> Iterator[Callable[[int], object] | None]:
    """The function to call with the cycle at hand; a bar goes away at the end."""
    if not progress:
        yield None
        return
    if progress is not True:
        yield progress
        return
    from tqdm.auto import tqdm

    with tqdm(desc=what, unit=" cycles", unit_scale=True) as bar:
        yield lambda cycle: bar.update(cycle - bar.n)
