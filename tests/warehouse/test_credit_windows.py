"""Random traffic, windows and batches: touchpoints and credits are what the definitions say, and a rebuild agrees."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from credit_oracle import Deployment, everything
from profiles import slow_but
from warehouse_cases import DAY, MINUTE, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.attribution.models import TOUCH_MODELS
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.verify import compare_served, verify

CHANNELS = ["Direct", "Paid Search", "Paid Social", "Email", "Organic Search", "Unassigned"]
TOUCHES = [
    {}, {}, {"source": "google", "medium": "cpc"}, {"source": "facebook", "medium": "paid_social"},
    {"source": "newsletter", "medium": "email"}, {"referrer": "https://www.google.com/"}, {"source": "direct"},
]  # fmt: skip
NAMES = ["page_viewed"] * 6 + ["signup_completed", "payment_completed", "onboarding_completed"]
PARTS = 2
STAGES = ("signup_completed", "onboarding_completed")
TRANSFORMS = [
    "unique", "exposure", "first", "last", "newest:1", "newest:3", "remove_if_not_all:Direct",
    "remove_if_last_and_not_all:Direct", "remove_if_last_and_not_all:Email",
]  # fmt: skip


def traffic(rng: random.Random, events: int) -> list[dict]:
    """Few persons on a coarse grid: ties, edges of windows, late logins, sources that are named late."""
    rows = []
    for number in range(events):
        moment = START + rng.choice(
            [rng.randrange(6 * 24) * 60 * MINUTE, rng.randrange(60) * 10 * MINUTE, rng.randrange(3) * DAY]
        )
        name = rng.choice(NAMES)
        rows.append(
            event(
                f"e{rng.randrange(10**6)}-{number}", moment, event_name=name,
                user_id=rng.choice([None, None, "u1", "u2"]), anonymous_id=rng.choice(["a1", "a2", "a3"]),
                session_id=rng.choice(["s1", "s2", "s3", None]), device_type=rng.choice(["web", "web", "web", "api"]),
                **rng.choice(TOUCHES),
            )
        )  # fmt: skip
    return rows


def windows(rng: random.Random) -> list[dict]:
    """Every model once plain, and windows with a few options each."""
    hours = [1, 4, 24, 71.5, 120]
    found: list[dict] = [{"model": model, "lookback_hours": rng.choice(hours)} for model in TOUCH_MODELS]
    for number in range(24):
        window: dict = {"model": rng.choice(TOUCH_MODELS), "lookback_hours": rng.choice(hours), "name": f"w{number}"}
        if rng.random() < 0.3:
            window["channel_hours"] = {channel: rng.choice(hours) for channel in rng.sample(CHANNELS, 2)}
        if (dice := rng.random()) < 0.5:
            window["only" if dice < 0.25 else "without"] = rng.sample(CHANNELS, rng.choice([1, 3]))
        window["transforms"] = rng.sample(TRANSFORMS, rng.choice([0, 1, 2, 3]))
        if window["model"] == "position_based":
            window["weights"] = rng.choice([[1, 1, 8], [0, 1, 0], [3, 0, 1], [0, 0, 1]])
        if window["model"] == "time_decay":
            window["half_life_hours"] = rng.choice([0.5, 24])
        found.append(window)
    return found


def settings_of(folder: Path, deployed: Deployment) -> Settings:
    return settings_for(
        folder, GTM_ATTRIBUTION__WINDOWS=json.dumps(deployed.windows), GTM_ATTRIBUTION__GRAIN=deployed.grain,
        GTM_ATTRIBUTION__MAX_TOUCHES=str(deployed.max_touches), GTM_SESSIONS__DEFINITION=deployed.definition,
        GTM_ATTRIBUTION__STAGES=json.dumps(deployed.stages),
    )  # fmt: skip


def found_in(settings: Settings) -> tuple[Counter, Counter]:
    """What the warehouse holds, in the shape of the oracle."""
    touchpoints = rows_of(
        settings, "SELECT conversion_id, touch_us, session_key, channel, n_touches, is_truncated FROM core.touchpoints"
    )
    credits = rows_of(
        settings,
        "SELECT conversion_id, model, window_hours, session_key, channel, round(credit, 8) FROM marts.attribution_credits",
    )
    return Counter(touchpoints), Counter(credits)  # fmt: skip


CASES = [
    pytest.param("session", "ga4", 3, id="sessions"),
    pytest.param("event", "tracker", 4, id="events-of-tracker-sessions"),
    pytest.param("event", "ua", 1000, id="events"),
    pytest.param("session", "tracker", 2, id="tracker-sessions"),
    pytest.param("event", "ga4", 2, id="few-events"),
    pytest.param("session", "ua", 1000, id="ua-sessions"),
]


@pytest.mark.parametrize(("grain", "definition", "max_touches"), slow_but(2, *CASES))
@pytest.mark.parametrize("seed", slow_but(1, *range(3)))
def test_credits_are_those_of_the_definitions(
    tmp_path: Path, grain: str, definition: str, max_touches: int, seed: int
) -> None:
    rng = random.Random(seed * 31 + max_touches)
    deployed = Deployment(windows(rng), grain, definition, max_touches=max_touches, stages=STAGES)
    settings = settings_of(tmp_path, deployed)
    rows = traffic(rng, rng.choice([120, 260]))
    for part in range(PARTS):
        land(settings, rows[part::PARTS], f"import-{part}")
        refresh(settings)
        landed = [row for number in range(part + 1) for row in rows[number::PARTS]]
        for found, expected in zip(found_in(settings), everything(landed, deployed), strict=True):
            assert len(expected) > (5 if part else 0), "something is compared"
            assert found - expected == expected - found == Counter(), f"part {part}"
    result = verify(settings, PLAN)
    assert result.ok, result.first


def test_an_earlier_stage_event_changes_credit_however_long_after_it(tmp_path: Path) -> None:
    """The stage belongs to the first event; one that comes late takes the stage from a touch weeks behind it."""
    deployed = Deployment([{"model": "w_shaped", "lookback_hours": 48}], stages=("onboarding_completed",))
    settings = settings_of(tmp_path, deployed)
    paid_at = START + 25 * DAY
    rows = [
        event("one", paid_at - DAY, user_id="u", source="google", medium="cpc"),
        event("two", paid_at - DAY // 2, user_id="u", source="newsletter", medium="email"),
        event("done", paid_at - DAY // 3, user_id="u", event_name="onboarding_completed", device_type="api"),
        event("three", paid_at - DAY // 4, user_id="u", source="facebook", medium="paid_social"),
        event("paid", paid_at, user_id="u", event_name="payment_completed", device_type="api"),
    ]
    credits = "SELECT channel, round(credit, 6) FROM marts.attribution_credits ORDER BY 1"
    land(settings, rows, "import-1")
    refresh(settings)
    assert rows_of(settings, credits) == [("Email", 0.428571), ("Paid Search", 0.428571), ("Paid Social", 0.142857)]
    rows.append(event("done before", START, user_id="u", event_name="onboarding_completed", device_type="api"))
    land(settings, rows[-1:], "import-2")
    refresh(settings)
    assert rows_of(settings, credits) == [("Email", 0.125), ("Paid Search", 0.75), ("Paid Social", 0.125)]
    assert found_in(settings) == everything(rows, deployed)
    assert verify(settings, PLAN).ok
    with opened(settings.warehouse_path, settings) as con:
        assert compare_served(con, settings).ok


def test_a_person_with_many_touches_keeps_the_newest_and_the_oldest_of_each_lookback(tmp_path: Path) -> None:
    windows = [{"model": "first_touch", "lookback_hours": hours} for hours in (10, 40)]
    settings = settings_of(tmp_path, Deployment(windows, max_touches=5))
    rows = [event(f"e{hour}", START + hour * 60 * MINUTE, user_id="u") for hour in range(60)]
    rows.append(event("paid", START + 60 * 60 * MINUTE, user_id="u", event_name="payment_completed", device_type="api"))
    land(settings, rows, "import-1")
    refresh(settings)
    kept = rows_of(settings, "SELECT age_hours, n_touches, is_truncated FROM core.touchpoints ORDER BY 1")
    assert kept == [(hours, 40, True) for hours in (1, 2, 3, 4, 5, 10, 40)]
    first = rows_of(settings, "SELECT window_hours, session_key, credit FROM marts.attribution_credits ORDER BY 1")
    assert first == [(hours, f"u:{START + (60 - hours) * 60 * MINUTE}", 1.0) for hours in (10, 40)]


def test_a_window_of_all_paths_together_gives_no_touch_credit(tmp_path: Path) -> None:
    """Its model has a table of its own; the status lists it, and the checks of touch credits leave it out."""
    windows = [{"model": "markov", "lookback_hours": 48}, {"model": "linear", "lookback_hours": 24, "name": "one day"}]
    settings = settings_of(tmp_path, Deployment(windows))
    land(settings, traffic(random.Random(4), 40), "import-1")
    refresh(settings)
    status = rows_of(
        settings, "SELECT model, credit_model, window_hours, computed FROM marts.attribution_status ORDER BY 1"
    )
    assert status == [("markov", "markov", 48.0, True), ("one day", "linear", 24.0, True)]
    assert rows_of(settings, "SELECT DISTINCT model FROM marts.attribution_credits") == [("one day",)]
    ages = rows_of(settings, "SELECT max(age_hours) > 24 FROM core.touchpoints")
    assert ages == [(True,)], "touchpoints reach as far as any window looks, for the paths that such a model reads"
