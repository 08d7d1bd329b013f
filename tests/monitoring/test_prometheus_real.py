"""A collector and a stream worker under traffic, scraped by a real Prometheus that has the rules of this repository.

One deployment for all: starting it costs more than asking.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from postgres_server import free_port
from promtool import RULES, panel_expressions, program
from warehouse_cases import event, land, refresh

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.settings import load_settings
from gtm_dagster.stream.watchdog import SENSOR
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.last_refresh import write_last_refresh

pytestmark = pytest.mark.real
KEY = "checkout:payment_completed:production"
GONE_SECONDS = 90.0
HOUR = 3_600_000_000


@dataclass
class Monitored:
    """The processes by name, and Prometheus' address."""

    url: str
    processes: dict[str, subprocess.Popen[bytes]]
    collector: str
    log: Path

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series an expression gives now."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=20).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        return answer["data"]["result"]

    def firing(self) -> set[str]:
        alerts = requests.get(f"{self.url}/api/v1/alerts", timeout=20).json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes every message."""

    headers_seen: list[dict[str, str]] = []  # noqa: RUF012 - one server, one test module

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < deadline:
        if found := condition():
            return found
        pause.wait(0.2)
    pytest.fail(f"{what}: not within {seconds:g} s")


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    prometheus = program("prometheus")
    folder = tmp_path_factory.mktemp("monitored")
    ports = {name: free_port() for name in ("collector", "stream", "prometheus")}
    with ExitStack() as stack:
        sink = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink))
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        stack.callback(sink.shutdown)
        (folder / "gtm.toml").write_text(
            f"""
            state_dir = "state"
            triggers_file = "triggers.yaml"
            [privacy]
            consent = "off"
            [stream]
            metrics_port = {ports["stream"]}
            [[guards]]
            flag = "checkout"
            conversion = "payment_completed"
            environment = "production"
            [[notify]]
            kind = "webhook"
            url = "http://127.0.0.1:{sink.server_address[1]}/"
            [[destinations]]
            name = "sink"
            url = "http://127.0.0.1:{sink.server_address[1]}/"
            allow = ["127.0.0.0/8"]
            """
        )
        (folder / "triggers.yaml").write_text(
            "rules:\n"
            "  seen: {on: page_viewed, purpose: service, do: {webhook: sink}}\n"
            "  asked: {on: page_viewed, purpose: marketing, do: {webhook: sink}}\n"
        )
        settings = load_settings(folder / "gtm.toml", {})
        now_us = time.time_ns() // 1000
        land(settings, [event("a", now_us - HOUR, user_id="u", received_us=now_us)], "import-1")
        refresh(settings)
        with opened(settings.warehouse_path, settings) as con:
            write_last_refresh(con, settings, 1.5)
        with OpsStore.of(settings) as store:
            store.ensure(KEY, "checkout", "payment_completed", "production")
            version = store.guard(KEY).version  # type: ignore[union-attr]
            store.new_epoch(KEY, version, now_us - 60_000_000, actor="a", reason="r", fingerprint=None, at_us=now_us)
            store.beat(SENSOR, now_us)
            store.insert_rollback(
                episode="e1", guard="other", flag="other", environment="production", provider="flagd", epoch=1,
                decided_us=now_us - 9_000_000, intent_us=now_us - 8_000_000, acked_us=now_us - 7_000_000,
                effective_us=now_us - 6_000_000, outcome="rolled_back", verified=True,
            )  # fmt: skip
            store.enqueue("m1", "e1", "webhook[0]", json.dumps({"text": "off"}), now_us)
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GTM_")},
            "GTM_CONFIG": str(folder / "gtm.toml"), "GTM_COLLECTOR__PORT": str(ports["collector"]),
        }  # fmt: skip
        processes = {}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": f"gtm-{name}", "static_configs": [{"targets": [f"127.0.0.1:{ports[name]}"]}]}
                for name in ("collector", "stream")
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        commands = {
            "collector": [sys.executable, "-m", "gtm_dagster.cli", "collect"],
            "stream": [sys.executable, "-m", "gtm_dagster.cli", "stream"],
            "prometheus": [
                prometheus, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
            ],
        }  # fmt: skip
        for name, command in commands.items():
            out = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=out)
            processes[name] = process
            stack.callback(process.wait, 30)
            stack.callback(process.send_signal, signal.SIGTERM)
        here = Monitored(
            f"http://127.0.0.1:{ports['prometheus']}",
            processes,
            f"http://127.0.0.1:{ports['collector']}",
            settings.log_path,
        )
        for page in (f"{here.collector}/readyz", f"http://127.0.0.1:{ports['stream']}/metrics", f"{here.url}/-/ready"):
            until(lambda page=page: answers(page), 90, page)
        yield here


def send(here: Monitored, *events: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = requests.post(
        f"{here.collector}/ingest", json=list(events), headers={"X-Write-Key": "dev", **headers}, timeout=20
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_three_events_of_a_quick_start_are_seen_within_ten_seconds(monitored: Monitored) -> None:
    until(lambda: len(monitored.query('gtm_collector_events_total{status="accepted"}')) == 1, 30, "the first scrape")
    good = {"event_name": "page_viewed", "anonymous_id": "v", "event_id": "3f0c9a52-9a31-4d7c-8f5e-6b0f3f4f5a11"}
    for body in (good, good, {"event_name": "page_viwed"}):
        send(monitored, body)
    beat = {"producer": "shop"}
    requests.post(f"{monitored.collector}/heartbeat", json=beat, headers={"X-Write-Key": "dev"}, timeout=20)

    def counts() -> bool:
        found = {each["metric"]["status"]: each["value"][1] for each in monitored.query("gtm_collector_events_total")}
        return [found[status] for status in ("accepted", "duplicate", "quarantined")] == ["1", "1", "1"]

    until(counts, 10, "1 accepted, 1 duplicate, 1 quarantined")
    until(lambda: monitored.query('increase(gtm_collector_events_total{status="quarantined"}[1m]) > 0'), 10, "a rise")
    reasons = {each["metric"]["code"] for each in monitored.query("gtm_collector_reasons_total > 0")}
    assert "unknown_event" in reasons


def test_no_panel_of_the_dashboard_is_empty(monitored: Monitored) -> None:
    """Guards are looked at every 30 s, messages every 5 s, and a rate needs two scrapes."""
    left = panel_expressions()
    assert len(left) > 30

    def none_left() -> bool:
        nonlocal left
        left = [(panel, expr) for panel, expr in left if not monitored.query(expr)]
        return not left

    deadline, pause = time.monotonic() + 75, threading.Event()
    while not none_left() and time.monotonic() < deadline:
        pause.wait(1)
    assert not left, "\n".join(f"{panel}: {expr}" for panel, expr in left)
    delivered = monitored.query('gtm_outbox_deliveries_total{kind="webhook",outcome="delivered"}')
    assert [each["value"][1] for each in delivered] == ["1"]
    assert any(seen.get("traceparent", "").startswith("00-") for seen in Sink.headers_seen)


def test_what_is_well_alerts_nobody(monitored: Monitored) -> None:
    assert monitored.firing() <= {"RollbackHappened", "ReasonNew", "GuardBlind"}


def test_a_log_that_takes_nothing_refuses_and_a_dead_collector_is_gone(monitored: Monitored) -> None:
    log = monitored.log
    log.rename(log.with_name("elsewhere.db"))
    for _ in range(3):
        answer = requests.post(
            f"{monitored.collector}/ingest", json=[{}], headers={"X-Write-Key": "dev"}, timeout=20
        )  # fmt: skip
        assert answer.status_code == 503
    refusing = yaml.safe_load(RULES.read_text())["groups"][0]["rules"][2]
    assert refusing["alert"] == "CollectorRefusing"
    until(lambda: monitored.query(refusing["expr"]), 30, "the share of 5xx")
    began = time.monotonic()
    monitored.processes["collector"].kill()
    until(lambda: "CollectorGone" in monitored.firing(), GONE_SECONDS, "CollectorGone")
    assert time.monotonic() - began > 25, "a scrape that fails once pages nobody"
