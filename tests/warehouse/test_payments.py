"""A payment counts once, and what was given back of it stands beside it in its own day."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from warehouse_cases import DAY, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy.absent import present_id
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.schema import table_of

PAID = "payment_completed"
BACK = "payment_refunded"


def money(event_id: str, day: int, payment: str, amount: float, currency: str = "EUR", **columns: Any) -> dict:
    """A payment, or with `event_name` a refund, of a person of its own."""
    sent = {"amount": amount, "currency": currency, "payment_id": payment}
    columns = {"event_name": PAID, "user_id": f"user of {payment}", "device_type": "api", **columns}
    return event(event_id, START + day * DAY, properties=json.dumps(sent), **{**columns, "event_name": PAID}) | {
        "event_name": columns["event_name"]
    }


def back(event_id: str, day: int, payment: str, amount: float, currency: str = "EUR", **columns: Any) -> dict:
    return money(event_id, day, payment, amount, currency, event_name=BACK, **columns)


def conversions(settings: Settings) -> dict[str, tuple]:
    query = "SELECT conversion_id, person_id, value, refunded, net_value, n_events FROM core.conversions"
    return {row[0]: row[1:] for row in rows_of(settings, query)}


# What lands, and the conversions: person, value, refunded, net value, events.
CASES: list[tuple[list[dict], dict[str, tuple], str]] = [
    ([money("a", 0, "p", 100), back("b", 9, "p", 100)], {"w:a": ("user of p", 100.0, 100.0, 0.0, 1)}, "given back in full"),
    ([money("a", 1, "p", 100), back("b", 0, "p", 30)], {"w:a": ("user of p", 100.0, 30.0, 70.0, 1)}, "the refund's clock is behind"),
    ([money("a", 0, "p", 100), back("b", 1, "p", 30), back("c", 2, "p", 80)], {"w:a": ("user of p", 100.0, 100.0, 0.0, 1)}, "never more than was paid"),
    ([money("a", 0, "p", 100), back("b", 1, "p", 30, "USD")], {"w:a": ("user of p", 100.0, 0.0, 100.0, 1)}, "another currency"),
    ([money("a", 0, "p", 100), back("b", 1, "q", 30)], {"w:a": ("user of p", 100.0, 0.0, 100.0, 1)}, "another payment"),
    ([money("a", 0, "p", 100), back("b", 1, "p", 30, user_id="clerk")], {"w:a": ("user of p", 100.0, 30.0, 70.0, 1)}, "said of another person"),
    ([money("a", 0, "p", 100), money("b", 1, "p", 100)], {"w:a": ("user of p", 100.0, 0.0, 100.0, 2)}, "said by two events"),
    ([money("b", 0, "p", 9), money("a", 0, "p", 8)], {"w:a": ("user of p", 8.0, 0.0, 8.0, 2)}, "at one moment the id decides"),
    ([money("a", 0, "p", 9, write_key="x"), money("a", 0, "p", 8)], {"w:a": ("user of p", 8.0, 0.0, 8.0, 2)}, "and then the write key"),
    ([money("a", 0, "p", 9, write_key="x", user_id="u"), money("b", 1, "p", 8)], {"x:a": ("u", 9.0, 0.0, 9.0, 2)}, "by two sources and persons"),
    ([money("a", 0, "", 9), money("b", 1, "", 8)], {"w:a": ("user of ", 9.0, 0.0, 9.0, 1), "w:b": ("user of ", 8.0, 0.0, 8.0, 1)}, "an empty id is none"),
    ([money("a", 0, " Null", 9, user_id="u"), money("b", 1, "undefined", 8, user_id="u"), money("c", 2, "undefined", 7, user_id="u"), back("d", 3, "undefined", 1)],
     {"w:a": ("u", 9.0, 0.0, 9.0, 1), "w:b": ("u", 8.0, 0.0, 8.0, 1), "w:c": ("u", 7.0, 0.0, 7.0, 1)}, "nor is a word for nothing"),
]  # fmt: skip


@pytest.mark.parametrize("landings", [1, 3], ids=["at once", "one event after another, the last first"])
def test_payments_and_refunds(tmp_path: Path, landings: int) -> None:
    settings = settings_for(tmp_path)
    expected = {}
    rows: list[list[dict]] = [[] for _ in range(landings)]
    for number, (case, wanted, _) in enumerate(CASES):
        for place, row in enumerate(reversed(case)):
            rows[place % landings].append(of_case(number, row))
        for name, (person, *numbers) in wanted.items():
            expected[name.replace(":", f":{number}-")] = (f"{number}-{person}", *numbers)
    for number, part in enumerate(rows):
        land(settings, part, f"import-{number}")
        refresh(settings)
    found = conversions(settings)
    for number, (_, _, why) in enumerate(CASES):
        of = f":{number}-"
        assert {k: v for k, v in found.items() if of in k} == {k: v for k, v in expected.items() if of in k}, why
    assert set(found) == set(expected)


def of_case(number: int, row: dict) -> dict:
    """The event with ids of a case of its own."""
    sent = json.loads(row["properties"])
    if present_id(sent["payment_id"]):
        sent["payment_id"] = f"{number}-{sent['payment_id']}"
    ids = {name: f"{number}-{row[name]}" for name in ("event_id", "user_id")}
    return {**row, **ids, "properties": json.dumps(sent)}


def test_a_late_copy_moves_the_conversion_with_its_credit(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    visits = [
        event(f"visit {who}", START, user_id=who, source=source) for who, source in (("a", "google"), ("b", "bing"))
    ]
    land(settings, [*visits, money("later", 2, "p", 10, user_id="a"), back("back", 3, "p", 4, user_id="a")], "import-1")
    refresh(settings)
    credit = "SELECT person_id, source, value, net_value FROM marts.attribution_credits WHERE model = 'first_touch'"
    assert rows_of(settings, credit) == [("a", "google", 10.0, 6.0)]
    land(settings, [money("earlier", 1, "p", 10, user_id="b")], "import-2")
    refresh(settings)
    assert rows_of(settings, credit) == [("b", "bing", 10.0, 6.0)]
    day = "SELECT DISTINCT day - DATE '2026-01-01', value, refunded, net_value FROM marts.channel_attribution"
    assert rows_of(settings, day) == [(1, 10.0, 4.0, 6.0)]
    check = next(each for each in table_of("core.conversions").checks if each.name == "conversions_arrive_once")
    with opened(settings.warehouse_path, settings, read_only=True) as con:
        result = check.run(con, BuildContext(settings, PLAN))
    assert (check.severity, result.passed, result.metadata) == ("WARN", False, {"offending": 1})


@pytest.mark.parametrize(
    ("where", "found"),
    [
        pytest.param({"plan": "pro"}, {"text"}, id="a text"),
        pytest.param({"plan": "1"}, {"text of a number"}, id="a text that looks like a number"),
        pytest.param({"plan": 1.0}, {"number", "decimal"}, id="a number however it is written"),
        pytest.param({"plan": True}, {"boolean"}, id="true is not 1"),
        pytest.param({"plan": False}, set(), id="absent is not false"),
        pytest.param({"plan": "it's"}, {"quote"}, id="a quote"),
        pytest.param({"plan": "pro", "x": "y"}, set(), id="all of them"),
    ],
)
def test_only_events_with_the_values_count(tmp_path: Path, where: dict, found: set[str]) -> None:
    settings = settings_for(tmp_path, GTM_CONVERSIONS=json.dumps([{"event": "page_viewed", "where": where}]))
    sent = {
        "text": '"pro"', "text of a number": '"1"', "number": "1", "decimal": "1.0", "boolean": "true", "null": "null",
        "quote": '"it\'s"', "other": '"Pro"',
    }  # fmt: skip
    rows = [event(name, START, user_id="u", properties=f'{{"plan": {text}}}') for name, text in sent.items()]
    land(settings, [*rows, event("absent", START, user_id="u")], "import-1")
    refresh(settings)
    assert {name.removeprefix("w:") for name in conversions(settings)} == found


def test_the_first_of_a_person_follows_who_the_person_is(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, GTM_CONVERSIONS=json.dumps([{"event": "signup_completed", "count": "first"}]))
    name = {"event_name": "signup_completed"}
    land(settings, [event("2", START + 2 * DAY, anonymous_id="a", **name), event("3", START + 3 * DAY, user_id="u", **name)], "import-1")  # fmt: skip
    refresh(settings)
    assert set(conversions(settings)) == {"w:2", "w:3"}
    land(settings, [event("login", START + 9 * DAY, anonymous_id="a", user_id="u")], "import-2")
    refresh(settings)
    assert set(conversions(settings)) == {"w:2"}
    land(settings, [event("1", START + DAY, user_id="u", **name)], "import-3")
    refresh(settings)
    assert set(conversions(settings)) == {"w:1"}
