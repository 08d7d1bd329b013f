"""Faster ways give what the plain ones give: the SQL that clears rows against Pandera, the sessions without splits."""

import json
import random

import duckdb
import pandera.pandas as pandera
import pyarrow as pa
import pytest
from profiles import slow_but
from warehouse_cases import MINUTE, PLAN, START, event, landing_table

from gtm_dagster.taxonomy.envelope import MAX_US
from gtm_dagster.taxonomy.landing_schema import validate_frame
from gtm_dagster.warehouse.staging import contract as judging
from gtm_dagster.warehouse.statements import statement

ODD = [
    {"event_id": None}, {"event_id": ""}, {"event_id": "x" * 128}, {"event_id": "é" * 128}, {"event_id": "x" * 129},
    {"event_id": "a@b.example"}, {"event_id": "@"}, {"event_name": "no_such_event"}, {"event_name": None},
    {"user_id": None, "anonymous_id": None}, {"user_id": ""}, {"anonymous_id": "y" * 257}, {"session_id": "s\x00"},
    {"event_us": None}, {"event_us": -1}, {"event_us": MAX_US}, {"event_us": MAX_US - 1}, {"device_type": "toaster"},
    {"device_type": None}, {"consent": "{}"}, {"consent": '{"analytics": 1}'}, {"consent": '{"analytics": true}'},
    {"consent": "no json"}, {"properties": None}, {"properties": "[]"}, {"properties": "{"}, {"page_url": "u" * 8193},
    {"country": "ü" * 64}, {"country": "ü" * 65}, {"source": "s\x00t"}, {"campaign": ""},
    {"event_name": "payment_completed", "properties": '{"amount": -1, "currency": "USD"}'},
    {"event_name": "payment_completed", "properties": '{"amount": 1, "currency": "USD"}'},
    {"event_name": "payment_completed", "properties": None},
]  # fmt: skip


def judged(rows: pa.Table, full: bool = False) -> list[tuple]:
    """What `judge` refuses, as (row, codes), and the masked event beside it."""
    con = duckdb.connect()
    numbered = rows.append_column("file_path", pa.array(["f"] * rows.num_rows))
    numbered = numbered.append_column("file_row", pa.array(range(rows.num_rows), pa.int64()))
    con.register("rows", numbered)
    con.execute("CREATE TABLE landed AS SELECT * FROM rows")
    judging.judge(con, PLAN, "landed", full)
    return con.execute("SELECT file_row, reason_codes, errors, raw FROM refused ORDER BY 1").fetchall()


def refused_by_pandera(rows: pa.Table) -> list[tuple]:
    verdict = validate_frame(PLAN, rows.to_pandas())
    bad = [place for place, ok in enumerate(verdict.ok) if not ok]
    return [
        (place, ",".join(sorted({error.code for error in errors})))
        for place, errors in zip(bad, verdict.reasons, strict=True)
    ]


every_odd = pytest.mark.parametrize("odd", ODD, ids=lambda odd: json.dumps(odd, ensure_ascii=True)[:40])


def beside_a_good_one(odd: dict) -> list[dict]:
    return [event("before", START, anonymous_id="x"), {**event("odd", START, anonymous_id="x"), **odd}]


@pytest.fixture(scope="module")
def verdicts() -> tuple[set[tuple], set[tuple]]:
    """What each of both refuses of all odd rows in one batch."""
    rows = landing_table([row for odd in ODD for row in beside_a_good_one(odd)])
    return {(row, codes) for row, codes, _, _ in judged(rows)}, set(refused_by_pandera(rows))


@every_odd
def test_an_odd_row_among_others_gets_the_verdict_of_pandera(verdicts, odd):
    first = 2 * ODD.index(odd)
    found, expected = ({each for each in refused if each[0] in (first, first + 1)} for refused in verdicts)
    assert found == expected


@pytest.mark.slow
@every_odd
def test_one_odd_row_gets_the_verdict_of_pandera(odd):
    rows = landing_table(beside_a_good_one(odd))
    assert [(row, codes) for row, codes, _, _ in judged(rows)] == refused_by_pandera(rows)


@pytest.mark.parametrize("seed", slow_but(1, *range(3)))
def test_random_bad_rows_get_the_verdict_of_pandera(seed):
    rng = random.Random(seed)
    rows = []
    for number in range(300):
        row = event(f"e{number}", START + number, user_id=rng.choice(["u", None]), anonymous_id="x")
        for odd in rng.sample(ODD, rng.choice([0, 0, 1, 2])):
            row |= odd
        rows.append(row)
    table = landing_table(rows)
    found = judged(table)
    assert [(row, codes) for row, codes, _, _ in found] == refused_by_pandera(table)
    assert 50 < len(found) < 250
    assert all(errors and raw for _, _, errors, raw in found)


def test_rows_of_another_plan_version_are_judged_only_in_full():
    bad = event("bad", START, anonymous_id="x", device_type="toaster", plan_version="0-0-1")
    assert judged(landing_table([bad])) == []
    assert [row for row, *_ in judged(landing_table([bad]), full=True)] == [0]


def test_a_check_without_sql_is_an_error_not_a_skip(monkeypatch):
    schema = pandera.DataFrameSchema({"source": pandera.Column("str", pandera.Check(lambda s: s != "", name="new"))})
    monkeypatch.setattr(judging, "landing_schema", lambda plan: schema)
    with pytest.raises(ValueError, match="check 'new' of landing column source has no SQL"):
        judging.envelope_sql(PLAN)


@pytest.mark.parametrize("seed", slow_but(3, *range(8)))
def test_sessions_without_splits_are_those_of_the_statement_that_can_split(seed):
    rng = random.Random(seed)
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE browsing_events (person_id BIGINT, event_us BIGINT, event_id VARCHAR, write_key VARCHAR, source_key INTEGER, touch_rank INTEGER, day_no INTEGER, arrival BIGINT)"
    )
    for number in range(rng.choice([1, 40, 400])):
        rank = rng.choice([None, None, 1, 2])
        moment = START + rng.randrange(0, 60) * 10 * MINUTE + rng.choice([0, 0, 1])
        ids = [f"e{rng.randrange(1000)}-{number}", rng.choice(["v", "w"])]
        key = rng.randrange(1, 9) if rank else None
        con.execute(
            "INSERT INTO browsing_events VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
            [rng.randrange(4), moment, *ids, key, rank, key],
        )
    plain = statement("sessions", timeout_us=30 * MINUTE, split_midnight=0, split_campaign=0)
    quick = statement("sessions_unsplit", timeout_us=30 * MINUTE)
    found, expected = (con.execute(f"SELECT * FROM ({sql}) ORDER BY 1, 2").fetchall() for sql in (quick, plain))
    assert found == expected
    assert found
