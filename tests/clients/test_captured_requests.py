"""Requests recorded from real clients, sent to a running collector: every event is stored or quarantined with a reason, and
the same request again stores nothing.

CAPTURED_REQUESTS names a folder of recordings (the form is that of captured_requests.py); the recordings of others are
no part of this repository. The cases of client_cases.py are of the same kinds.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import client_cases
import pytest
from captured_requests import Request, counted, recorded, send
from client_cases import CASES
from running_collector import Running, running_collector

FOLDER = os.environ.get("CAPTURED_REQUESTS")
FILES = sorted(path for path in Path(FOLDER).glob("*.json") if '"requests": [' in path.read_text() and '"body_b64"' in path.read_text()) if FOLDER else []  # fmt: skip


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_collector(tmp_path_factory.mktemp("clients")) as running:
        yield running


def replay(collector: Running, requests: list[Request]) -> dict[str, int]:
    """Events by verdict that sending these requests made; every one is answered 200, a preflight 204."""
    before = counted(collector.url, collector.server)
    for request in requests:
        status, headers, body = send(collector.url, request, collector.client)
        assert status == (204 if request.method == "OPTIONS" else 200), (request.method, request.path, status, body)
        origin = {name.lower(): value for name, value in request.headers.items()}.get("origin")
        assert headers.get("access-control-allow-origin") == origin, request.path
    after = counted(collector.url, collector.server)
    return {verdict: after[verdict] - before[verdict] for verdict in after if after[verdict] != before[verdict]}


def check(collector: Running, requests: list[Request]) -> tuple[dict[str, int], dict[str, int]]:
    events = sum(request.events for request in requests)
    first, again = replay(collector, requests), replay(collector, requests)
    assert events and sum(first.values()) == sum(again.values()) == events, (events, first, again)
    assert again.get("accepted", 0) == 0 and again.get("quarantined", 0) == first.get("quarantined", 0)
    return first, again


@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_scenario_1_a_kind_of_request(collector: Running, name: str) -> None:
    # Made anew: a sender whose time of sending lies over a minute back has its clock put right by the time of receipt.
    case = next(each for each in importlib.reload(client_cases).CASES if each.name == name)
    refused = len(collector.quarantined())
    first, again = check(collector, case.requests)
    events = sum(request.events for request in case.requests)
    assert first.get("accepted", 0) == case.accepted and first.get("quarantined", 0) == events - case.accepted
    assert again.get("duplicate", 0) == case.accepted, "the id and what it says are the same again"
    codes = {code for record in collector.quarantined()[refused:] for code in str(record.reason_codes).split(",")}
    assert codes == set(case.reasons)


def test_a_trackers_batch_beyond_the_limit_is_answered_as_a_trackers_and_quarantined(collector: Running) -> None:
    payloads = [{"e": "pv", "eid": f"big-{n}", "aid": "app", "pad": "x" * 1_000} for n in range(6_000)]
    body = json.dumps({"schema": "iglu:x/payload_data/jsonschema/1-0-4", "data": payloads}).encode()
    refused = len(collector.quarantined())
    for _ in range(2):
        request = Request("POST", "/com.snowplowanalytics.snowplow/tp2", {"Content-Type": "application/json"}, body)
        assert send(collector.url, request, collector.client)[::2] == (200, b"ok")
    found = collector.quarantined()[refused:]
    assert [(record.reason_codes, record.write_key, record.sealed) for record in found] == [
        ("too_large", "web", None)
    ] * 2


@pytest.mark.parametrize("path", FILES or [None], ids=lambda path: path.stem if path else "none")
def test_scenario_1_a_recording(collector: Running, path: Path | None) -> None:
    if FOLDER is None:
        pytest.skip("CAPTURED_REQUESTS names no folder of recordings")
    assert path is not None, f"{FOLDER} has no recordings"
    check(collector, list(recorded(path)))
    assert all(record.reason_codes for record in collector.quarantined())
