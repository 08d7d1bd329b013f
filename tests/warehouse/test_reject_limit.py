"""The reject limit looks at each batch by itself, and at what is missing rather than at attempts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from warehouse_cases import DAY, PLAN, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.build import build_all
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.fingerprints import check_settings
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.results import CheckResult
from gtm_dagster.warehouse.staging.checks import reject_limit, reject_rate

LOG = "log-" + "a" * 16 + "-{:015d}-{:015d}"
REASON = [{"path": "event_name", "code": "unknown_event", "message": "Paid is not an event"}]


def rows(accepted: int, refused: int, *, day: int = 30, prefix: str = "") -> list[dict]:
    """Rows with ids 0, 1, ...; refused ones first."""
    bad = {
        "verdict": "quarantined",
        "reason_codes": "unknown_event",
        "errors": json.dumps(REASON),
        "raw": "{}",
        "event_us": None,
    }
    all_rows = [
        event(f"{prefix}{n}", START, user_id="u", event_name="payment_completed", received_us=START + day * DAY)
        for n in range(refused + accepted)
    ]
    return [row | (bad if n < refused else {}) for n, row in enumerate(all_rows)]  # fmt: skip


def staged(settings: Settings) -> tuple[CheckResult, CheckResult]:
    """(limit, rate) after staging what has landed."""
    ctx = BuildContext(settings, PLAN)
    with opened(settings.warehouse_path, settings) as con:
        check_settings(con, ctx, allow_rebuild=True)
        build_all(con, ctx)
        return reject_limit(con, ctx), reject_rate(con, ctx)


@pytest.mark.parametrize(
    ("batches", "limit", "rate"),
    [
        pytest.param({"import-a": rows(60, 60)}, True, False, id="exactly the limit passes"),
        pytest.param({"import-a": rows(59, 61)}, False, False, id="more than the limit of one import"),
        pytest.param({"import-a": rows(0, 99)}, True, False, id="under 100 rows only a warning"),
        pytest.param({"import-a": rows(0, 120), "import-b": rows(400, 0, prefix="b")}, False, False, id="another import of the day does not dilute it"),
        pytest.param({"import-a": rows(0, 120), "import-b": rows(120, 0)}, True, True, id="accepted from another copy: healed"),
        pytest.param({"import-a": rows(0, 120), "import-b": rows(30, 90)}, False, False, id="some were accepted from another copy"),
        pytest.param({LOG.format(1, 120): rows(0, 120)}, False, False, id="the newest day of the log"),
        pytest.param({LOG.format(1, 120): rows(0, 120), LOG.format(121, 240): rows(120, 0, day=31, prefix="n")}, True, True, id="a newer day of the log is judged instead"),
        pytest.param({"import-a": rows(0, 120), LOG.format(1, 120): rows(120, 0, day=31, prefix="n")}, False, False, id="a newer day of the log does not excuse an import"),
    ],
)  # fmt: skip
def test_each_batch_is_judged_by_itself(tmp_path: Path, batches: dict, limit: bool, rate: bool) -> None:
    settings = settings_for(tmp_path)
    for name, batch in batches.items():
        land(settings, batch, name)
    found = staged(settings)
    assert (found[0].passed, found[1].passed) == (limit, rate), found


def test_it_says_what_is_wrong_and_how_to_go_on(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    land(settings, rows(0, 120), "import-a")
    limit, _ = staged(settings)
    for part in (
        "import-a: 120 of 120",
        "unknown_event at event_name in 120: Paid is not an event",
        "gtm imports withdraw import-a",
    ):
        assert part in limit.description
    Landing(settings.landing_dir).withdraw("import-a", by="me", reason="wrong")
    assert [check.passed for check in staged(settings)] == [True, True]


def test_two_wrong_attempts_and_the_right_one_publish(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    for name, batch in (("import-a", rows(0, 120)), ("import-b", rows(0, 120)), ("import-c", rows(120, 0))):
        land(settings, batch, name)
    refresh(settings)
    assert rows_of(settings, "SELECT raw, clean, quarantined FROM staging.books") == [(360, 120, 240)]
