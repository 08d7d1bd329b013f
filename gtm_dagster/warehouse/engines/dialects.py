"""The statements of `sql/` in the words of another engine, and the deployment's values for their parameters.

SQLGlot translates; what it is known to get wrong without saying so is put right here or refused. The conformance tests
run the result on real engines (docs/engines.md says which).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp

from gtm_dagster.settings.nearest import known_names
from gtm_dagster.warehouse.statements import names, text

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

DIALECTS = ("duckdb", "spark", "snowflake", "bigquery", "postgres")


class PortabilityError(ValueError):
    """A statement, dialect or parameter that is not known, or a construct the dialect has no words for."""


def parameters_of(name: str) -> list[str]:
    """The `$name` parameters of a statement, in the order they occur outside of comments."""
    return list(dict.fromkeys(node.name for node in _tree(text(_known(name))).find_all(exp.Parameter, exp.Placeholder)))


def summary(name: str) -> str:
    """What a statement gives: the first sentence of the comment it opens with."""
    lines = [line[2:].strip() for line in text(_known(name)).splitlines() if line.startswith("--")]
    return re.split(r"(?<=\.)\s", " ".join(lines), maxsplit=1)[0]


def session_statement(settings: Settings) -> str:
    """The statement the build makes sessions with under the deployment's definition; only `ua` splits inside a visit."""
    return {"tracker": "sessions_tracker", "ua": "sessions"}.get(settings.sessions.definition, "sessions_unsplit")


def parameters(settings: Settings) -> dict[str, int]:
    """The parameters that the settings decide: microseconds, and 0 or 1 for the two splits of definition `ua`.

    `stage_no` and `after_us` of the funnel, `first_no`, `last_no` and `open_no` of retention and `step_no` of transforms
    belong to one step and are not among them.
    """
    ua = int(settings.sessions.definition == "ua")
    return {
        "timeout_us": round(settings.sessions.timeout_minutes * 60_000_000),
        "split_midnight": ua,
        "split_campaign": ua,
        "max_touches": settings.attribution.max_touches,
    }


def render(name: str, dialect: str, values: Mapping[str, int] | None = None) -> str:
    """`sql/<name>.sql` for `dialect`; a parameter without a value stays a named parameter of that dialect.

    Raises PortabilityError naming what is not known or cannot be said.
    """
    return translate(text(_known(name)), dialect, values or {}, what=name)


def translate(
    sql: str,
    dialect: str,
    values: Mapping[str, int] | None = None,
    *,
    what: str = "statement",
    renamed: Mapping[str, str] | None = None,
) -> str:
    """A statement in the portable core (DuckDB's words) for another dialect; see `render`.

    `renamed`: other names for tables it reads; each is known as before within the statement.
    """
    if dialect not in DIALECTS:
        raise PortabilityError(f"{dialect!r} is not a dialect known here; {known_names(dialect, DIALECTS)}")
    tree = _tree(sql)
    for node in list(tree.find_all(exp.Parameter, exp.Placeholder)):
        if values and node.name in values:
            node.replace(exp.Literal.number(int(values[node.name])))
    for table in tree.find_all(exp.Table):
        if renamed and table.name in renamed:
            table.set("this", exp.to_identifier(renamed[table.name]))
    unknown = sorted({node.name for node in tree.find_all(exp.Anonymous)})
    if unknown:
        raise PortabilityError(f"{what}: no translation is known for the function {', '.join(unknown)}")
    if dialect == "postgres":
        tree = tree.transform(_without_ignore_nulls)
    try:
        return tree.sql(dialect=dialect, pretty=True, unsupported_level=sqlglot.ErrorLevel.RAISE)
    except sqlglot.errors.UnsupportedError as error:
        raise PortabilityError(f"{what}: {dialect} has no words for it: {error}") from error


def _tree(sql: str) -> exp.Expr:
    return sqlglot.parse_one(sql, read="duckdb")


def _known(name: str) -> str:
    if name not in names():
        raise PortabilityError(f"{name!r} is not a statement; {known_names(name, names())}")
    return name


def _without_ignore_nulls(node: exp.Expr) -> exp.Expr:
    """FIRST_VALUE and LAST_VALUE IGNORE NULLS as an element of ARRAY_AGG: PostgreSQL 18 and older cannot skip NULL.

    An aggregate over a window collects in the window's order, so element 1 is the first value and element COUNT(x) over
    the same window is the last.
    """
    if not (isinstance(node, exp.Window) and isinstance(node.this, exp.IgnoreNulls)):
        return node
    function = node.this.this
    if not isinstance(function, exp.FirstValue | exp.LastValue):
        raise PortabilityError(f"postgres has no words for {node.sql(dialect='duckdb')}")

    def over(aggregate: exp.Expr) -> exp.Window:
        window = node.copy()
        window.set("this", aggregate)
        return window

    value = function.this
    kept = exp.Filter(
        this=exp.ArrayAgg(this=value.copy()),
        expression=exp.Where(this=exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null()))),
    )
    place = exp.Literal.number(1) if isinstance(function, exp.FirstValue) else over(exp.Count(this=value.copy()))
    return exp.Bracket(this=exp.Paren(this=over(kept)), expressions=[place], offset=1)
