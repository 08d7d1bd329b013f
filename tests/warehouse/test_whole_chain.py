"""One random stream through all oracles: from landed rows to credit, money, spend, funnel and retention, one upon the other.

Each oracle works on what the one before found, never on a table of the warehouse. Batches bring merges, aliases, copies,
bots, refunds and spend; an import of events and one of spend are withdrawn. Incremental = rebuild = oracles.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import credit_oracle
import money_oracle
import pipeline_oracle
import pytest
import spend_oracle
from profiles import slow_but
from session_oracle import local_day
from test_money import as_expected, assert_alike, import_spend_rows, money_of, spend_of, spend_rows
from test_pipeline_oracle import CONFIGURATIONS, expected_of, found_in, settings_of, stream
from warehouse_cases import PLAN, land, refresh, rows_of

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.landed_spend import SpendLanding
from gtm_dagster.warehouse.verify import verify

REFUNDS = {"event": "payment_refunded", "value": "amount", "currency": "currency", "of": "payment_id"}
KINDS = [
    {"event": "payment_completed", "value": "amount", "currency": "currency", "unique": "payment_id", "refunds": REFUNDS},
    {"event": "signup_completed"},
]  # fmt: skip
WINDOWS = [
    {"model": "first_touch", "lookback_hours": 400},
    {"model": "linear", "lookback_hours": 168, "channel_hours": {"Paid Search": 24}},
    {"model": "position_based", "lookback_hours": 168, "name": "seen once", "transforms": ["exposure"]},
    {"model": "time_decay", "lookback_hours": 400, "half_life_hours": 24},
    {"model": "last_non_direct", "lookback_hours": 200, "without": ["Email"]},
    {"model": "w_shaped", "lookback_hours": 400},
]
SUMS = "conversions, value, net_value, spend, cpa, roas"


def with_money(rows: list[dict]) -> list[dict]:
    """Payments of few ids in two currencies, and in place of onboarding refunds of them; the same for each copy of an event."""
    found = []
    for row in rows:
        dice = random.Random(row["event_id"])
        sent = json.loads(row["properties"])
        if row["event_name"] in ("payment_completed", "onboarding_completed"):
            sent |= {"amount": dice.choice((0.0, 2.5, 10.0, 33.33)), "currency": dice.choice(("EUR", "EUR", "USD"))}
            sent["payment_id"] = f"p{dice.randrange(25)}"
        name = {"onboarding_completed": "payment_refunded"}.get(row["event_name"], row["event_name"])
        found.append({**row, "event_name": name, "properties": json.dumps(sent)})
    return found


def money_by_oracles(
    rows: list[dict], spent: list[list[dict]], one: pipeline_oracle.Deployment
) -> tuple[list, dict, dict, dict]:
    """Conversions, credits by touch, spend, and the rows of marts.channel_attribution."""
    kept = pipeline_oracle.staged(rows)
    person = pipeline_oracle.persons_of(kept)
    lives = [  # what a program sent may convert, and is no visit
        {**row, "user_id": person[row["write_key"], row["event_id"]], "anonymous_id": None,
         "device_type": "api" if row["bot_reason"] else row["device_type"]}
        for row in kept
    ]  # fmt: skip
    paid = {each.conversion_id: each for each in as_expected(lives, KINDS)}
    deployed = credit_oracle.Deployment(WINDOWS, definition=one.definition, zone=one.zone, timeout_us=one.timeout_us)
    credits = {}
    beside = []
    touched = credit_oracle.everything(lives, deployed, digits=13)[1]
    for (name, label, hours, session, channel, credit), times in touched.items():
        if name not in paid:  # another event of a payment that counts once
            continue
        assert times == 1
        gross, refunded = paid[name].value, paid[name].refunded
        value = None if gross is None else credit * gross
        net = None if gross is None or refunded is None else credit * (gross - refunded)
        credits[name, label, hours, session, channel] = credit, value, net
        beside.append({"conversion_id": name, "model": label, "window_hours": hours, "channel": channel, "credit": credit, "value": value, "net_value": net})  # fmt: skip
    days = {f"{row['write_key']}:{row['event_id']}": local_day(row["event_us"], one.zone) for row in lives}
    conversions = [
        {"conversion_id": name, "day": days[name], "conversion_type": each.conversion_type, "currency": each.currency}
        for name, each in paid.items()
    ]
    costs = money_oracle.spend(spent, one.zone)
    results = [(str(window.get("name", window["model"])), float(str(window["lookback_hours"]))) for window in WINDOWS]
    by_channel = spend_oracle.by_channel(
        beside, conversions, [{**key._asdict(), "cost": cost} for key, cost in costs.items()], results
    )
    return sorted(paid.values()), credits, costs, by_channel


def assert_money(settings: Settings, rows: list[dict], spent: list[list[dict]], one: pipeline_oracle.Deployment) -> int:
    """The warehouse holds what the oracles found, to 1e-9; the number of credits that were compared."""
    paid, credits, costs, by_channel = money_by_oracles(rows, spent, one)
    assert money_of(settings) == paid
    assert_alike(spend_of(settings), costs)
    for table, names, figures, expected in (
        ("attribution_credits", "conversion_id, model, window_hours, session_key, channel", "credit, value, net_value", credits),
        ("channel_attribution", "day, conversion_type, currency, model, window_hours, channel", SUMS, by_channel),
    ):  # fmt: skip
        width = len(names.split(","))
        found = {row[:width]: row[width:] for row in rows_of(settings, f"SELECT {names}, {figures} FROM marts.{table}")}
        assert found.keys() == expected.keys(), table
        for key, row in found.items():
            largest = max((abs(each) for each in expected[key] if each is not None), default=0.0)
            # a sum of hundreds of values differs in its last digits
            assert row == pytest.approx(expected[key], abs=max(1e-9, 1e-11 * largest)), (table, key)
    return len(credits)


def check(folder: Path, seed: int, one: pipeline_oracle.Deployment, count: int, batches: int) -> int:
    """Land a stream and spend in batches, withdraw one of each, and compare after each refresh and with a rebuild."""
    rng = random.Random(seed)
    rows = with_money(stream(rng, count, one.timeout_us))
    settings = settings_of(
        folder, one, GTM_CONVERSIONS=json.dumps(KINDS), GTM_ATTRIBUTION__WINDOWS=json.dumps(WINDOWS),
        GTM_ATTRIBUTION__STAGES=json.dumps(credit_oracle.Deployment(WINDOWS).stages),
    )  # fmt: skip
    landed: dict[str, list[dict]] = {}
    spent: dict[str, list[dict]] = {}
    compared = 0
    for number in range(batches):
        landed[f"import-{number}"] = rows[number::batches]
        spent[f"spend-{number}"] = spend_rows(rng, 20)
        land(settings, landed[f"import-{number}"], f"import-{number}")
        import_spend_rows(settings, f"spend-{number}", spent[f"spend-{number}"])
        if number == batches - 1:
            Landing(settings.landing_dir).withdraw("import-0", by="me", reason="wrong file")
            SpendLanding(settings.landing_dir).withdraw("spend-0", by="me", reason="wrong account")
            del landed["import-0"], spent["spend-0"]
        refresh(settings)
        there = [row for part in landed.values() for row in part]
        compared += assert_money(settings, there, list(spent.values()), one)
        found, expected = found_in(settings, one), expected_of(there, one)
        for name, table in expected.items():
            assert found[name] == table, (name, seed, number)
    result = verify(settings, PLAN)
    assert result.ok, result.first
    return compared


@pytest.mark.parametrize("number", slow_but(1, *range(len(CONFIGURATIONS))))
def test_every_oracle_agrees_on_one_stream(tmp_path: Path, number: int) -> None:
    assert check(tmp_path, 60 + number, CONFIGURATIONS[number], 110, 2) > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_more_streams(tmp_path: Path, seed: int) -> None:
    one = CONFIGURATIONS[seed % len(CONFIGURATIONS)]
    check(tmp_path, 200 + seed, replace(one, unit="week"), 250, 2 + seed % 3)
