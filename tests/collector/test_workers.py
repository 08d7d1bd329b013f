"""Several processes at one port: one log, one set of figures, and none of them is missed when it dies or when all stop."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from collector_load import Load, batches, stored
from collector_server import Server

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads a process's children from /proc")
TWO = {"GTM_COLLECTOR__WORKERS": "2"}


def until(condition: Callable[[], object], seconds: float = 90) -> None:
    poll, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        poll.wait(0.05)


def posted(url: str, events: object) -> dict:
    """The answer to a request on a connection of its own, so that the kernel chooses a process anew."""
    answer = requests.post(
        f"{url}/ingest", json=events, headers={"X-Write-Key": "dev", "Connection": "close"}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def figure(url: str, name: str) -> float:
    page = requests.get(f"{url}/metrics", headers={"Connection": "close"}, timeout=30).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    assert found, page
    return float(found[1])


def listening(server: Server) -> int:
    """How many sockets listen on the server's port."""
    port = int(server.url.rsplit(":", 1)[1])
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port for fields in lines)


def replaced(server: Server, *killed: int) -> bool:
    """Whether others serve in place of the workers that were killed.

    A process that ends has lost its memory, and so its command line, while its socket still listens; another one is
    started only when nothing is left of it, so who counts the children too counts no socket of a dying one.
    """
    children = server.children()
    return len(children) == 2 and not {*killed} & {*children} and listening(server) == 2


def test_a_storm_of_duplicates_over_two_workers_with_a_killed_one_stores_each_event_once(tmp_path: Path) -> None:
    server = Server(tmp_path, **TWO)
    until(lambda: listening(server) == 2)
    storm = batches("d", 40)
    told: Counter[str] = Counter()
    killed: list[int] = []

    def send(client: int) -> None:
        for round_no in range(10):
            for batch in storm[client::2] if client < 2 else storm:
                try:
                    answer = posted(server.url, batch)
                except requests.ConnectionError:  # the killed worker's
                    assert killed
                    continue
                told.update({name: answer[name] for name in ("accepted", "duplicates", "quarantined", "suppressed")})
            if client == 0 and round_no == 2:
                killed.append(server.children()[0])
                os.kill(killed[0], signal.SIGKILL)

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(send, range(4)))
    until(lambda: replaced(server, *killed))
    for batch in storm:
        posted(server.url, batch)
    found = stored(tmp_path)
    assert len(found) == 200 and set(found.values()) == {1}
    assert told["accepted"] <= 200 and told["quarantined"] == told["suppressed"] == 0
    assert server.stop(signal.SIGTERM) == 0
    assert "ended with code -9; another one starts" in server.errors and "Traceback" not in server.errors


def test_figures_are_those_of_all_workers_and_outlive_the_one_that_counted(tmp_path: Path) -> None:
    server = Server(tmp_path, **TWO)
    until(lambda: listening(server) == 2)
    for batch in batches("m", 30):
        posted(server.url, batch)
    accepted = 'gtm_collector_events_total{status="accepted"}'
    assert [figure(server.url, accepted) for _ in range(6)] == [150.0] * 6, "whichever worker is asked"
    assert figure(server.url, 'gtm_collector_requests_total{path="/ingest",status="200"}') == 30
    until(lambda: figure(server.url, "gtm_collector_waiting_events") == 0)  # each worker notes its own once a second
    assert figure(server.url, "gtm_eventlog_head_offset") == 150
    for pid in server.children():
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: replaced(server, pid))
    assert figure(server.url, accepted) == 150
    assert server.stop(signal.SIGTERM) == 0


def test_a_stop_under_load_fails_readiness_first_and_no_request(tmp_path: Path) -> None:
    server = Server(tmp_path, **TWO, GTM_COLLECTOR__DRAIN_SECONDS="1.5")
    until(lambda: listening(server) == 2)
    load = Load(server.url, batches("s", 4000))
    assert load.enough.wait(30)
    server.process.send_signal(signal.SIGTERM)
    refused = []

    def unready() -> bool:
        answer = requests.get(f"{server.url}/readyz", headers={"Connection": "close"}, timeout=30)
        refused.append((answer.status_code, answer.json().get("code")))
        return answer.status_code == 503

    until(unready)
    assert refused[-1] == (503, "stopping")
    taken = len(load.acked)
    until(lambda: len(load.acked) > taken)  # events are taken while readiness fails
    code = server.stop(signal.SIGTERM)
    load.finish()
    assert (code, server.errors) == (0, "")
    found = stored(tmp_path)
    assert set(load.acked) <= set(found) and set(found.values()) == {1}


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    server = Server(tmp_path, **TWO)
    until(lambda: listening(server) == 2)
    posted(server.url, batches("o", 1)[0])
    workers = server.children()
    assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert set(stored(tmp_path).values()) == {1}
