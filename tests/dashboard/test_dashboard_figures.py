"""What the figures of the screens mean, on deployments small enough to count by hand."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from asgi_client import AsgiClient
from dashboard_cases import LAST, dashboard, publish, settings_in, small

from gtm_dagster.collector.metrics import REASON_CODES
from gtm_dagster.dashboard.refusal_meanings import MEANINGS
from gtm_dagster.warehouse.engine import in_memory
from gtm_dagster.warehouse.quarantine_groups import add_shapes, group_id
from gtm_dagster.warehouse.quarantine_groups import groups as quarantine_groups

_UTC = datetime(2026, 11, 20, 12, tzinfo=UTC)
MOMENT = _UTC.replace(tzinfo=None)
"""As DuckDB has it: UTC without a zone."""
_US = round(_UTC.timestamp() * 1e6)


def _chart(client: AsgiClient, name: str, query: str = "") -> list[dict[str, Any]]:
    return json.loads(client.get(f"/chart/{name}.json{query}").text)  # type: ignore[no-any-return]


def _with(tmp_path: Path, cells: dict[str, list[dict[str, Any]]]) -> Any:
    settings = settings_in(tmp_path)
    publish(settings.serving_path, small() | cells)
    return dashboard(settings)


STAGES = ("acquired", "signed_up", "onboarded")
RATES = [{"cohort_day": None, "channel": "(all)", "stage": stage, "stage_no": n} for n, stage in enumerate(STAGES, 1)]


def test_a_stage_has_those_of_the_period_and_what_goes_on(tmp_path: Path) -> None:
    with _with(tmp_path, {"marts.funnel_rates": RATES}) as client:
        rows = _chart(client, "funnel_stages")
        text = client.get("/funnel").text
    # 30 days of 10, 2 and 1 persons, and as many before
    assert [(row["stage"], row["reached"], row["reached_before"]) for row in rows] == [
        ("acquired", 300, 300), ("signed_up", 60, 60), ("onboarded", 30, 30)
    ]  # fmt: skip
    assert [row["rate_from_before"] for row in rows] == [None, 0.2, 0.5]
    assert [row["rate_from_first"] for row in rows] == [1.0, 0.2, 0.1]
    assert "Most are lost between acquired and signed_up: 240 of 300 (80 %)." in text
    assert "10 % of the first stage have reached onboarded, 10 % of those of the period before." in text


def test_a_stage_that_nobody_reached_is_there_with_0(tmp_path: Path) -> None:
    rates = [*RATES, {"cohort_day": None, "channel": "(all)", "stage": "retained", "stage_no": 4}]
    with _with(tmp_path, {"marts.funnel_rates": rates}) as client:
        last = _chart(client, "funnel_stages", "?channel=Email")[-1]
    assert (last["stage"], last["reached"], last["rate_from_before"]) == ("retained", 0, 0.0)


def test_a_channel_without_accounts_is_not_drawn_as_a_zero(tmp_path: Path) -> None:
    with _with(tmp_path, {}) as client:
        text = client.get("/funnel?count=accounts").text
    assert "No account came for the first time" in text


COHORTS = [
    # cohort, period, persons, retained, open
    (date(2026, 11, 2), 0, 10, 10, False), (date(2026, 11, 2), 1, 10, 5, False), (date(2026, 11, 2), 2, 10, 1, True),
    (date(2026, 11, 9), 0, 30, 30, False), (date(2026, 11, 9), 1, 30, 3, True),
    (date(2026, 11, 16), 0, 20, 20, True),
]  # fmt: skip
RETENTION = [
    {"cohort": cohort, "channel": "Email", "period": period, "persons": n, "retained": back, "rate": back / n, "is_open": is_open}
    for cohort, period, n, back, is_open in COHORTS
]  # fmt: skip


def test_open_cells_are_marked_and_in_no_average(tmp_path: Path) -> None:
    with _with(tmp_path, {"marts.retention": RETENTION}) as client:
        cells = _chart(client, "retention_cells")
        channels = _chart(client, "retention_channels")
        text = client.get("/retention").text
    assert [row["rate"] for row in cells] == [1.0, 0.5, 0.1, 1.0, 0.1, 1.0]
    assert [(row["period"], row["size"], row["rate"]) for row in channels] == [(0, 40, 1.0), (1, 10, 0.5)]
    assert "A week later 50 % were back: 5 of 10" in text
    wide, small = re.findall(r'<svg [^>]*class="chart cells".*?</svg>', text)[:2]
    for picture in (wide, small):
        assert len(re.findall(r'fill="url\(#(hatch|deep)\w+\)"', picture)) == 3
    patterns = re.findall(r'<pattern id="(\w+)"', text)
    assert len(patterns) == len(set(patterns)) == 8


def _conversion(number: int, value: float, hours_before: float | None, touches: int) -> dict[str, list[dict[str, Any]]]:
    """A conversion of person `number` on the newest day, with touches an hour apart, the oldest `hours_before` it."""
    one = {
        "conversion_id": f"dev:order-{number}", "person_id": f"person-{number}", "conversion_time": MOMENT, "day": LAST,
        "conversion_type": "payment_completed", "value": value, "currency": "EUR", "conversion_us": _US, "person_no": number,
        "refunded": 0.0, "net_value": value,
    }  # fmt: skip
    ages = [] if hours_before is None else [hours_before - n for n in range(touches)]
    points = [
        {
            "conversion_id": one["conversion_id"], "session_key": f"s{number}-{n}", "channel": ("Email", "Direct")[n % 2],
            "touch_time": MOMENT - timedelta(hours=age), "age_us": round(age * 3.6e9), "touch_us": _US - round(age * 3.6e9),
            "conversion_us": _US, "tie_no": 1, "n_touches": touches, "person_no": number, "source_key": 0,
        }
        for n, age in enumerate(ages)
    ]  # fmt: skip
    credits = [
        {
            "conversion_id": one["conversion_id"], "model": "linear", "window_hours": 168.0, "session_key": point["session_key"],
            "channel": point["channel"], "credit": 1 / touches, "value": value / touches, "net_value": value / touches,
            "person_no": number,
        }
        for point in points
    ]  # fmt: skip
    return {"core.conversions": [one], "core.touchpoints": points, "marts.attribution_credits": credits}


@pytest.fixture
def journeys(tmp_path: Path) -> Any:
    cells: dict[str, list[dict[str, Any]]] = {}
    for part in (_conversion(1, 30.0, 30.0, 2), _conversion(2, 50.0, 5.0, 3), _conversion(3, 20.0, None, 0)):
        for name, rows in part.items():
            cells.setdefault(name, []).extend(rows)
    with _with(tmp_path, cells) as client:
        yield client


def test_paths_times_and_touches_count_each_conversion_once(journeys: AsgiClient) -> None:
    paths = {row["path"]: (row["conversions"], row["value"]) for row in _chart(journeys, "top_paths")}
    assert paths == {"Email > Direct": (1, 30.0), "Email > Direct > Email": (1, 50.0), "(no touch)": (1, 20.0)}
    times = {row["time_to_convert"]: row["conversions"] for row in _chart(journeys, "time_to_convert")}
    assert {name: n for name, n in times.items() if n} == {
        "1 to 3 days": 1,
        "1 to 24 hours": 1,
        "no touch before it": 1,
    }
    touches = {row["touches"]: row["conversions"] for row in _chart(journeys, "touches_to_convert")}
    assert {name: n for name, n in touches.items() if n} == {"2": 1, "3": 1, "none": 1}


@pytest.mark.parametrize(
    ("asked", "found"),
    [("", 3), ("order-2", 1), ("ORDER-2", 1), ("person-3", 1), ("nothing", 0), ("%", 0), ("' OR 1=1 --", 0)],
    ids=["all", "part of an id", "any case", "a person", "nobody", "no pattern", "no statement"],
)
def test_a_conversion_is_found_by_its_id_or_its_person(journeys: AsgiClient, asked: str, found: int) -> None:
    assert journeys.get(f"/journeys?q={asked}").text.count('href="/conversions/') == found


def test_one_conversion_shows_every_touch_and_credit_that_adds_up(journeys: AsgiClient) -> None:
    link = journeys.get("/journeys?q=order-2").text.split('href="/conversions/')[1].split('"')[0].split("?")[0]
    text = journeys.get(f"/conversions/{link}").text
    assert "dev:order-2" in text and "50.00 EUR" in text
    assert text.count("33.33 %") + text.count("33.34 %") == 3
    assert "adds up to 1" in text and "5.0 h before" in text


def test_a_conversion_that_is_not_there_is_a_404_with_the_nearest(journeys: AsgiClient) -> None:
    answer = journeys.get("/conversions/dev%3Aorder-9")
    assert answer.status_code == 404
    assert "there is no conversion dev:order-9" in answer.text and "dev:order-1" in answer.text


def _book(day: date, clean: int, refused: int, read: int) -> dict[str, Any]:
    return {
        "ingest_date": day, "log_rows": read, "raw": read, "clean": clean, "duplicates": 0, "quarantined": refused,
        "suppressed": 0, "withdrawn": 0, "bots": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("read", "words"),
    [(11, "The books balance on all 2 days"), (12, "The books do not balance on 2026-11-20: run")],
    ids=["balanced", "a row is missing"],
)
def test_books_that_do_not_balance_are_named(tmp_path: Path, read: int, words: str) -> None:
    books = [_book(LAST - timedelta(days=1), 5, 0, 5), _book(LAST, 10, 1, read)]
    with _with(tmp_path, {"staging.books": books}) as client:
        assert words in client.get("/tracking").text


def test_a_refused_event_stands_with_its_reasons_and_masked(tmp_path: Path) -> None:
    row = {
        "write_key": "web", "event_id": "e1", "event_name": "page_veiwed", "reason_codes": "unknown_event,missing_identity",
        "errors": '[{"path": "event_name", "code": "unknown_event", "message": "no event of the plan; nearest: page_viewed"}]',
        "raw": '{"user_id": "<string:7>"}', "received_at": MOMENT, "received_us": _US, "origin": "log", "file_key": "f", "row_no": 1,
    }  # fmt: skip
    with _with(tmp_path, {"staging.quarantine": [row, row | {"event_id": "e2", "row_no": 2}]}) as client:
        reasons = _chart(client, "quarantine_reasons")
        text = client.get("/tracking").text
    assert [(each["reason"], each["quarantined"]) for each in reasons] == [
        ("missing_identity", 2),
        ("unknown_event", 2),
    ]
    assert "nearest: page_viewed" in text and "&lt;string:7&gt;" in text and "gtm quarantine show e1" in text
    assert text.count("<dd>") == 5 + 2 and "the plan has no event of this name" in text
    assert set(REASON_CODES) <= set(MEANINGS)


def test_refused_events_stand_in_the_groups_of_the_command_line(tmp_path: Path) -> None:
    days = {"a": 0, "b": 0, "c": 6, "d": 7, "e": 13, "f": 14}  # days before the last one
    rows = [
        {
            "write_key": "web", "event_id": event_id, "event_name": "signup_completed", "reason_codes": "type",
            "errors": json.dumps([{"path": "properties.x" if event_id != "b" else "properties.y", "code": "type", "message": "m"}]),
            "raw": "{}", "received_at": MOMENT - timedelta(days=n), "received_us": _US - n * 86_400_000_000, "origin": "log",
            "file_key": "f", "row_no": n,
        }
        for event_id, n in days.items()
    ]  # fmt: skip
    with _with(tmp_path, {"staging.quarantine": rows}) as client:
        groups = _chart(client, "quarantined_examples")
        text = client.get("/tracking").text
    assert [(each["event_id"], each["alike"], each["last_7_days"], each["week_before"]) for each in groups] == [
        ("a", 5, 2, 2), ("b", 1, 1, 0),
    ]  # fmt: skip
    with in_memory() as con:
        con.register("rows", pa.Table.from_pylist(rows))
        con.execute("CREATE TABLE quarantine AS SELECT *, '1' AS plan_version FROM rows")
        add_shapes(con)
        con.execute("CREATE TABLE accepted_since (write_key VARCHAR, event_id VARCHAR)")
        for group in quarantine_groups(con, _US):
            assert f"gtm quarantine replay {group.id} --cast" not in text and f"replay {group.id} " in text


REFUSED = [
    ("a name near to one of the plan", "page_veiwed", "unknown_event", "event_name", {}, "alias", "--alias page_veiwed=page_viewed"),
    ("values that all read as numbers", "payment_completed", "type", "properties.amount", {"amount": ["5", "7.5"]}, "cast", "--cast amount=number"),
    ("a value that reads as none", "payment_completed", "type", "properties.amount", {"amount": ["5", "many"]}, "sender", ""),
    ("a property near to a declared one", "payment_completed", "unknown_property", "properties.curency", {}, "rename", "--rename curency=currency"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "code", "path", "values", "kind", "option"),
    [each[1:] for each in REFUSED],
    ids=[each[0] for each in REFUSED],
)
def test_a_group_says_what_would_help_and_the_line_that_replays_it(
    tmp_path: Path, name: str, code: str, path: str, values: dict[str, list[str]], kind: str, option: str
) -> None:
    property_name, found = next(iter(values.items()), ("x", ["1"]))
    rows = [
        {
            "write_key": "web", "event_id": f"e{n}", "event_name": name, "reason_codes": code,
            "errors": json.dumps([{"path": path, "code": code, "message": "m"}]), "raw": json.dumps({"properties": {property_name: value}}),
            "received_at": MOMENT, "received_us": _US, "origin": "log", "file_key": "f", "row_no": n,
        }
        for n, value in enumerate(found)
    ]  # fmt: skip
    group = group_id(name, f"{code} {path}")
    with _with(tmp_path, {"staging.quarantine": rows}) as client:
        text = html.unescape(client.get("/tracking").text)
    assert f"<b>{kind}</b>" in text
    assert " ".join(f"gtm quarantine replay {group} {option} --dry-run".split()) in text


def test_own_events_stand_on_the_page_at_once(tmp_path: Path) -> None:
    from gtm_dagster.admission.record import Record
    from gtm_dagster.eventlog import open_log

    settings = settings_in(tmp_path)
    error = '[{"path": "event_name", "code": "unknown_event", "message": "no event of the plan"}]'
    now_us = round(datetime.now(UTC).timestamp() * 1e6)
    good = Record("dev", "my-1", "signup_completed", now_us, now_us, user_id="p", properties="{}")
    bad = Record(
        "dev",
        "my-2",
        "signup_complet",
        None,
        now_us,
        verdict="quarantined",
        reason_codes="unknown_event",
        errors=error,
        raw="{}",
    )
    drill = [
        Record("dev", f"d-{n}", "guard_drill_converted", now_us, now_us, verdict="suppressed", reason_codes="drill")
        for n in range(60)
    ]
    with open_log(settings) as log:
        log.append(drill[:1])
        with dashboard(settings) as client:
            assert "guard_drill_converted" in client.get("/tracking").text  # there is nothing else yet
        log.append([good, bad])
        log.append([good])
        log.append(drill[1:])  # a drill sends thousands, among which one's own event would not be seen
    with dashboard(settings) as client:
        text = client.get("/tracking").text
    for words in ("signup_completed", "signup_complet", "no event of the plan", "my-2"):
        assert words in text
    assert "guard_drill_converted" not in text
    for name in ("accepted", "duplicate", "quarantined"):
        assert f'<div class="name">{name}</div>\n<div class="value">1</div>' in text, name
