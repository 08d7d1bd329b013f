"""Random traffic with everything that is hard (ties, merges, gaps of exactly the timeout, conflicts) and naive oracles."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa

from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.taxonomy import Plan, load_plan
from gtm_dagster.warehouse.build import all_checks, build_all
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing
from gtm_dagster.warehouse.publishing import publish
from gtm_dagster.warehouse.staging.stage import StageResult

MINUTE = 60_000_000
DAY = 86_400_000_000
START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
PLAN = load_plan()
WINDOWS = [
    {"model": "first_touch", "lookback_hours": 72},
    {"model": "last_touch", "lookback_hours": 24},
    {"model": "linear", "lookback_hours": 168},
    {"model": "position_based", "lookback_hours": 100},
    {"model": "time_decay", "lookback_hours": 168},
    {"model": "inverse_age", "lookback_hours": 168},
    {"model": "last_non_direct", "lookback_hours": 200},
]
PROPERTIES = {
    "payment_completed": {"amount": 10.0, "currency": "USD"},
    "signup_completed": {},
    "page_viewed": {},
    "onboarding_completed": {},
}


def settings_for(folder: Path, **environ: str) -> Settings:
    """Settings on a throw-away state directory: every model, no history gate."""
    told = {
        "GTM_STATE_DIR": str(folder),
        "GTM_ATTRIBUTION__WINDOWS": json.dumps(WINDOWS),
        "GTM_ATTRIBUTION__MIN_HISTORY_DAYS": "0",
        "GTM_PRIVACY__CONSENT": "off",
        **environ,
    }
    return load_settings(None, told)


def event(event_id: str, event_us: int, **columns: object) -> dict:
    """One accepted landing row; anything not named is NULL."""
    name = str(columns.get("event_name", "page_viewed"))
    return {
        "write_key": "w", "event_id": event_id, "event_name": name, "event_us": event_us,
        "received_us": START + 30 * DAY, "properties": json.dumps(PROPERTIES[name]), "device_type": "web",
        "plan_version": PLAN.version, "verdict": "accepted", "origin": "import", **columns,
    }  # fmt: skip


def random_events(rng: random.Random, n: int) -> list[dict]:
    """`n` events of few people on a coarse grid, so that ties and gaps of exactly 30 minutes are common."""
    rows = []
    for i in range(n):
        moment = START + rng.choice(
            [
                rng.randrange(0, 20 * 86_400) * 1_000_000,
                rng.randrange(0, 40) * 30 * MINUTE,
                rng.randrange(0, 3) * DAY + rng.randrange(0, 5) * 10 * MINUTE,
            ]
        )
        user = rng.choice([None, None, "u1", "u2", "u3"])
        anonymous = rng.choice(["a1", "a2", "a3", "a4", None]) or (None if user else "a5")
        source = rng.choice([None, None, None, "google", "facebook", "direct"])
        rows.append(
            event(
                f"e{i}", moment, user_id=user, anonymous_id=anonymous, session_id=rng.choice(["s1", "s2", "s3", None]),
                event_name=rng.choice(["page_viewed"] * 6 + ["signup_completed", "payment_completed", "onboarding_completed"]),
                source=source, campaign=rng.choice([None, "c1"]) if source else None,
                referrer=rng.choice([None, None, "https://example.org/a"]), device_type=rng.choice(["web", "web", "api"]),
                received_us=START + 30 * DAY + rng.randrange(0, 4) * DAY,
            )
        )  # fmt: skip
        rows[-1]["properties"] = json.dumps(PROPERTIES[rows[-1]["event_name"]])
    return rows


def with_copies(rng: random.Random, rows: list[dict]) -> list[dict]:
    """The rows and a fifth of them again, received at other times, all shuffled."""
    copies = [{**rng.choice(rows), "received_us": START + rng.randrange(28, 36) * DAY} for _ in range(len(rows) // 5)]
    mixed = rows + copies
    rng.shuffle(mixed)
    return mixed


def landing_table(rows: list[dict]) -> pa.Table:
    """Rows as a table of the landing columns."""
    empty = dict.fromkeys(ARROW_SCHEMA.names)
    return pa.Table.from_pylist([{**empty, **row, "row_no": i} for i, row in enumerate(rows)], schema=ARROW_SCHEMA)


def land(settings: Settings, rows: list[dict], name: str) -> None:
    Landing(settings.landing_dir).write(landing_table(rows), name)


def refresh(settings: Settings, *, full: bool = False, allow_rebuild: bool = True, plan: Plan = PLAN) -> StageResult:
    """The build as the assets run it, every check included."""
    ctx = BuildContext(settings, plan, full)
    with opened(settings.warehouse_path, settings) as con:
        check_settings(con, ctx, allow_rebuild)
        staged = build_all(con, ctx)
        for table, check in all_checks():
            if check.severity == "ERROR":
                result = check.run(con, ctx)
                assert result.passed, (table, check.name, result)
        publish(con, settings)
    return staged


def rows_of(settings: Settings, sql: str) -> list[tuple]:
    with opened(settings.warehouse_path, settings, read_only=True) as con:
        return con.execute(sql).fetchall()


def naive_sessions(
    events: list[tuple[str, int, int | None, str | None]], timeout_us: int, *, ua: bool
) -> list[tuple[str, int, int, int]]:
    """(person, start, end, events) by walking each person's moments in order; events are (person, us, 1: named or 2: referred,
    arrival). The arrival of a moment is that of its first event, else that of the first one that names it."""
    found = []
    for person in sorted({e[0] for e in events}):
        moments: dict[int, list[tuple[int | None, str | None]]] = {}
        for _, us, *said in sorted((e for e in events if e[0] == person), key=lambda e: e[1]):
            moments.setdefault(us, []).append((said[0], said[1]))
        open_session: list[int] | None = None
        newest: str | None = None
        last = None
        for us, said in moments.items():
            arrival = said[0][1] or next((one for rank, one in said if rank == 1), None)
            gap = last is None or us - last > timeout_us
            if gap:
                newest = None
            split = ua and not gap and (us // DAY != last // DAY or (arrival is not None and arrival != newest))
            if gap or split:
                if open_session:
                    found.append((person, *open_session))
                open_session = [us, us, 0]
            open_session[1] = us
            open_session[2] += len(said)
            newest = arrival or newest
            last = us
        found.append((person, *open_session))
    return found
