"""What the stream worker exports: states and counts from the start, times and no ages, nothing of what is not known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from prometheus_client import CollectorRegistry
from stream_cases import GUARD, KEY, MINUTE, NOON, Deployment, traffic

from gtm_dagster.delivery.outbox import Delivery
from gtm_dagster.monitoring import metrics_text, process_registry
from gtm_dagster.monitoring.metrics_page import metrics_page
from gtm_dagster.opsstore import OpsStoreError
from gtm_dagster.settings import Settings
from gtm_dagster.stream.deployment_metrics import DeploymentMetrics
from gtm_dagster.stream.guard_gauges import OUTCOMES, STATES, GuardMetrics
from gtm_dagster.stream.watchdog import SENSOR
from gtm_dagster.stream.worker_metrics import DeliveryMetrics, WorkerMetrics

NAMES = {"flag": "checkout", "conversion": "payment_completed", "environment": "production"}


def samples(collector: object) -> dict[tuple[str, str], float]:
    """Values by name and the last label's value ("" without one)."""
    families = collector.collect()  # type: ignore[attr-defined]
    return {(s.name, next(reversed(s.labels.values()), "")): s.value for family in families for s in family.samples}


def settings_in(folder: Path) -> Settings:
    return Settings(state_dir=folder, guards=(GUARD,), ops_url=f"sqlite:///{folder / 'ops.db'}")


def test_a_guard_is_in_one_state_and_an_armed_one_shows_its_evidence(here: Deployment, tmp_path: Path) -> None:
    metrics = GuardMetrics(here.store, settings_in(tmp_path))
    assert not [key for key in samples(metrics) if key[0] == "gtm_guard_state"], "nobody has looked yet"
    here.append(traffic(3))
    here.log.beat("collector", NOON + 90 * MINUTE, NOON + 90 * MINUTE)
    here.worker().once()
    metrics.look(NOON + 90 * MINUTE)
    found = samples(metrics)
    states = {state: found["gtm_guard_state", state] for state in STATES}
    assert sum(states.values()) == 1 and not states["DISARMED"], states
    assert found["gtm_guard_log_evidence_bar", "production"] > 0
    assert found["gtm_guard_watermark_timestamp_seconds", "production"] == NOON / 1e6 + 90 * 60
    units = found["gtm_guard_units", "control"] + found["gtm_guard_units", "treatment"]
    assert units == 120 and 0 < found["gtm_guard_conversions", "control"] < units
    labels = {tuple(s.labels) for family in metrics.collect() for s in family.samples if s.name == "gtm_guard_state"}
    assert labels == {(*NAMES, "state")}


def test_a_guard_that_was_never_armed_has_a_state_and_no_evidence(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, armed_us=None)
    metrics = GuardMetrics(deployment.store, settings_in(tmp_path))
    metrics.look(NOON)
    found = samples(metrics)
    assert found["gtm_guard_state", "DISARMED"] == 1
    assert not [name for name, _ in found if "evidence" in name or "watermark" in name or "decision" in name]
    assert [found["gtm_rollbacks_total", outcome] for outcome in OUTCOMES] == [0] * len(OUTCOMES)
    assert ("gtm_last_rollback_timestamp_seconds", "") not in found
    deployment.close()


def test_the_ledger_and_the_sensors_look(here: Deployment, tmp_path: Path) -> None:
    here.store.beat(SENSOR, NOON)
    rows = {"guard": KEY, "flag": "checkout", "environment": "production", "provider": "flagd", "epoch": 1}
    here.store.insert_rollback(episode="old", **rows, intent_us=NOON, outcome="rolled_back")
    here.store.insert_rollback(
        episode="new",
        **rows,
        decided_us=NOON,
        intent_us=NOON + 2_000_000,
        acked_us=NOON + 3_000_000,
        outcome="rolling_back",
    )
    found = samples(GuardMetrics(here.store, settings_in(tmp_path)))
    assert found["gtm_guard_last_decision_timestamp_seconds", ""] == NOON / 1e6
    assert (found["gtm_rollbacks_total", "rolled_back"], found["gtm_rollbacks_total", "rolling_back"]) == (1, 1)
    assert found["gtm_last_rollback_timestamp_seconds", ""] == NOON / 1e6 + 2
    assert (found["gtm_rollback_seconds", "intent"], found["gtm_rollback_seconds", "acknowledged"]) == (2, 1)
    assert ("gtm_rollback_seconds", "effective") not in found, "it has not happened"


def test_how_far_the_worker_is(here: Deployment) -> None:
    worker = here.worker()
    metrics = WorkerMetrics(here.log, here.store, lambda: worker.rounds, worker.behind)
    here.append(traffic(1, units=5))
    head = here.log.last_seq()
    before = samples(metrics)
    assert (before["gtm_stream_offset", ""], before["gtm_stream_lag_events", ""]) == (0, head)
    assert ("gtm_stream_position_timestamp_seconds", "") not in before, "it has counted nothing"
    worker.once()
    found = samples(metrics)
    assert (found["gtm_stream_offset", ""], found["gtm_stream_lag_events", ""]) == (head, 0)
    assert found["gtm_stream_position_timestamp_seconds", ""] >= NOON / 1e6
    assert found["gtm_stream_rounds_total", ""] == worker.rounds > 0

    class Gone:
        def positions(self) -> None:
            raise OpsStoreError("gone")

    names = {name for name, _ in samples(WorkerMetrics(here.log, Gone(), lambda: 1, list))}  # type: ignore[arg-type]
    assert names == {"gtm_stream_rounds_total", "gtm_stream_parts_behind"}, "what cannot be read has no value"


def test_messages_that_wait_and_that_were_given_up(here: Deployment, tmp_path: Path) -> None:
    metrics = DeploymentMetrics(here.store, settings_in(tmp_path))
    empty = samples(metrics)
    assert (empty["gtm_outbox_pending", "webhook"], empty["gtm_outbox_given_up", "slack"]) == (0, 0)
    assert not [key for key in empty if key[0].endswith("_timestamp_seconds")], "there is none, and no refresh"
    for n, sink in enumerate(("webhook[0]", "webhook[1]", "slack[2]")):
        here.store.enqueue(f"m{n}", "e", sink, "{}", NOON + n * MINUTE)
    here.store.lease("m2", NOON + 3 * MINUTE, NOON + 4 * MINUTE)
    here.store.failed("m2", "answered 500", None, 1)
    found = samples(metrics)
    assert (found["gtm_outbox_pending", "webhook"], found["gtm_outbox_pending", "slack"]) == (2, 0)
    assert found["gtm_outbox_oldest_timestamp_seconds", "webhook"] == NOON / 1e6
    assert found["gtm_outbox_given_up", "slack"] == 1
    assert found["gtm_outbox_last_given_up_timestamp_seconds", "slack"] == NOON / 1e6 + 120


def test_attempts_are_counted_by_kind_and_by_nothing_else() -> None:
    registry = CollectorRegistry()
    metrics = DeliveryMetrics(registry)
    before = metrics_text(registry).decode()
    assert 'gtm_outbox_deliveries_total{kind="webhook",outcome="delivered"} 0.0' in before
    attempts = [
        Delivery("a", "webhook[0]", None),
        Delivery("b", "webhook[7]", "answered 500"),
        Delivery("c", "pager[1]", None),
    ]
    metrics.count(attempts, lambda _: None)
    text = metrics_text(registry).decode()
    assert 'gtm_outbox_deliveries_total{kind="webhook",outcome="delivered"} 1.0' in text
    assert 'gtm_outbox_deliveries_total{kind="webhook",outcome="refused"} 1.0' in text
    assert "pager" not in text and 'gtm_outbox_delivery_seconds_count{kind="webhook"} 0.0' in text
    metrics.count(attempts[:1], lambda _: NOON)
    assert 'gtm_outbox_delivery_seconds_count{kind="webhook"} 1.0' in metrics_text(registry).decode()


@pytest.mark.parametrize(
    ("path", "headers", "status", "reason"),
    [
        ("/metrics", {}, 200, "the page"),
        ("/metrics?name[]=x", {}, 200, "Prometheus may ask for parts"),
        ("/", {}, 404, "there is no other page"),
        ("/metrics", {"Host": "evil.example"}, 403, "a name that was led here"),
        ("/metrics", {"Host": "localhost:99"}, 200, "another name of this machine"),
    ],
)
def test_the_page(path: str, headers: dict[str, str], status: int, reason: str) -> None:
    with metrics_page(process_registry("stream"), "127.0.0.1", 0) as address:
        answer = requests.get(address.removesuffix("/metrics") + path, headers=headers, timeout=5)
        assert answer.status_code == status, reason
        assert ("gtm_build_info" in answer.text) == (status == 200)
        with pytest.raises(OSError, match="in use"), metrics_page(process_registry("stream"), "127.0.0.1", int(address.split(":")[2].split("/")[0])):  # fmt: skip
            pass


def test_what_a_refresh_left_behind(here: Deployment, tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    metrics = DeploymentMetrics(here.store, settings)
    left = {
        "finished_at": NOON / 1e6, "seconds": 12.5, "books_difference": {"2020-01-01": 3}, "format": 1,
        "failed_checks": ["core.sessions: sessions_cover_events"],
    }  # fmt: skip
    (tmp_path / "refreshed.json").write_text(json.dumps(left))
    found = samples(metrics)
    assert found["gtm_refresh_last_success_timestamp_seconds", ""] == NOON / 1e6
    assert found["gtm_refresh_duration_seconds", ""] == 12.5
    failed = [s for family in metrics.collect() for s in family.samples if s.name == "gtm_check_failed"]
    assert [s.labels["check"] for s in failed if s.value] == ["sessions_cover_events"] and len(failed) > 20
    assert ("gtm_books_difference", "today") not in found, "the day has no books"
    for text in ("{", json.dumps({**left, "format": 2}), "[]"):
        (tmp_path / "refreshed.json").write_text(text)
        assert ("gtm_refresh_duration_seconds", "") not in samples(metrics)
