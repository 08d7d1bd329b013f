"""Several processes at one port with a real topic behind them: one producer writes for all, as it does for a file."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from collector.collector_server import Server
from collector.test_workers import listening, until

from gtm_dagster.eventlog import open_log
from gtm_dagster.settings import load_settings

pytestmark = pytest.mark.real


def batch(number: int) -> list[dict[str, Any]]:
    """Five events, each of a person of its own, who has one in every batch."""
    return [
        {"event_id": f"b{number}-{n}", "event_name": "page_viewed", "anonymous_id": f"v{n}",
         "properties": {"path": f"/{number}"}, "context": {"consent": {"analytics": True}}}
        for n in range(5)
    ]  # fmt: skip


def post(url: str, events: list[dict[str, Any]]) -> Counter[str]:
    """The statuses of a request on a connection of its own; none where a killed worker had it."""
    headers = {"X-Write-Key": "dev", "Connection": "close"}
    try:
        answer = requests.post(f"{url}/ingest", json=events, headers=headers, timeout=60)
    except requests.ConnectionError:
        return Counter()
    assert answer.status_code == 200, answer.text
    return Counter(each["status"] for each in answer.json()["results"])


def figure(url: str, name: str) -> float:
    page = requests.get(f"{url}/metrics", headers={"Connection": "close"}, timeout=30).text
    found = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    assert found, page
    return float(found[1])


def test_each_event_is_in_the_topic_once_whichever_worker_got_it_and_while_the_broker_is_away(kafka, tmp_path, topic):
    environ = {"GTM_EVENT_LOG": topic, "GTM_KAFKA__ACK_SECONDS": "1"}
    server = Server(tmp_path, GTM_COLLECTOR__WORKERS="2", **environ)
    until(lambda: listening(server) == 2)

    def send(number: int) -> Counter[str]:
        return post(server.url, batch(number))

    for number in range(10):
        send(number)
    until(lambda: figure(server.url, "gtm_eventlog_spooled_events") == 0)
    kafka.signal(signal.SIGSTOP)
    try:
        for number in range(10, 30):
            assert send(number) == {"accepted": 5}
        assert figure(server.url, "gtm_eventlog_spooled_events") > 0
        assert {figure(server.url, "gtm_eventlog_broker_up") for _ in range(6)} == {0.0}, "whichever worker is asked"
        os.kill(server.children()[0], signal.SIGKILL)
        with ThreadPoolExecutor(4) as clients:
            again = sum(clients.map(send, [*range(30)] * 2), Counter())
        assert set(again) == {"duplicate"}, "also of the other worker, and of before the outage"
    finally:
        kafka.signal(signal.SIGCONT)
    until(lambda: figure(server.url, "gtm_eventlog_spooled_events") == 0)
    until(lambda: send(0) and figure(server.url, "gtm_eventlog_broker_up") == 1)
    assert server.stop(signal.SIGTERM) == 0
    with open_log(load_settings(None, {"GTM_STATE_DIR": str(tmp_path), **environ})) as log:
        rows = log.read_arrow(0)[0].select(["event_id", "anonymous_id"]).to_pylist()
    assert len(rows) == len({row["event_id"] for row in rows}) == 150
    persons: dict[str, list[int]] = {}
    for row in rows:
        persons.setdefault(row["anonymous_id"], []).append(int(row["event_id"][1:].split("-")[0]))
    assert all(numbers == sorted(numbers) for numbers in persons.values()), "a person's events keep their order"
