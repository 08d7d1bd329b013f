"""One declaration a table: columns with their meaning, step, checks, how two copies compare, how it changes.

Each module here but `table`, `shared_columns`, `spend_columns`, `ddl` and `documents` declares one table as TABLE (or several as TABLES); adding a table is
adding a module, and its statement under sql/. DDL, assets, checks, docs/tables.md, `doctor --verify` and the serving
copy derive from the declarations. Not here: how a table is built.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from gtm_dagster.warehouse.schema.table import Table

_LAYERS = ("meta", "staging", "core", "marts", "ops")
_NO_TABLES = {"table", "shared_columns", "spend_columns", "ddl", "documents"}


@cache
def tables() -> tuple[Table, ...]:
    """Every declared table: layer after layer, in a layer each after those it reads, else by name."""
    found: dict[str, Table] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        if module not in _NO_TABLES:
            loaded = import_module(f"{__name__}.{module}")
            for table in getattr(loaded, "TABLES", None) or (loaded.TABLE,):
                found[table.name] = table
    ordered: list[Table] = []
    waiting = sorted(found.values(), key=lambda table: (_LAYERS.index(table.schema), table.name))
    while waiting:
        names = {table.name for table in waiting}
        ready = next((table for table in waiting if not names & set(table.reads)), None)
        if ready is None:
            raise ValueError(f"tables that read each other: {', '.join(sorted(names))}")
        waiting.remove(ready)
        ordered.append(ready)
    return tuple(ordered)


def table_of(name: str) -> Table:
    """The declaration of `schema.table`; KeyError when there is none."""
    return {table.name: table for table in tables()}[name]


def built() -> tuple[Table, ...]:
    """The tables that have a step, in the order the steps run."""
    return tuple(table for table in tables() if table.step is not None)


def schema_of(*schemas: str) -> tuple[Table, ...]:
    """The tables of the named schemas, in order."""
    return tuple(table for table in tables() if table.schema in schemas)


def readers_of(names: set[str]) -> set[str]:
    """The named tables and every table that reads one of them, directly or not."""
    reached = set(names)
    for table in tables():
        if reached & set(table.reads):
            reached.add(table.name)
    return reached


__all__ = ["Table", "built", "readers_of", "schema_of", "table_of", "tables"]
