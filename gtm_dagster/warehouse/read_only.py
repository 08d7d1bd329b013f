"""Whether a statement only reads the tables, by the tree that DuckDB's own parser makes of it.

The connection of a reader (`engine.connect(closed=True)`) reaches neither files nor network nor settings. What is left is
refused here: the folder of temporary files (COPY and read_text reach it), functions that act, catalogs that name paths. A
function or statement that is not known to read is refused, so that a newer DuckDB opens nothing by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLE_FUNCTIONS = frozenset(
    {
        "duckdb_columns", "duckdb_constraints", "duckdb_functions", "duckdb_indexes", "duckdb_keywords", "duckdb_schemas",
        "duckdb_tables", "duckdb_types", "duckdb_views", "generate_series", "generate_subscripts", "histogram",
        "histogram_values", "icu_calendar_names", "json_each", "json_tree", "pg_timezone_names", "pragma_collations",
        "pragma_show", "pragma_table_info", "pragma_version", "range", "regexp_split_to_table", "repeat", "repeat_row",
        "summary", "unnest",
    }
)  # fmt: skip
_FUNCTIONS = frozenset(
    {"current_setting", "currval", "getenv", "getvariable", "nextval", "pg_sleep", "setval", "sleep_ms", "write_log"}
)
"""Plain functions that act, wait, or tell of the machine; all others are computed from their arguments."""
_VIEWS = frozenset({"duckdb_databases", "duckdb_logs", "pg_prepared_statements", "pg_settings", "pragma_database_list"})
_WAYS_OUT = {
    "MULTI": "write PIVOT ... ON column IN (values), which needs no statement before it",
    "PRAGMA": "DESCRIBE core.sessions and SHOW ALL TABLES show what is there",
}


def only_statement(con: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement | str:
    """The one statement of `sql` when it only reads; else why it is refused.

    A reading statement is a SELECT (WITH, FROM, VALUES, DESCRIBE, SHOW and SUMMARIZE are SELECTs of DuckDB's parser), or
    EXPLAIN of one. Raises duckdb.Error for text that does not parse.
    """
    try:
        sql.encode()
    except UnicodeEncodeError:
        return "the query holds half of a character; is it UTF-8?"
    statements = con.extract_statements(sql)
    if not statements:
        return "the query is empty"
    if len(statements) > 1:
        return f"these are {len(statements)} statements; write one SELECT"
    kind, selected = _kind(statements[0]), sql
    if kind == "EXPLAIN":
        kind, selected = _explained(con, sql)
    if kind != "SELECT":
        way_out = f"; {_WAYS_OUT[kind]}" if kind in _WAYS_OUT else ""
        return f"queries are read-only: a SELECT is what runs here, not {kind}{way_out}"
    return _refusal(con, selected) or statements[0]


def _explained(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[str, str]:
    """Kind and text of what EXPLAIN explains: after ANALYZE and options, the first place from which the text parses."""
    text = sql.encode()
    explain = re.compile(rb"explain\b", re.IGNORECASE)
    offsets = [offset for offset, _ in duckdb.tokenize(sql)]  # in bytes
    first = next(index for index, offset in enumerate(offsets) if explain.match(text, offset))
    for offset in offsets[first + 1 :]:
        rest = text[offset:].decode()
        try:
            return _kind(con.extract_statements(rest)[0]), rest
        except (duckdb.Error, IndexError):
            continue
    return "EXPLAIN", sql


def _kind(statement: duckdb.Statement) -> str:
    """SELECT, COPY, ...; a kind that the parser knows and its Python form does not is a kind of its own."""
    try:
        return statement.type.name
    except ValueError:
        return "a statement of another kind"


def _refusal(con: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """Why a SELECT is refused; None when everything in it only reads the tables."""
    try:
        tree = json.loads(con.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0])
    except (RecursionError, ValueError):
        return "it is nested too deeply"
    if tree.get("error"):
        return f"it cannot be looked through: {tree.get('error_message')}"
    for node in _nodes(tree):
        kind = str(node.get("type", ""))
        if kind.endswith("_NODE") and kind not in _NODES:
            return f"queries are read-only, and {kind.removesuffix('_NODE').replace('_', ' ')} stands in this one"
        if kind == "TABLE_FUNCTION":
            name = str(node["function"].get("function_name", "")).lower()
            if name not in _TABLE_FUNCTIONS:
                return f"{name}() is not among the functions of a query: it could reach more than the tables"
        elif kind == "BASE_TABLE":
            name = str(node.get("table_name", ""))
            if "/" in name or "\\" in name:
                return f"{name!r} is a file, and a query reads the tables alone"
            if name.lower() in _VIEWS:
                return f"{name} tells of the machine, not of the tables"
        elif str(node.get("function_name", "")).lower() in _FUNCTIONS:
            return f"{node['function_name']}() does not compute from its arguments alone"
    return None


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
