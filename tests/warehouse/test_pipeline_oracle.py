"""Staging, persons, sessions, accounts, funnel and retention of random streams: batches, rebuild and oracle agree."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pipeline_oracle as oracle
import pytest
from profiles import slow_but
from session_oracle import place
from warehouse_cases import DAY, MINUTE, PLAN, START, land, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.verify import verify

NAMES = (
    "page_viewed", "page_viewed", "page_viewed", "signup_completed", "onboarding_completed", "payment_completed", "user_identified",
)  # fmt: skip
OWN = (("seen", ("page_viewed",), 0.0), ("joined", ("signup_completed",), 0.0), ("paid", ("payment_completed",), 1.0))
SHARED = (
    ("seen", ("page_viewed", "signup_completed"), 0.0),
    ("again", ("page_viewed",), 0.0),
    ("joined", ("signup_completed",), 0.5),
)
CONFIGURATIONS = (
    oracle.Deployment("ga4", "UTC", 30 * MINUTE, OWN, "week", ()),
    oracle.Deployment("ua", "Europe/Berlin", 30 * MINUTE, SHARED, "day", ()),
    oracle.Deployment("tracker", "America/Sao_Paulo", 30 * MINUTE, OWN, "month", ("page_viewed", "payment_completed")),
    oracle.Deployment("ga4", "Australia/Lord_Howe", 5 * MINUTE, SHARED, "week", ("payment_completed",)),
)  # fmt: skip


def settings_of(folder: Path, one: oracle.Deployment, **environ: str) -> Settings:
    steps = [{"stage": stage, "events": list(names), "after_hours": hours} for stage, names, hours in one.steps]
    return settings_for(
        folder,
        GTM_SESSIONS__DEFINITION=one.definition,
        GTM_SESSIONS__TIMEOUT_MINUTES=str(one.timeout_us / MINUTE),
        GTM_REPORT_TIMEZONE=one.zone,
        GTM_FUNNEL__STEPS=json.dumps(steps),
        GTM_RETENTION__UNIT=one.unit,
        GTM_RETENTION__ACTIVITY=json.dumps(list(one.activity)),
        **environ,
    )


def stream(rng: random.Random, count: int, timeout_us: int) -> list[dict]:
    """Few people on a coarse grid of some weeks: ties, gaps at the timeout, merges, aliases, accounts, clocks that run wrong."""
    rows = []
    people = max(3, count // 12)
    clocks = START + rng.choice((0, 70, 265)) * DAY  # around a new year, or a change of clocks
    for number in range(count):
        is_early = number < people // 2  # first sessions of one moment
        at = clocks + rng.choice(
            (rng.randrange(60) * DAY // 2, rng.randrange(8) * timeout_us, rng.randrange(20) * DAY + 22 * 60 * MINUTE)
        )
        at += rng.choice((0, 0, 1, -1, timeout_us))
        if rng.random() < 0.01:
            at += rng.choice((-2, 1, 2)) * 400 * DAY
        who, name = (number, "page_viewed") if is_early else (rng.randrange(people), rng.choice(NAMES))
        at = clocks - DAY if is_early else at
        user = rng.choice((None, f"u{who // 2}", f"u{who}")) if name != "user_identified" else f"u{who}"
        visitor = rng.choice((f"a{who}", f"a{who}", f"a{who + 1}", None if user else f"a{who}"))
        properties = {"payment_completed": {"amount": 10.0, "currency": "USD"}}.get(name, {})
        if rng.random() < 0.2:
            properties = {**properties, "account_id": rng.choice((f"c{who // 4}", f"c{who // 4}", "c0", " ", ""))}
        if name == "user_identified" and rng.random() < 0.3:
            properties = {
                **properties,
                rng.choice(("alias_of", "previous_id")): rng.choice((f"u{who + 1}", f"a{who + 2}", "nobody")),
            }
        source = rng.choice((None, None, None, "google", "newsletter", "direct"))
        rows.append(
            {
                "write_key": rng.choice(("w", "w", "v")), "event_id": f"{rng.choice('cab')}{number}", "event_name": name, "event_us": at,
                "received_us": START + 900 * DAY + number, "properties": json.dumps(properties), "plan_version": PLAN.version,
                "device_type": "web" if is_early else rng.choice(("web", "web", "web", "api")), "verdict": "accepted", "origin": "import", "bot_reason": "somebot" if rng.random() < 0.05 else None,
                "user_id": user, "anonymous_id": visitor, "session_id": rng.choice(("s1", "s2", f"t{number}", None)),
                "source": source, "medium": "cpc" if source == "google" else None, "campaign": rng.choice((None, "c1", "c2")) if source else None,
                "referrer": rng.choice((None, None, "https://example.org/a", "https://www.google.com/")),
            }
        )  # fmt: skip
        if rng.random() < 0.1:  # another event of the same moment, which may name another account
            twin = {**json.loads(rows[-1]["properties"]), "account_id": f"c{rng.randrange(4)}"}
            rows.append({**rows[-1], "event_id": f"{rng.choice('cab')}{number}-2", "properties": json.dumps(twin)})
    copies = [{**row, "event_us": row["event_us"] + rng.choice((0, MINUTE)), "received_us": row["received_us"] + rng.choice((-1, 1)) * 10_000 - 1}
              for row in rng.sample(rows, count // 8)]  # fmt: skip
    mixed = rows + copies
    rng.shuffle(mixed)
    return mixed


def found_in(settings: Settings, one: oracle.Deployment) -> dict:
    """What the warehouse holds, in the shape of the oracle."""

    def rows(sql: str) -> list[tuple]:
        return rows_of(settings, sql)

    stage = "source, medium, campaign, channel, cohort_day, stage_no"
    models = rows("SELECT cohort_day, model, stage_no, channel, campaign, persons FROM marts.funnel_by_model")
    rates = rows(
        "SELECT cohort_day, channel, stage_no, persons, rate_from_before, rate_from_first, median_hours, p90_hours FROM marts.funnel_rates"
    )
    grid = "cohort, channel, period"
    return {
        "persons": {(key, event): person for key, event, person in rows("SELECT write_key, event_id, person_id FROM staging.events")},
        "sessions": set(rows("SELECT person_id, start_us, end_us, n_events, source, medium, campaign, channel FROM core.sessions")),
        "funnel": {row[:-1]: row[-1] for row in rows(f"SELECT {stage}, persons FROM marts.funnel")},
        "rates": {row[:3]: row[3:] for row in rates},
        "models": {row[:-1]: round(row[-1], 9) for row in models},
        "accounts": {row[:-1]: row[-1] for row in rows(f"SELECT {stage}, accounts FROM marts.funnel_accounts")},
        "retention": {row[:3]: row[3:] for row in rows(f"SELECT {grid}, persons, retained, is_open FROM marts.retention")},
        "retained accounts": {row[:3]: row[3:] for row in rows(f"SELECT {grid}, accounts, retained, is_open FROM marts.retention_accounts")},
    }  # fmt: skip


def expected_of(rows: list[dict], one: oracle.Deployment) -> dict:
    kept = oracle.staged(rows)
    lives = oracle.lives_of(rows, one)
    funnel, retention = oracle.funnel(lives, one), oracle.retention(lives, one)
    sessions = {
        (s.person, s.start_us, max(row["event_us"] for row in s.events), len(s.events), *oracle.row_of(s.touch))
        for life in lives for s in life.sessions
    }  # fmt: skip
    return {
        "persons": oracle.persons_of(kept),
        "sessions": sessions,
        "funnel": dict(funnel["funnel"]),
        "rates": funnel["rates"],
        "models": {key: round(value, 9) for key, value in funnel["models"].items()},
        "accounts": dict(funnel["accounts"]),
        "retention": retention["persons"],
        "retained accounts": retention["accounts"],
    }


def check(folder: Path, seed: int, one: oracle.Deployment, count: int, batches: int) -> Counter:
    """Land a stream in batches, each compared with the oracle, the last with a rebuild, too; the rows of each table."""
    rng = random.Random(seed)
    rows = stream(rng, count, one.timeout_us)
    settings = settings_of(folder, one)
    cuts = sorted(rng.sample(range(1, len(rows)), batches - 1))
    sizes: Counter = Counter()
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(rows)], strict=True)):
        land(settings, rows[start:end], f"import-{number}")
        refresh(settings)
        found, expected = found_in(settings, one), expected_of(rows[:end], one)
        for name, table in expected.items():
            assert found[name] == table, (name, seed, number, _first_difference(table, found[name]))
            sizes[name] += len(table)
    assert verify(settings, PLAN).ok
    return sizes


def _first_difference(expected: dict | set, found: dict | set) -> object:
    if isinstance(expected, set):
        return sorted(expected - set(found), key=repr)[:2], sorted(set(found) - expected, key=repr)[:2]
    keys = sorted(expected.keys() | found.keys(), key=repr)
    return next((key, expected.get(key), found.get(key)) for key in keys if expected.get(key) != found.get(key))


@pytest.mark.parametrize("number", slow_but(3, *range(len(CONFIGURATIONS))))
def test_a_stream_in_batches(tmp_path: Path, number: int) -> None:
    sizes = check(tmp_path, 18 + number, CONFIGURATIONS[number], 120, 2)
    assert all(sizes.values()), sizes


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_more_streams_in_batches(tmp_path: Path, seed: int) -> None:
    """A refresh costs the same for 100 events and for 1,000, so the streams are few and long; each configuration comes
    with three numbers of batches.
    """
    check(tmp_path, 100 + seed, CONFIGURATIONS[seed % 4], 600, 1 + (seed + seed // 4) % 4)


def test_the_order_of_events_is_total() -> None:
    rows = stream(random.Random(1), 200, 30 * MINUTE)
    assert len({place(row) for row in oracle.staged(rows)}) == len(oracle.staged(rows))
