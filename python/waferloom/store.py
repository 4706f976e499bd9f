"""Files that keep the rows of a sweep, so that an interrupted one goes on: points and rows, both as JSON."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from waferloom.errors import InputError
from waferloom.machine import Machine

_FLUSH_SECONDS = 2.0


def point_key(point: Mapping[str, Any]) -> str:
    """What tells points apart: their options in a fixed order."""

    def plain(value: Any) -> Any:
        return value.fields if isinstance(value, Machine) else str(value)

    return json.dumps(dict(point), sort_keys=True, default=plain)


class Store(AbstractContextManager["Store"]):
    """Keeps nothing: what a sweep without a file has."""

    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows so far by the key of their point."""
        return {}

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        """Keeps a row."""

    def __exit__(self, *_: object) -> None:
        return None


def open_store(path: str | os.PathLike[str] | None) -> Store:
    """The store of a file, which need not be there yet."""
    if path is None:
        return Store()
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no such folder", "make it first")
    if path.suffix == ".parquet":
        return _Parquet(path)
    if path.suffix in (".sqlite", ".sqlite3", ".db"):
        return _Sqlite(path)
    raise InputError(f"{path}: no kind of store ends in `{path.suffix}`", "name it .parquet, .sqlite or .db")


class _Sqlite(Store):
    """A table ``sweep``; ``json_extract(row, '$.cycles')`` looks into it."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path)
        try:
            with self._connection:
                self._connection.execute("CREATE TABLE IF NOT EXISTS sweep (point TEXT PRIMARY KEY, row TEXT NOT NULL)")
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise InputError(f"{path}: this is no SQLite file ({error})", "give another name") from error

    def rows(self) -> dict[str, dict[str, Any]]:
        return {key: json.loads(row) for key, row in self._connection.execute("SELECT point, row FROM sweep")}

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO sweep VALUES (?, ?)", (key, json.dumps(dict(row))))

    def __exit__(self, *_: object) -> None:
        self._connection.close()


class _Parquet(Store):
    """Columns ``point`` and ``row``. The file is written anew every two seconds, and at the end."""

    def __init__(self, path: Path) -> None:
        import pandas as pd

        self._path = path
        self._rows: dict[str, str] = {}
        self._written = time.monotonic()
        if path.exists():
            try:
                table = pd.read_parquet(path, columns=["point", "row"])
            except (OSError, ValueError, KeyError) as error:
                raise InputError(f"{path}: this is no sweep's parquet file ({error})", "give another name") from error
            self._rows = dict(zip(table["point"], table["row"], strict=True))

    def rows(self) -> dict[str, dict[str, Any]]:
        return {key: json.loads(row) for key, row in self._rows.items()}

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        self._rows[key] = json.dumps(dict(row))
        if time.monotonic() - self._written > _FLUSH_SECONDS:
            self._write()

    def __exit__(self, *_: object) -> None:
        self._write()

    def _write(self) -> None:
        """Beside the target, then renamed: the file is there whole or not at all."""
        import pandas as pd

        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        pd.DataFrame({"point": list(self._rows), "row": list(self._rows.values())}).to_parquet(beside)
        os.replace(beside, self._path)
        self._written = time.monotonic()
