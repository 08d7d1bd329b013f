"""The event log lands by offset range: once, whole, and what has landed leaves the log after a week."""

import time

from warehouse_cases import DAY, START, refresh, rows_of, settings_for

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.from_log import land_log


def records(first: int, n: int, received_us: int) -> list[Record]:
    return [
        Record(
            write_key="w", event_id=f"e{i}", event_name="page_viewed", event_us=START + i, received_us=received_us,
            anonymous_id="x", properties="{}", plan_version="1-0-0",
        )
        for i in range(first, first + n)
    ]  # fmt: skip


def test_scenario_22_a_range_lands_once_and_the_next_pull_goes_on_behind_it(tmp_path):
    settings = settings_for(tmp_path)
    ctx = BuildContext(settings, plan=None)
    log = SqliteEventLog(settings.log_path)
    log.append(records(0, 5, START))
    first = land_log(ctx)
    log.append(records(5, 3, START + DAY))
    second = land_log(ctx)
    third = land_log(ctx)
    log.close()
    assert [(r.rows, r.log_count, r.first_seq, r.last_seq) for r in (first, second)] == [(5, 5, 1, 5), (3, 3, 6, 8)]
    assert third.rows == 0
    assert refresh(settings).clean == 8
    assert rows_of(settings, "SELECT count(*), count(DISTINCT event_id) FROM staging.events") == [(8, 8)]


def test_landed_events_leave_the_log_after_a_week(tmp_path):
    settings = settings_for(tmp_path)
    ctx = BuildContext(settings, plan=None)
    now_us = time.time_ns() // 1000
    log = SqliteEventLog(settings.log_path)
    log.append(records(0, 4, now_us - 10 * DAY))
    log.append(records(4, 2, now_us))
    land_log(ctx)
    assert log.count(0, log.last_seq()) == 2
    log.append(records(6, 1, now_us))
    assert land_log(ctx).rows == 1
    assert sum(file.rows for file in Landing(settings.landing_dir).files()) == 7
    log.close()
