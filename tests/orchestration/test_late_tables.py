"""A table is late when the cron that makes it should have made it."""

from datetime import timedelta

import dagster as dg
import pytest
from warehouse_cases import settings_for

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration.late_tables import freshness_of, longest_pause

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("cron", "timezone", "expected"),
    [
        pytest.param("0 5 * * *", "UTC", DAY, id="daily"),
        pytest.param("0 5 * * *", "Europe/Berlin", DAY + HOUR, id="daily, where a day of autumn has 25 hours"),
        pytest.param("0 * * * *", "UTC", HOUR, id="hourly"),
        pytest.param("0 6 * * 1", "UTC", 7 * DAY, id="weekly"),
        pytest.param("* 8-17 * * 1-5", "UTC", 2 * DAY + 14 * HOUR + timedelta(minutes=1), id="working hours"),
        pytest.param("0 0 1 * *", "UTC", 31 * DAY, id="monthly"),
    ],
)
def test_the_longest_pause_of_a_cron(cron, timezone, expected):
    assert longest_pause(cron, timezone) == expected


@pytest.mark.parametrize(
    ("cron", "warn", "fail"),
    [
        pytest.param("0 5 * * *", 26 * HOUR, 48 * HOUR, id="daily"),
        pytest.param("0 6 * * 1", 7 * DAY + 2 * HOUR, 14 * DAY, id="a weekly refresh is not late after a day"),
        pytest.param("0 * * * *", 3 * HOUR, 9 * HOUR, id="hourly: time to see the warning"),
    ],
)
def test_marts_and_the_serving_copy_are_late_by_the_cron(tmp_path, cron, warn, fail):
    settings = settings_for(tmp_path, GTM_REFRESH__CRON=cron)
    policy = freshness_of(settings)
    assert policy == dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn)
    if cron == "0 5 * * *":
        specs = build_defs(settings=settings).resolve_all_asset_specs()
        late = {spec.key.path[0] for spec in specs if spec.freshness_policy == policy}
        assert late == {"marts", "serving"}
