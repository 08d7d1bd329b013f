"""Statements that are a little wrong, and whether a recording tells them from the right one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import sqlglot
from conformance_differences import SETTINGS
from sqlglot import exp

from gtm_dagster.warehouse import statements

SWAPPED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.GTE, exp.GTE: exp.GT, exp.LT: exp.LTE, exp.LTE: exp.LT, exp.EQ: exp.NEQ, exp.NEQ: exp.EQ,
    exp.Lag: exp.Lead, exp.Lead: exp.Lag, exp.FirstValue: exp.LastValue, exp.LastValue: exp.FirstValue,
    exp.And: exp.Or, exp.Or: exp.And, exp.Add: exp.Sub, exp.Sub: exp.Add,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A statement with one thing changed: what it was (a class of SQLGlot), in words, and the text with its parameters."""

    kind: type[exp.Expr]
    change: str
    sql: str

    def filled(self, params: dict[str, int]) -> str:
        return re.sub(r"\$([a-z_]+)", lambda match: str(params[match[1]]), self.sql)


def _other(node: exp.Expr) -> exp.Expr | None:
    """A node that says something else; None where nothing is to be changed."""
    if type(node) in SWAPPED:
        return SWAPPED[type(node)](**node.args)
    if isinstance(node, exp.IgnoreNulls | exp.Coalesce):
        return node.this
    other = node.copy()
    if isinstance(node, exp.Ordered):
        other.set("desc", not node.args.get("desc"))
        return other
    if isinstance(node, exp.Join) and node.side == "LEFT":
        other.set("side", None)
        return other
    return None


def mutants(statement: str) -> Iterator[Mutant]:
    """Each comparison, order, neighbour, sign, connective, COALESCE, LEFT JOIN and IGNORE NULLS changed, one at a time."""
    tree = sqlglot.parse_one(statements.text(statement), read="duckdb")
    for number, node in enumerate(list(tree.walk())):
        if _other(node) is None:
            continue
        wrong = tree.copy()
        place = list(wrong.walk())[number]
        other = _other(place)
        assert other is not None
        change = f"{place.sql(dialect='duckdb')} -> {other.sql(dialect='duckdb')}"
        place.replace(other)
        yield Mutant(type(node), change, wrong.sql(dialect="duckdb"))


@contextmanager
def loaded(recording: dict) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database with the recorded inputs, and the recorded result as `expected`."""
    home = Path(recording["folder"])
    with duckdb.connect(config={"threads": 1}) as con:
        for name in recording["inputs"]:
            con.execute(f"CREATE TABLE {name} AS FROM '{home / name}.parquet'")
        con.execute(f"CREATE TABLE expected AS FROM '{home}/result.parquet'")
        yield con


def differs(con: duckdb.DuckDBPyConnection, sql: str) -> bool:
    """Whether `sql` gives another result than the recorded one; an error counts as one."""
    described = [(row[0], row[1]) for row in con.execute("DESCRIBE expected").fetchall()]
    columns = ", ".join(
        f"round({name}, 9)" if kind == "DOUBLE" and name not in SETTINGS else name for name, kind in described
    )
    try:
        con.execute(f"CREATE OR REPLACE TABLE found AS {sql}")
    except duckdb.Error:
        return True
    one, two = f"SELECT {columns} FROM expected", f"SELECT {columns} FROM found"
    both = f"({one} EXCEPT ALL {two}) UNION ALL ({two} EXCEPT ALL {one})"
    return bool(con.execute(f"SELECT count(*) FROM ({both})").fetchall()[0][0])


def boundary(recording: dict) -> Mutant:
    """A comparison of the statement taken one step too far, or the next best change, that this recording tells apart."""
    subtle = (exp.GT, exp.GTE, exp.LT, exp.LTE)
    with loaded(recording) as con:
        for one in sorted(mutants(recording["statement"]), key=lambda one: one.kind not in subtle):
            if differs(con, one.filled(recording["params"])):
                return one
    raise AssertionError(f"{recording['folder']} tells nothing wrong from the right statement")
