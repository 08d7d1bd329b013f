"""The loop of the refresh: when a run is asked for, and why not now."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from gtm_dagster.orchestration.refresh_loop import decide_refresh, running_writer
from gtm_dagster.warehouse.landing.from_log import LogOffsets

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("newest", "running", "failed_minutes_ago", "expected"),
    [
        pytest.param(3, None, [], "nothing new: 3 events in the log, all landed", id="all landed"),
        pytest.param(4, None, [], "log-0a-4", id="news"),
        pytest.param(4, "0123456789", [], "run 01234567 is under way", id="news while a run writes"),
        pytest.param(3, None, [1], "log-0a-3-after-run0", id="a failed run may not have staged"),
        pytest.param(3, None, [1, 2], "log-0a-3-after-run0", id="two failures in a row do not pause"),
        pytest.param(3, None, [1, 2, 3], "asking again", id="three failures in a row pause"),
        pytest.param(4, None, [1, 2, 3], "asking again", id="news do not end the pause"),
        pytest.param(3, None, [14.9, 17, 18], "asking again", id="the pause lasts"),
        pytest.param(3, None, [15, 17, 18], "log-0a-3-after-run0", id="the pause ends after 15 minutes"),
        pytest.param(3, None, [16, 17, 18], "log-0a-3-after-run0", id="the pause has ended"),
    ],
)
def test_what_is_asked_for(newest, running, failed_minutes_ago, expected):
    failed = [(f"run{i}", NOW - timedelta(minutes=minutes)) for i, minutes in enumerate(failed_minutes_ago)]
    decision = decide_refresh(LogOffsets(3, newest, "0a"), running, failed, NOW)
    assert expected in (decision.run_key if isinstance(decision, dg.RunRequest) else decision.skip_message)


@dg.job(name="refresh")
def refresh() -> None: ...


@pytest.mark.parametrize(
    ("status", "writes"),
    [
        pytest.param(dg.DagsterRunStatus.STARTED, True, id="at work"),
        pytest.param(dg.DagsterRunStatus.CANCELING, True, id="being cancelled: it still holds the writer's lock"),
        pytest.param(dg.DagsterRunStatus.CANCELED, False, id="cancelled"),
        pytest.param(dg.DagsterRunStatus.SUCCESS, False, id="done"),
    ],
)
def test_which_runs_are_under_way(status, writes):
    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(refresh, status=status)
        assert running_writer(instance) == (run.run_id if writes else None)
