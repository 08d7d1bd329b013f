"""The live part of the demo: a real collector in a process of its own, and events sent to it through the SDK."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import requests

from gtm_dagster.demo.deployment import DemoError
from gtm_dagster.settings import Settings
from gtm_dagster.simulator.event_table import FIRST_MALFORMED
from gtm_dagster.simulator.traffic import Traffic, as_event
from gtm_dagster.tracking import GtmTracker

WRITE_KEY = "dev"
LIVE_EVENTS = 2_000
READY_SECONDS = 120.0  # a collector that stops ends the wait at once; a crowded machine took more than 30 s


def live_rows(events: int) -> int:
    """How many of the last rows are sent live: 2,000, and of a small demo the last tenth."""
    return min(LIVE_EVENTS, events // 10)


def send_live(endpoint: str, traffic: Traffic, amount: int, tell: Callable[[float], None]) -> None:
    """Send the last `amount` rows of `traffic` to the collector at `endpoint`; returns when all are acknowledged.

    Malformed events are posted as they are: the SDK would refuse them before they leave the product.
    Raises DemoError when the collector does not take an event.
    """
    first = traffic.events.num_rows - amount
    rows, labels = traffic.events.slice(first).to_pylist(), traffic.label[first:]
    tracker = GtmTracker(endpoint, WRITE_KEY, device_type=None)  # each event says its own
    try:
        for sent, (row, label) in enumerate(zip(rows, labels, strict=True), start=1):
            event = as_event(row)
            if label >= FIRST_MALFORMED:
                _post(endpoint, event)
            else:
                tracker.track(
                    event["event_name"],
                    user_id=event["user_id"],
                    anonymous_id=event["anonymous_id"],
                    session_id=event["session_id"],
                    properties=event["properties"],
                    context=event["context"],
                    timestamp=row["timestamp"],
                    event_id=event["event_id"],
                )
            if sent % 500 == 0:
                tracker.flush(60)
            tell(sent)
        if not tracker.flush(60):
            raise DemoError(f"the collector at {endpoint} did not answer for every event within 60 s")
    finally:
        tracker.close()


def _post(endpoint: str, event: dict[str, Any]) -> None:
    try:
        answer = requests.post(f"{endpoint}/ingest", json=event, headers={"X-Write-Key": WRITE_KEY}, timeout=30)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise DemoError(f"the collector did not take an event: {error}") from error


@contextmanager
def collector(settings: Settings, starting: AbstractContextManager[Any]) -> Iterator[str]:
    """A collector on a free port of loopback; yields its address and stops it at the end. `starting` spans the start.

    Raises DemoError when it is not ready within 30 s; its output is in the state directory under demo/.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gtm_dagster.cli", "collect", "--host", "127.0.0.1", "--port", str(port)]
    endpoint = f"http://127.0.0.1:{port}"
    output = settings.state_dir / "demo" / "collector.log"
    environment = {**os.environ, **same_deployment(settings)}
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)  # noqa: S603
    try:
        with starting:
            _wait_until_ready(process, endpoint, output)
        yield endpoint
    finally:
        stop(process)


def same_deployment(settings: Settings) -> dict[str, str]:
    """Variables that give another process the same state directory, plan, pseudonyms and ops store."""
    variables = {"GTM_STATE_DIR": str(settings.state_dir)}
    if settings.plan_file is not None:
        variables["GTM_PLAN_FILE"] = str(settings.plan_file)
    if settings.privacy.pseudonym_key is not None:
        variables["GTM_PRIVACY__PSEUDONYM_KEY"] = settings.privacy.pseudonym_key
    if settings.ops_url is not None:
        variables["GTM_OPS_URL"] = settings.ops_url
    return variables


def _wait_until_ready(process: subprocess.Popen[bytes], endpoint: str, output: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise DemoError(f"the collector stopped with code {process.returncode}; see {output}")
        try:
            if requests.get(f"{endpoint}/readyz", timeout=2).status_code == requests.codes.ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise DemoError(f"the collector was not ready within {READY_SECONDS:g} s; see {output}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a child with SIGTERM, and with SIGKILL after 15 s."""
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
