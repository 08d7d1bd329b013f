"""Who reads a topic: the loader lands each record once, the stream worker counts as it does from events.db."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import stream_cases
from eventlog_cases import record
from stream_cases import Deployment, traffic
from warehouse_cases import refresh, rows_of, settings_for

from gtm_dagster.dashboard.data_ages import DataAges
from gtm_dagster.dashboard.live_log import live_log
from gtm_dagster.dashboard.live_store import LiveStore
from gtm_dagster.eventlog import LogChangedError, Position, open_log
from gtm_dagster.settings import load_settings
from gtm_dagster.stream.worker_metrics import WorkerMetrics
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing import Landing
from gtm_dagster.warehouse.landing.from_log import land_log, waiting_offsets

pytestmark = pytest.mark.real

LAND = """
import sys
from gtm_dagster.settings import load_settings
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing import from_log
from_log._CHUNK_ROWS = 500
settings = load_settings(None, {"GTM_STATE_DIR": sys.argv[1], "GTM_EVENT_LOG": sys.argv[2]})
print("lands", flush=True)
print(from_log.land_log(BuildContext(settings, plan=None)).rows, flush=True)
"""


def events(first: int, n: int) -> list:
    now_us = time.time_ns() // 1000
    return [
        record(f"e{i}", anonymous_id=f"p{i % 7}", event_us=now_us, received_us=now_us) for i in range(first, first + n)
    ]


def test_each_record_lands_once_and_repeated_ones_are_dropped_by_staging(kafka, tmp_path, topic):
    settings = settings_for(tmp_path, GTM_EVENT_LOG=topic, GTM_KAFKA__ACK_SECONDS="20")
    ctx = BuildContext(settings, plan=None)
    with open_log(settings) as log:
        log.append(events(0, 30))
        first = land_log(ctx)
        log.append(events(30, 20))
        assert waiting_offsets(settings)[:2] == (30, 50)
        second, third = land_log(ctx), land_log(ctx)
        assert [(r.rows, r.log_count, r.last_seq) for r in (first, second, third)] == [
            (30, 30, 30),
            (20, 20, 50),
            (0, 0, 50),
        ]
        assert log.committed("warehouse") == 50 and set(log.partition_lag("warehouse").values()) == {0}
        log.append(events(100, 5))
        assert sum(log.partition_lag("warehouse").values()) == 5
    elsewhere = settings_for(tmp_path / "other", GTM_EVENT_LOG=topic, GTM_KAFKA__ACK_SECONDS="20")
    with open_log(elsewhere) as other:  # a collector of another machine knows no ids of this one
        assert other.append(events(10, 15)).accepted == 15
    assert land_log(ctx).rows == 20
    staged = refresh(settings)
    assert (staged.clean, staged.duplicates) == (55, 15)
    assert rows_of(settings, "SELECT count(*), count(DISTINCT event_id) FROM staging.events") == [(55, 55)]


def test_a_loader_that_is_killed_lands_the_rest_and_nothing_twice(kafka, tmp_path, topic):
    environ = {"GTM_STATE_DIR": str(tmp_path), "GTM_EVENT_LOG": topic, "GTM_KAFKA__ACK_SECONDS": "20"}
    settings = load_settings(None, environ)
    with open_log(settings) as log:
        for start in range(0, 6000, 1500):
            log.append(events(start, 1500))
            log.last_seq()
    for seconds in (0.3, 0.6, 0.9):
        with subprocess.Popen(
            [sys.executable, "-c", LAND, str(tmp_path), topic], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "lands\n"
            time.sleep(seconds)
            os.kill(child.pid, signal.SIGKILL)
    land_log(BuildContext(settings, plan=None))
    landing = Landing(settings.landing_dir)
    import pyarrow.parquet as pq

    ids = [each for file in landing.files() for each in pq.read_table(file.path)["event_id"].to_pylist()]
    assert (len(ids), len(set(ids))) == (6000, 6000)


def test_the_stream_worker_counts_a_topic_as_it_counts_a_file(kafka, tmp_path, topic):
    records = [stream_cases.changed(each, write_key="shop") for each in traffic(3)]
    (tmp_path / "file").mkdir()
    file = Deployment(tmp_path / "file")
    counted = file.count(records)
    file.close()
    here = Deployment(tmp_path)
    here.log.close()
    environ = {"GTM_STATE_DIR": str(tmp_path), "GTM_EVENT_LOG": topic, "GTM_KAFKA__ACK_SECONDS": "20"}
    here.log = open_log(load_settings(None, environ))  # type: ignore[assignment]
    worker = here.worker(batch=50)
    for start in range(0, len(records), 60):
        here.append(records[start : start + 60])
        here.log.beat("shop", stream_cases.NOON + start, stream_cases.NOON + start)
        worker.once()
    assert here.counts() == counted != []
    at = here.store.positions()["stream"]
    assert at == Position(here.log.log_id, len(records), at.received_us)
    assert here.store.producers()[0].name == "shop"
    here.append([record(f"new-{n}", anonymous_id=str(n)) for n in range(9)])
    families = {family.name: family for family in WorkerMetrics(here.log, here.store, lambda: 1, list).collect()}
    lags = families["gtm_eventlog_partition_lag_events"].samples
    assert families["gtm_stream_lag_events"].samples[0].value == 9
    assert sum(each.value for each in lags if each.labels["reader"] == "stream") == 9
    assert sum(each.value for each in lags if each.labels["reader"] == "warehouse") == len(records) + 9
    again = here.worker()
    again.once()
    assert (again.changed, here.counts()) == (0, counted), "a worker that starts again counts nothing twice"
    here.close()


def test_pages_and_doctor_show_a_topic_as_they_show_a_file(kafka, tmp_path, topic):
    settings = settings_for(tmp_path, GTM_EVENT_LOG=topic, GTM_KAFKA__ACK_SECONDS="20")
    assert next((age.name, age.why) for age in DataAges(settings, LiveStore(settings)).ages(None)) == (
        "received",
        "the log is empty",
    )
    with open_log(settings) as log:
        log.append(events(0, 40))
        log.beat("shop", 5, 10)
    page = live_log(settings)
    assert [event.offset for event in page.events] == list(range(40, 15, -1))
    assert (page.answers["accepted"], page.heartbeats[0][0].producer) == (40, "shop")
    received = DataAges(settings, LiveStore(settings)).ages(None)[0].at
    assert received is not None and abs(received.timestamp() - time.time()) < 600
    environ = {**os.environ, "GTM_STATE_DIR": str(tmp_path), "GTM_EVENT_LOG": topic}
    for command, expected in (
        (["log", "status"], rf"log [0-9a-f]{{16}} in {topic}: offsets 1 to 40"),
        (["doctor"], r"(?s)spool: empty: .*event log: 40 records, 40 of them not landed yet"),
    ):
        shown = subprocess.run(
            [sys.executable, "-m", "gtm_dagster.cli", *command],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert re.search(expected, shown.stdout), shown.stdout + shown.stderr


def test_a_deployment_moves_from_the_file_to_a_topic_when_a_person_says_so(kafka, tmp_path, topic):
    file = settings_for(tmp_path)
    with open_log(file) as log:
        log.append(events(0, 10))
    assert land_log(BuildContext(file, plan=None)).rows == 10
    moved = settings_for(tmp_path, GTM_EVENT_LOG=topic, GTM_KAFKA__ACK_SECONDS="20")
    with open_log(moved) as log:
        log.append(events(5, 10))
    with pytest.raises(LogChangedError, match="another log took its place"):
        land_log(BuildContext(moved, plan=None))
    environ = {**os.environ, "GTM_STATE_DIR": str(tmp_path), "GTM_EVENT_LOG": topic}
    command = [sys.executable, "-m", "gtm_dagster.cli", "log", "accept", "--reason", "moved to Kafka", "--actor", "ada"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert land_log(BuildContext(moved, plan=None)).rows == 10
    staged = refresh(moved)
    assert (staged.clean, staged.duplicates) == (15, 5)
