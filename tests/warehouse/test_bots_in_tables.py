"""Bots in the tables: excluded they open no session and touch nothing, and the books count them; kept they are visitors."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from warehouse_cases import MINUTE, START, event, land, refresh, settings_for

from gtm_dagster.warehouse.engine import opened

BOT = {"bot_reason": "Googlebot"}
ROWS = [
    event("visit", START, anonymous_id="a1", source="google", medium="cpc"),
    event("crawled", START + 10 * MINUTE, anonymous_id="a1", source="bing", medium="cpc", **BOT),
    event("gap", START + 50 * MINUTE, anonymous_id="a1"),
    event("crawler", START + 20 * MINUTE, anonymous_id="a2", source="bing", **BOT),
    event("bought", START + 60 * MINUTE, anonymous_id="a2", event_name="payment_completed", **BOT),
    event("paid", START + 61 * MINUTE, anonymous_id="a1", event_name="payment_completed", device_type="api"),
]


def rows(settings, query: str) -> list[tuple]:
    with opened(settings.warehouse_path, settings) as con:
        return con.execute(query).fetchall()


SESSIONS = "SELECT person_id, start_us, n_events, source FROM core.sessions ORDER BY 1, 2"


@pytest.mark.parametrize(
    ("bots", "sessions"),
    [
        ("exclude", [("a1", 0, 1, "google"), ("a1", 50, 1, "direct")]),
        ("keep", [("a1", 0, 2, "google"), ("a1", 50, 1, "direct"), ("a2", 20, 1, "bing"), ("a2", 60, 1, "direct")]),
    ],
)
def test_excluded_bots_open_no_session_and_extend_none(tmp_path: Path, bots: str, sessions: list[tuple]) -> None:
    settings = settings_for(tmp_path, GTM_SESSIONS__BOTS=bots)
    land(settings, ROWS, "batch")
    refresh(settings)
    found = [(person, (start - START) // MINUTE, n, source) for person, start, n, source in rows(settings, SESSIONS)]
    assert found == sessions
    assert rows(settings, "SELECT sum(clean), sum(bots) FROM staging.books") == [(6, 3)]
    assert rows(settings, "SELECT event_id, bot_reason FROM staging.events WHERE is_bot ORDER BY 1") == [
        ("bought", "Googlebot"), ("crawled", "Googlebot"), ("crawler", "Googlebot"),
    ]  # fmt: skip
    assert rows(settings, "SELECT count(*) FROM core.conversions") == [(2,)]


def test_a_conversion_of_an_excluded_bot_stays_and_nobody_earns_it(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(settings, ROWS, "batch")
    refresh(settings)
    credited = rows(
        settings,
        "SELECT DISTINCT conversion_id, channel FROM marts.attribution_credits WHERE model = 'last_touch' ORDER BY 1",
    )
    assert [channel for _, channel in credited] == ["(unattributed)", "Direct"]
    assert rows(settings, "SELECT p.id FROM meta.retention_persons r JOIN meta.ids p ON p.id_no = r.person_no") == [
        ("a1",)
    ]


def test_a_changed_setting_is_followed_and_a_batch_at_a_time_gives_the_same(tmp_path: Path) -> None:
    whole, parts = settings_for(tmp_path / "whole"), settings_for(tmp_path / "parts")
    land(whole, ROWS, "batch")
    refresh(whole)
    for number, row in enumerate(reversed(ROWS)):
        land(parts, [row], f"batch-{number}")
        refresh(parts)
    columns = "SELECT person_id, start_us, end_us, n_events, visit_start_us FROM core.sessions ORDER BY 1, 2"
    assert rows(whole, columns) == rows(parts, columns)
    kept = settings_for(tmp_path / "parts", GTM_SESSIONS__BOTS="keep")
    refresh(kept)
    assert len(rows(kept, columns)) == 4


def test_a_landing_file_from_before_bots_holds_people(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(settings, ROWS, "batch")
    (file,) = settings.landing_dir.rglob("*.parquet")
    table = pq.ParquetFile(file).read()
    pq.write_table(table.drop_columns(["bot_reason"]), file)
    refresh(settings)
    assert rows(settings, "SELECT count(*) FILTER (is_bot), count(*) FROM staging.events") == [(0, 6)]


@pytest.mark.parametrize(("bots", "persons"), [("exclude", 1), ("keep", 2)])
def test_excluded_bots_reach_no_stage_of_the_funnel_and_are_no_activity(
    tmp_path: Path, bots: str, persons: int
) -> None:
    steps = '[{"stage": "seen", "events": ["page_viewed"]}, {"stage": "paid", "events": ["payment_completed"]}]'
    activity = '["page_viewed"]'
    settings = settings_for(
        tmp_path, GTM_SESSIONS__BOTS=bots, GTM_FUNNEL__STEPS=steps, GTM_RETENTION__ACTIVITY=activity
    )
    land(settings, ROWS, "batch")
    refresh(settings)
    assert rows(settings, "SELECT stage, sum(persons) FROM marts.funnel GROUP BY 1 ORDER BY 1") == [
        ("paid", persons), ("seen", persons),
    ]  # fmt: skip
    assert rows(settings, "SELECT count(DISTINCT person_no) FROM meta.retention_persons") == [(persons,)]
