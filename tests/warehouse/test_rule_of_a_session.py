"""`core.sessions.rule`: of each session the rule of the event that named its source."""

from __future__ import annotations

from pathlib import Path

import pytest
from warehouse_cases import MINUTE, START, event, land, refresh, settings_for

from gtm_dagster.warehouse.engine import opened

HOUR = 60 * MINUTE


@pytest.mark.parametrize("definition", ["ga4", "ua", "tracker"])
def test_each_session_says_what_decided_its_source(tmp_path: Path, definition: str) -> None:
    cases = [
        ({"source": "google", "medium": "cpc"}, "utm medium cpc"),
        ({"click_id": "gclid=1"}, "click id gclid"),
        ({"referrer": "https://www.google.com/"}, "referrer search google"),
        ({"referrer": "https://x.example/"}, "referrer site"),
        ({"referrer": "https://accounts.google.com/"}, "no source"),
        ({}, "no source"),
    ]
    settings = settings_for(tmp_path, GTM_SESSIONS__DEFINITION=definition)
    rows = [
        event(f"e{n}", START + n * HOUR, anonymous_id="a", session_id=f"s{n}", **columns)
        for n, (columns, _) in enumerate(cases)
    ]
    later = event("later", START + 5 * HOUR + MINUTE, anonymous_id="a", session_id="s5", source="news", medium="email")
    land(settings, [*rows, later], "batch")
    refresh(settings)
    with opened(settings.warehouse_path, settings) as con:
        found = con.execute("SELECT rule FROM core.sessions ORDER BY start_us").fetchall()
    rules = [rule for _, rule in cases[:-1]]
    last = ["no source", "utm medium email"] if definition == "ua" else ["utm medium email"]
    assert [rule for (rule,) in found] == rules + last
