"""Reads the statements of `sql/<layer>/` and puts literals in place of their `$name` parameters."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

_PARAMETER = re.compile(r"\$([a-z_]+)")
PORTABLE = ("core", "marts")
"""The layers whose statements other engines run, too. `staging` and `build` are DuckDB's own: what reads landing files, and
what puts the rows a portable statement finds into the tables of the working file."""


@cache
def _files() -> dict[str, tuple[str, Traversable]]:
    """Layer and file of each statement; a statement's name is its own in all layers."""
    found: dict[str, tuple[str, Traversable]] = {}
    for layer in sorted((resources.files("gtm_dagster.warehouse") / "sql").iterdir(), key=lambda each: each.name):
        for file in layer.iterdir():
            name = file.name.removesuffix(".sql")
            if name in found:
                raise ValueError(f"sql/{layer.name}/{file.name}: {found[name][0]} holds a statement of that name")
            found[name] = (layer.name, file)
    return found


@cache
def text(name: str) -> str:
    """The statement `name` as written; KeyError when there is none."""
    return _files()[name][1].read_text()


def path_of(name: str) -> Path:
    """The file of the statement `name`; KeyError when there is none."""
    return Path(str(_files()[name][1]))


def statement(name: str, **params: int) -> str:
    """The portable statement with whole numbers for its parameters; KeyError when one is missing, or for DuckDB's own."""
    if _files()[name][0] not in PORTABLE:
        raise KeyError(f"{name} is one of DuckDB's own statements; use fragment()")
    return _PARAMETER.sub(lambda match: str(int(params[match.group(1)])), text(name))


def fragment(name: str, **parts: str) -> str:
    """The statement with SQL text for its parameters, where DuckDB's own statements differ by what a batch holds.

    The parts are written here, never read from data.
    """
    return _PARAMETER.sub(lambda match: parts[match.group(1)], text(name))


def names() -> list[str]:
    """Every portable statement."""
    return sorted(name for name, (layer, _) in _files().items() if layer in PORTABLE)


def all_names() -> list[str]:
    """Every statement, those of DuckDB alone included."""
    return sorted(_files())
