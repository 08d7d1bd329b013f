"""SQL text that is put together: values where the database takes no parameter (paths of ATTACH and COPY, lists of files),
and statements whose tables, columns and conditions differ.

Names of tables and columns are not values: they are written in this repository, never taken from data.
"""

from __future__ import annotations

import re
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


_PART = re.compile(r"\$([a-z][a-z_]*)")
_WHOLE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*\n""")
_BREAKS_OUT = re.compile(r"""['";]|--|/\*""")


def composed(text: str, **parts: str | float) -> str:
    """`text` with SQL in place of its `$name`s: tables, columns, conditions and literals, never a value from data.

    ValueError for a part whose quotes do not pair up, that ends the statement, or that begins a comment and does not end
    it: it is a value that did not go through `literal`. KeyError for a name without a part. `$1` is a parameter of the database.
    """
    for name, part in parts.items():
        if isinstance(part, str) and _BREAKS_OUT.search(_WHOLE.sub("", part)):
            raise ValueError(f"{name}: {part[:200]!r} is no part of a statement; a value goes through literal()")
    return _PART.sub(lambda match: str(parts[match.group(1)]), text)
