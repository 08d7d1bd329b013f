"""Everything a Dagster home keeps: each cell of its databases, unpacked where it is packed, and each other file."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path


def kept(home: Path) -> Iterator[tuple[str, bytes]]:
    """(where, what) of all that lies in `home`; a database also as its raw bytes, where deleted rows may linger.

    A file that goes meanwhile, as those beside a database do when it is closed, is left out.
    """
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        name = str(path.relative_to(home))
        try:
            yield name, path.read_bytes()
        except FileNotFoundError:
            continue
        if path.suffix == ".db":
            yield from ((f"{name} {where}", cell) for where, cell in _cells(path))


def _cells(path: Path) -> Iterator[tuple[str, bytes]]:
    con = sqlite3.connect(path)
    try:
        tables = [name for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            cursor = con.execute(f'SELECT * FROM "{table}"')
            columns = [column for column, *_ in cursor.description]
            for row in cursor:
                for column, value in zip(columns, row, strict=True):
                    cell = value if isinstance(value, bytes) else str(value).encode()
                    yield f"{table}.{column}", _unpacked(cell)
    finally:
        con.close()


def _unpacked(cell: bytes) -> bytes:
    try:
        return zlib.decompress(cell)
    except zlib.error:
        return cell
