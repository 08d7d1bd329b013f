"""Reads the portable statements of `sql/` and puts literals in place of their `$name` parameters."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_PARAMETER = re.compile(r"\$([a-z_]+)")


@cache
def text(name: str) -> str:
    """The statement `sql/<name>.sql` as written."""
    return (resources.files("gtm_dagster.warehouse") / "sql" / f"{name}.sql").read_text()


def statement(name: str, **params: int) -> str:
    """`sql/<name>.sql` with whole numbers for its parameters; KeyError when one is missing."""
    return _PARAMETER.sub(lambda match: str(int(params[match.group(1)])), text(name))


def names() -> list[str]:
    """Every statement of the folder."""
    return sorted(p.name.removesuffix(".sql") for p in (resources.files("gtm_dagster.warehouse") / "sql").iterdir())
