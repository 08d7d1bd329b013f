"""What a marketer or product manager asks, answered from the overview by clicks alone; the clicks are counted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from acting_cases import GUARD, armed, broken
from dashboard_cases import LAST, WINDOWS, publish, settings_in, small

from gtm_dagster.opsstore import OpsStore

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

STAGES = ("acquired", "signed_up", "onboarded")
QUESTIONS = [
    # (question, links that are clicked in turn, what then stands on the page)
    ("How many payments and sign-ups, against the period before?", [], ["payment_completed", "Sign-ups", "from"]),
    ("Which channel brought customers?", ["Channels"], ["Paid Search", "(unattributed)"]),
    ("Which source and campaign?", ["Channels", "Paid Search", "google", "cpc"], ["brand"]),
    ("What did it cost, and is it worth it?", ["Channels"], ["CPA", "ROAS"]),
    ("What do several models say, side by side?", ["Channels"], ["last touch", "linear"]),
    ("By which way did they come, how long did it take?", ["Journeys"], ["Most frequent paths", "Time to convert"]),
    ("Why does this channel get the credit of that payment?", ["Journeys", "dev:order-1"], ["Credit by model and lookback", "adds up to 1"]),
    ("Where do people drop out?", ["Funnel"], ["Most are lost between", "How far visitors of each channel get", "Time from stage to stage"]),
    ("Do they come back?", ["Retention"], ["Who came back, by channel", "A week later"]),
    ("Is the new checkout hurting, how sure, and when will we know?", ["Rollouts", "checkout-v2"], ["95 %", "Evidence over time", "When will we know?"]),
    ("Who armed it, and why?", ["Rollouts", "checkout-v2"], ["ana", "release 12"]),
    ("Is tracking broken?", ["Tracking"], ["Why events were refused", "unknown_event", "The books balance"]),
    ("What does this column mean?", ["Data", "marts.daily"], ["Distinct persons with a session"]),
]  # fmt: skip


def _cells() -> dict[str, list[dict[str, Any]]]:
    """The small deployment, with a payment by three touches, retention, times of stages, books and a refused event."""
    moment_us = 1_795_000_000_000_000
    payment = {
        "conversion_id": "dev:order-1", "person_id": "person-1", "conversion_time": "2026-11-20 12:00:00", "day": LAST,
        "conversion_type": "payment_completed", "value": 30.0, "currency": "EUR", "conversion_us": moment_us, "person_no": 1,
        "refunded": 0.0, "net_value": 30.0,
    }  # fmt: skip
    touches = [
        {
            "conversion_id": "dev:order-1", "session_key": f"s{n}", "channel": "Email", "touch_time": "2026-11-19 12:00:00",
            "age_us": age, "touch_us": moment_us - age, "conversion_us": moment_us, "tie_no": 1, "n_touches": 3, "person_no": 1,
            "source_key": 0,
        }
        for n, age in enumerate((9_000_000_000, 6_000_000_000, 3_000_000_000))
    ]  # fmt: skip
    credits = [
        {
            "conversion_id": "dev:order-1", "model": "linear", "window_hours": 168.0, "session_key": touch["session_key"],
            "channel": "Email", "credit": 1 / 3, "value": 10.0, "net_value": 10.0, "person_no": 1,
        }
        for touch in touches
    ]  # fmt: skip
    cohorts = [
        (date(2026, 11, 2), 0, 10, 10, False),
        (date(2026, 11, 2), 1, 10, 5, False),
        (date(2026, 11, 16), 0, 20, 20, True),
    ]
    return small() | {
        "core.conversions": [payment],
        "core.touchpoints": touches,
        "marts.attribution_credits": credits,
        "marts.funnel_rates": [
            {"cohort_day": None, "channel": "(all)", "stage": stage, "stage_no": n, "persons": 10, "median_hours": 2.0, "p90_hours": 9.0}
            for n, stage in enumerate(STAGES, 1)
        ],
        "marts.retention": [
            {"cohort": cohort, "channel": "Email", "period": period, "persons": n, "retained": back, "rate": back / n, "is_open": is_open}
            for cohort, period, n, back, is_open in cohorts
        ],
        "staging.books": [
            {"ingest_date": LAST - timedelta(days=n), "log_rows": 9, "raw": 9, "clean": 8, "duplicates": 0, "quarantined": 1, "suppressed": 0, "withdrawn": 0, "bots": 0}
            for n in range(3)
        ],
        "staging.quarantine": [
            {"write_key": "web", "event_id": "e1", "event_name": "page_veiwed", "reason_codes": "unknown_event", "errors": "[]", "raw": "{}",
             "received_at": "2026-11-20 10:00:00", "received_us": moment_us, "origin": "log", "file_key": "f", "row_no": 1}
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`gtm dash` over that deployment, with a guard of a flow that loses."""
    folder = tmp_path_factory.mktemp("questions")
    settings = msgspec.structs.replace(settings_in(folder), guards=(GUARD,))
    publish(settings.serving_path, _cells())
    with OpsStore.of(settings) as store:
        armed(settings, store, broken())
    windows = [{"model": each.model, "lookback_hours": each.lookback_hours} for each in WINDOWS]
    guards = [{"flag": GUARD.flag, "conversion": GUARD.conversion}]
    running = subprocess.Popen(
        [sys.executable, "-m", "gtm_dagster.cli", "dash", "--port", "0"],
        env={
            **os.environ, "GTM_STATE_DIR": str(folder), "GTM_ATTRIBUTION__WINDOWS": json.dumps(windows),
            "GTM_GUARDS": json.dumps(guards),
        },
        cwd=folder, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stderr is not None
    yield running.stderr.readline().split()[1]
    running.terminate()
    assert running.wait(20) == 0


def test_each_question_is_answered_within_four_clicks_of_the_overview(address: str) -> None:
    """Two clicks but for a campaign (channel, source and medium first); no script runs."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not here; `make test-real` installs it")
    from playwright.sync_api import sync_playwright

    unanswered: list[tuple[str, str]] = []
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = chromium.new_context(java_script_enabled=False).new_page()
        for question, links, answers in QUESTIONS:
            page.goto(address)
            for link in links:
                page.get_by_role("link", name=link, exact=True).first.click()
            text = page.locator("main").inner_text()
            unanswered += [(question, answer) for answer in answers if answer not in text]
        chromium.close()
    assert unanswered == []
    clicks = [len(links) for _, links, _ in QUESTIONS]
    assert max(clicks) <= 4 and sum(clicks) / len(clicks) <= 2, clicks
