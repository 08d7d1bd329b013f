"""What the collector exports: known series from the start, no series without end, times and no ages."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest
from collector_harness import Edge
from prometheus_client.parser import text_string_to_metric_families

from gtm_dagster.collector import metrics
from gtm_dagster.collector.log_metrics import LogMetrics, log_metrics
from gtm_dagster.collector.metrics import ANSWERS, OTHER, REASON_CODES, SHOWN_PRODUCERS, STATUSES, Metrics
from gtm_dagster.eventlog import EventLogError
from gtm_dagster.settings import DRILL_REASON, load_settings
from gtm_dagster.taxonomy.times import BAD, WITHOUT_OFFSET

LIBRARY = Path(metrics.__file__).parents[1]


def exported(edge: Edge) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of the page by name and labels."""
    page = edge.get("/metrics")
    assert page.status == 200 and page.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(page.body.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_an_idle_collector_has_every_known_series_at_0(edge: Edge) -> None:
    """Else the first failure appears as 1, which no rate sees."""
    found = exported(edge)
    assert [found["gtm_collector_events_total", (("status", status),)] for status in STATUSES] == [0.0] * len(STATUSES)
    assert {found["gtm_collector_reasons_total", (("code", code),)] for code in (*REASON_CODES, OTHER)} == {0.0}
    for path in ("/ingest", "/heartbeat"):
        for status in ANSWERS:
            assert found["gtm_collector_requests_total", (("path", path), ("status", status))] == 0.0
    assert found["gtm_collector_producers", ()] == 0
    names = {name for name, _ in found}
    assert not [name for name in names if name.endswith("_created")]
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "python_info", "gtm_build_info"} <= names
    assert "gtm_collector_oldest_heartbeat_timestamp_seconds" not in names, "nobody has beaten: there is no time"


def test_the_answers_of_three_requests_are_counted(edge: Edge) -> None:
    good = {"event_name": "page_viewed", "anonymous_id": "v", "event_id": "3f0c9a52-9a31-4d7c-8f5e-6b0f3f4f5a11"}
    for body in (good, good, [{"event_id": "x"}]):
        assert edge.post(body).status == 200
    found = exported(edge)
    counts = {status: found["gtm_collector_events_total", (("status", status),)] for status in STATUSES}
    assert counts == {"accepted": 1, "duplicate": 1, "conflict": 0, "quarantined": 1, "suppressed": 0}
    assert found["gtm_collector_reasons_total", (("code", "missing_field"),)] > 0
    assert found["gtm_collector_requests_total", (("path", "/ingest"), ("status", "200"))] == 3
    for family in ("ack_seconds", "commit_seconds", "request_bytes"):
        assert found[f"gtm_collector_{family}_count", ()] == 3
    ends = [float(labels[0][1]) for name, labels in found if name == "gtm_collector_ack_seconds_bucket"]
    assert min(ends) == 0.001 and 0.1 in ends, "the bound that is promised, 100 ms, is the end of a bucket"


def test_ten_thousand_names_add_few_series(edge: Edge) -> None:
    before = len(exported(edge))
    for n in range(10_000):
        edge.app.metrics.beat(f"producer-{n}")
        edge.app.metrics.answered(["quarantined"], [f"reason-{n}"])
    edge.get("/nowhere-1")
    edge.get("/nowhere-2")
    found = exported(edge)
    assert len(found) - before < 200
    assert found["gtm_collector_reasons_total", (("code", OTHER),)] == 10_000
    assert found["gtm_collector_requests_total", (("path", OTHER), ("status", "404"))] == 2
    assert found["gtm_collector_producers", ()] == metrics.MAX_PRODUCERS


def test_a_heartbeat_is_a_time_and_the_oldest_is_that_of_all_producers(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    own = Metrics(lambda: 0)
    for n in range(SHOWN_PRODUCERS + 1):
        clock[0] = 2000.0 + n
        own.beat(f"p{n}")
    clock[0] = 9000.0
    for n in range(SHOWN_PRODUCERS):
        own.beat(f"p{n}")
    beats = {s.labels["producer"]: s.value for family in own.collect() for s in family.samples if s.labels}
    assert beats == {f"p{n}": 9000.0 for n in range(SHOWN_PRODUCERS)}
    oldest = [s.value for family in own.collect() for s in family.samples if "oldest" in s.name]
    assert oldest == [2000.0 + SHOWN_PRODUCERS], "the one without a series of its own is silent"
    own.beat("p0", closing=True)
    own.beat(f"p{SHOWN_PRODUCERS}")
    shown = {s.labels["producer"] for family in own.collect() for s in family.samples if s.labels}
    assert f"p{SHOWN_PRODUCERS}" in shown and "p0" not in shown


def test_every_reason_this_door_gives_is_known_from_the_start() -> None:
    """The codes that stand in the rooms that judge an event; those of files alone are the import's."""
    found = {BAD, WITHOUT_OFFSET, DRILL_REASON}
    for room in ("taxonomy", "admission"):
        for file in (LIBRARY / room).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "FieldError" and len(node.args) > 1:
                    code = node.args[1]
                    if isinstance(code, ast.Constant):
                        found.add(code.value)
    found -= {"too_short"}  # of a landed file alone
    assert found == set(REASON_CODES)


def test_the_log_shows_how_far_it_goes_and_what_it_takes(edge: Edge) -> None:
    edge.post([{"event_name": "page_viewed", "anonymous_id": "v"}, {}])
    path = edge.log.path
    values = {s.name: s.value for family in LogMetrics(edge.log, path).collect() for s in family.samples}
    assert values["gtm_eventlog_head_offset"] == 2
    assert values["gtm_eventlog_bytes"] == path.stat().st_size
    assert values["gtm_disk_free_bytes"] > 0

    class Broken:
        def last_seq(self) -> int:
            raise EventLogError("gone")

    names = {s.name for family in LogMetrics(Broken(), path.with_name("none")).collect() for s in family.samples}
    assert names == {"gtm_disk_free_bytes"}, "what cannot be read has no value"


def test_a_log_behind_a_broker_shows_what_waits_for_it_and_whether_it_takes_events(tmp_path: Path) -> None:
    class Spools:
        folder = tmp_path
        fault: str | None = None

        def spooled(self) -> int:
            return 7

        def broker_fault(self) -> str | None:
            return self.fault

        def partition_lag(self, consumer: str) -> dict[int, int]:
            raise AssertionError("a scrape of the collector does not wait for a broker")

    log = Spools()
    (tmp_path / "spool.db").write_bytes(b"12345")
    shown = log_metrics(log, load_settings(None, {"GTM_STATE_DIR": str(tmp_path)}))  # type: ignore[arg-type]

    def values() -> dict[str, float]:
        return {s.name: s.value for family in shown.collect() for s in family.samples}

    found = values()
    assert (found["gtm_eventlog_spooled_events"], found["gtm_eventlog_broker_up"]) == (7, 1)
    assert (found["gtm_eventlog_spool_bytes"], found["gtm_disk_free_bytes"] > 0) == (5, True)
    log.fault = "away"
    assert values()["gtm_eventlog_broker_up"] == 0
