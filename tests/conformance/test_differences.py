"""What the comparison of results calls a difference."""

from __future__ import annotations

import pyarrow as pa
import pytest
from conformance_differences import differences
from conformance_recording import relations

CREDITS = {
    "conversion_id": ["c1", "c1", "c2"], "model": ["linear"] * 3, "window_hours": [24.0] * 3,
    "session_key": ["s1", "s2", None], "credit": [0.5, 0.5, 1.0],
}  # fmt: skip


def changed(**columns: list) -> pa.Table:
    return pa.table({**CREDITS, **columns})


@pytest.mark.parametrize(
    ("found", "says"),
    [
        pytest.param(changed(), None, id="the same"),
        pytest.param(changed().take(pa.array([2, 0, 1])), None, id="in another order"),
        pytest.param(changed().select(sorted(CREDITS)), None, id="columns in another order"),
        pytest.param(changed(credit=[0.5 + 4e-10, 0.5, 1.0]), None, id="a measure within 1e-9"),
        pytest.param(changed(credit=[0.5 + 4e-9, 0.5, 1.0]), "conversion_id='c1', model='linear'", id="a measure beyond 1e-9"),
        pytest.param(changed(credit=[None, 0.5, 1.0]), "credit 0.5 expected, None found", id="a measure gone"),
        pytest.param(changed(window_hours=[24.0, 24.0, 24.0000000001]), "0 rows expected, 1 found", id="a key is exact"),
        pytest.param(changed().slice(1), "1 rows expected, 0 found", id="a row missing"),
        pytest.param(pa.concat_tables([changed(), changed().slice(2)]), "1 rows expected, 2 found", id="a row twice"),
        pytest.param(changed(extra=[1, 2, 3]), "columns", id="a column more"),
        pytest.param(changed().drop_columns(["credit"]), "columns", id="a column less"),
    ],
)  # fmt: skip
def test_differences_are_told_by_key(found: pa.Table, says: str | None) -> None:
    lines = differences("credits", changed(), found)
    assert bool(lines) == bool(says)
    assert not says or any(says in line for line in lines), lines


def test_a_count_is_exact_and_a_result_without_a_key_is_compared_whole() -> None:
    sessions = {"person_id": ["p", "p"], "start_us": [1, 2], "session_id": [None, None], "n_events": [3, 4]}
    wrong = pa.table({**sessions, "n_events": [3, 5]})
    assert differences("sessions", pa.table(sessions), wrong) == [
        "sessions person_id='p', start_us=2, session_id=None: n_events 4 expected, 5 found"
    ]
    assert len(differences("no such result", pa.table(sessions), wrong)) == 2


def test_what_a_statement_reads() -> None:
    assert relations("WITH a AS (SELECT x FROM t), b AS (SELECT * FROM a) SELECT b.x, u.y FROM b JOIN u ON u.x = b.x") == {
        "t": {"x", "y"}, "u": {"x", "y"},
    }  # fmt: skip
    assert relations("SELECT * FROM t") == {"t": None}
