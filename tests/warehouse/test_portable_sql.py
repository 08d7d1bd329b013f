"""The lint of the portable core, and the promise that another engine's dialect can be written from it."""

import re

import pytest
import sqlglot
from sqlglot import exp

from gtm_dagster.warehouse import statements
from gtm_dagster.warehouse.engines import dialects as portable

PARAMS = {name: 1 for file in statements.names() for name in re.findall(r"\$([a-z_]+)", statements.text(file))}
FORBIDDEN = {
    exp.Qualify: "QUALIFY is not everywhere",
    exp.Unnest: "UNNEST on join output broke DuckDB 2.0.0",
    exp.Anonymous: "a function no translator knows passes through silently",
    exp.DateTrunc: "weeks start on different days; use the calendar",
    exp.TimestampTrunc: "weeks start on different days; use the calendar",
    exp.DateDiff: "units differ by engine; use whole microseconds",
    exp.Lambda: "list functions are not portable",
    exp.ArgMin: "not portable",
    exp.ArgMax: "not portable",
}


def tree(name: str) -> exp.Expression:
    return sqlglot.parse_one(statements.statement(name, **PARAMS), read="duckdb")


@pytest.mark.parametrize("name", statements.names())
def test_statement_keeps_to_the_portable_core(name):
    parsed = tree(name)
    for kind, reason in FORBIDDEN.items():
        assert not list(parsed.find_all(kind)), f"{name}: {reason}"
    for window in parsed.find_all(exp.Window):
        assert window.args.get("partition_by"), f"{name}: a window without PARTITION BY: {window.sql()}"
        order = window.args.get("order")
        ranked = isinstance(window.this, (exp.RowNumber, exp.Lag, exp.Lead, exp.IgnoreNulls))
        assert order or not ranked, f"{name}: a ranking window without ORDER BY: {window.sql()}"
        for term in order.expressions if order else []:
            assert "NULLS" in term.sql(dialect="duckdb") or "nulls_first" in term.args, (
                f"{name}: say NULLS FIRST or LAST: {window.sql()}"
            )
    for literal in parsed.find_all(exp.Literal):
        text = str(literal.this)
        assert literal.is_string or "." not in text or "e" in text.lower(), (
            f"{name}: {text} is a decimal on Spark; write it with an exponent"
        )


@pytest.mark.parametrize("dialect", portable.DIALECTS)
@pytest.mark.parametrize("name", statements.names())
def test_statement_translates_without_a_warning(name, dialect, caplog):
    written = portable.render(name, dialect, PARAMS)
    assert sqlglot.parse_one(written, read=dialect) is not None
    assert not caplog.records


IGNORED = "SELECT LAST_VALUE(x IGNORE NULLS) OVER (PARTITION BY p ORDER BY t NULLS FIRST ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS l FROM r"


@pytest.mark.parametrize(
    ("dialect", "sql", "holds"),
    [
        pytest.param("spark", IGNORED, "LAST_VALUE(x) IGNORE NULLS", id="Spark skips NULL itself"),
        pytest.param("postgres", IGNORED, "ARRAY_AGG(x) FILTER(WHERE NOT x IS NULL)", id="PostgreSQL cannot"),
        pytest.param("postgres", IGNORED.replace("LAST_VALUE", "FIRST_VALUE"), ")[1]", id="the first is element 1"),
    ],
)
def test_what_the_translator_gets_wrong_is_put_right(dialect, sql, holds):
    assert "".join(holds.split()) in "".join(portable.translate(sql, dialect).split())


def test_a_function_without_a_translation_is_refused():
    with pytest.raises(portable.PortabilityError, match="EPOCH_US"):
        portable.translate("SELECT EPOCH_US(t) AS u FROM r", "spark")


def test_the_lint_can_fail():
    bad = sqlglot.parse_one(
        "SELECT epoch_of(x), QUANTUM(y) FROM t QUALIFY row_number() OVER (ORDER BY x) = 1", read="duckdb"
    )
    assert list(bad.find_all(exp.Anonymous))
    assert list(bad.find_all(exp.Qualify))
