"""Values as they stand in SQL text, where the database takes no parameter: paths of ATTACH and COPY, lists of files.

Names of tables and columns are not values: they are written in this repository, never taken from data.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath


def literal(value: str | PurePath) -> str:
    """`value` in single quotes, the quotes in it doubled; every other character stands for itself, line breaks too.

    Raises ValueError for a NUL, which no statement and no path can hold.
    """
    text = str(value)
    if "\0" in text:
        raise ValueError(f"{text!r} has a NUL character, which SQL text cannot hold")
    return "'" + text.replace("'", "''") + "'"


def literals(values: Iterable[str | PurePath]) -> str:
    """The values as literals with commas between them, as a list or IN wants them."""
    return ", ".join(literal(value) for value in values)
