"""The traffic can tell right from wrong: a statement that is a little wrong gives another result over it."""

from __future__ import annotations

from pathlib import Path

import pytest
from conformance_mutants import differs, loaded, mutants
from sqlglot import exp

from gtm_dagster.warehouse import statements

pytestmark = pytest.mark.real
ALWAYS_CAUGHT = (exp.IgnoreNulls, exp.Lag, exp.Lead, exp.Join)
"""What another engine or a translation is known to get wrong."""
CAUGHT_AT_LEAST = 0.8
"""Not all: some changes change nothing, e.g. keeping a moment more than is needed, COALESCE in a GROUP BY, the order of
touches that have one source, or `share > 0`, which is 0 only more than a thousand half-lives away."""


def size(recording: dict) -> int:
    return sum(path.stat().st_size for path in Path(recording["folder"]).glob("*.parquet"))


@pytest.mark.parametrize("statement", statements.names())
def test_wrong_statements_are_caught(locked: dict, statement: str) -> None:
    """Each by at least one recording; the smallest are asked first."""
    recorded = [r for told in locked["scenarios"].values() for r in told if r["statement"] == statement]
    left = every = list(mutants(statement))
    for one in sorted(recorded, key=size):
        with loaded(one) as con:
            assert not differs(con, one["sql"])
            left = [mutant for mutant in left if not differs(con, mutant.filled(one["params"]))]
    survived = "\n".join(mutant.change for mutant in left)
    assert not [mutant for mutant in left if mutant.kind in ALWAYS_CAUGHT], survived
    assert len(left) <= (1 - CAUGHT_AT_LEAST) * len(every), survived
