"""The declared conversions as a table of SQL: which events count, and where their properties are."""

from __future__ import annotations

import duckdb

from gtm_dagster.settings import Conversion
from gtm_dagster.warehouse.literals import composed, literal

_COLUMNS = """event_name VARCHAR, conversion_type VARCHAR, is_refund BOOLEAN, value_path VARCHAR, currency_path VARCHAR,
  payment_path VARCHAR, is_unique BOOLEAN, only_first BOOLEAN"""


def write_conversion_types(con: duckdb.DuckDBPyConnection, conversions: tuple[Conversion, ...]) -> None:
    """The temporary table `conversion_types`: a row for each declared conversion, and one for the refunds of it."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE conversion_types ({_COLUMNS})")
    rows: list[list[object]] = []
    for kind in conversions:
        first = kind.count == "first"
        payment = kind.unique or (kind.refunds.of if kind.refunds else None)
        paths = [_pointer(kind.value), _pointer(kind.currency), _pointer(payment)]
        rows.append([kind.event, kind.event, False, *paths, kind.unique is not None, first])
        if kind.refunds is not None:
            # Where the conversion has no currency, there is none to compare the refund's with.
            currency = kind.refunds.currency if kind.currency else None
            paths = [_pointer(kind.refunds.value), _pointer(currency), _pointer(kind.refunds.of)]
            rows.append([kind.refunds.event, kind.event, True, *paths, False, first])
    if rows:
        con.executemany("INSERT INTO conversion_types VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def matching(conversions: tuple[Conversion, ...]) -> str:
    """The condition that an event `e` of the type `t` has the values its conversion asks for."""
    cases = [
        composed(
            "WHEN $event THEN $all",
            event=literal(kind.event),
            all=" AND ".join(_equals(name, value) for name, value in kind.where.items()),
        )
        for kind in conversions
        if kind.where
    ]
    return f"CASE t.conversion_type {' '.join(cases)} ELSE true END" if cases else "true"


def _equals(name: str, value: str | bool | float) -> str:
    """The condition that the property is there, of the JSON type of `value`, and equal to it."""
    path = literal(_pointer(name) or "")
    kind, text = f"json_type(e.properties, {path})", f"json_extract_string(e.properties, {path})"
    if isinstance(value, bool):
        return f"({kind} = 'BOOLEAN' AND {text} = '{str(value).lower()}')"
    if isinstance(value, str):
        return f"({kind} = 'VARCHAR' AND {text} = {literal(value)})"
    number = literal(repr(float(value)))
    return f"({kind} NOT IN ('VARCHAR', 'BOOLEAN', 'NULL', 'OBJECT', 'ARRAY') AND TRY_CAST({text} AS DOUBLE) = CAST({number} AS DOUBLE))"


def _pointer(name: str | None) -> str | None:
    """The JSON pointer of a property; unlike a JSON path it takes any name, quotes included."""
    return "/" + name.replace("~", "~0").replace("/", "~1") if name else None
