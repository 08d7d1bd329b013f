"""The gate over the real Unleash client and a server on loopback that speaks its client API."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gate_doubles import FLAG, Recorder, eventually, patient
from UnleashClient.cache import FileCache
from UnleashClient.constants import FEATURES_URL

from gtm_dagster.gate.unleash_client import SYNCED, UnleashFlags, splits
from gtm_dagster.rollout import RolloutController

NOBODY = "http://127.0.0.1:9/api"


def feature(rollout: int | str = 50, *, enabled: bool = True, **more: Any) -> dict[str, Any]:
    parameters = {"rollout": str(rollout), "stickiness": "userId", "groupId": FLAG}
    strategy = {"name": "flexibleRollout", "parameters": parameters, "constraints": [], "segments": []}
    return {"name": FLAG, "type": "release", "enabled": enabled, "strategies": [strategy], "variants": [], **more}


def state(*features: dict[str, Any]) -> dict[str, Any]:
    return {"version": 2, "features": list(features)}


class Server:
    """`/client/features` with ETag; its 304 carries no header, like Unleash 8's."""

    def __init__(self) -> None:
        self.state = state(feature())
        self.status = 200
        self.answers: list[int] = []
        self.url = ""

    def answer(self, etag: str | None) -> tuple[int, dict[str, str], bytes]:
        body = json.dumps(self.state).encode()
        mark = f'"{hash(body)}"'
        if self.status != 200:
            return self.status, {}, b""
        return (304, {}, b"") if etag == mark else (200, {"ETag": mark}, body)


@pytest.fixture
def server() -> Iterator[Server]:
    fake = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = fake.answer(self.headers.get("If-None-Match"))
            fake.answers.append(status)
            self.reply(status, headers, body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.reply(202, {}, b"")

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{listening.server_address[1]}/api"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield fake
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The client logs every fetch that fails."""
    loggers = [logging.getLogger(name) for name in ("UnleashClient", "apscheduler", "urllib3", "unleash_client")]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    yield
    for logger, was in zip(loggers, before, strict=True):
        logger.disabled = was


@contextmanager
def gate_over(url: str, folder: Path, tracker: Recorder, **options: Any) -> Iterator[RolloutController]:
    provider = UnleashFlags(url, "token", app_name=folder.name, refresh_interval=1, cache_directory=str(folder))
    with patient(provider, tracker, **options) as gate:
        yield gate


def served(gate: RolloutController, units: range = range(100)) -> list[bool]:
    return [gate.is_feature_enabled(f"user-{n}", FLAG) for n in units]


def cached(folder: Path, age: float | None) -> None:
    """What an earlier process left on disk: everybody on, fetched `age` seconds ago."""
    cache = FileCache(folder.name, directory=str(folder))
    cache.set(FEATURES_URL, json.dumps(state(feature(100))))
    if age is not None:
        cache.set(SYNCED, time.time() - age)


def test_both_arms_of_a_split_are_emitted_as_such(server: Server, tmp_path: Path) -> None:
    tracker = Recorder()
    with gate_over(server.url, tmp_path, tracker) as gate:
        first = served(gate, range(2000))
        assert served(gate, range(2000)) == first
    assert 0.45 < sum(first) / len(first) < 0.55
    assert set(tracker.emitted()) == {("treatment", "SPLIT", 0), ("control", "SPLIT", 0)}


def test_turned_off_is_seen_and_is_no_split(server: Server, tmp_path: Path) -> None:
    tracker = Recorder()
    with gate_over(server.url, tmp_path, tracker) as gate:
        assert any(served(gate))
        server.state = state(feature(enabled=False))
        eventually(lambda: not any(served(gate)))
    assert tracker.emitted()[-1] == ("control", "STATIC", 0)


def test_an_unchanged_flag_stays_fresh(server: Server, tmp_path: Path) -> None:
    with gate_over(server.url, tmp_path, Recorder(), staleness_seconds=2.5) as gate:
        eventually(lambda: server.answers.count(304) >= 4)
        assert any(served(gate))
        assert not gate.stats().stale


def test_scenario_22_a_server_that_goes_away_is_served_until_the_limit(server: Server, tmp_path: Path) -> None:
    with gate_over(server.url, tmp_path, Recorder(), staleness_seconds=2.5) as gate:
        assert any(served(gate))
        server.status = 503
        assert any(served(gate))
        eventually(lambda: not any(served(gate)))
        server.status = 200
        eventually(lambda: any(served(gate)))


LEFT = [
    ("older than the limit", 3600.0, "STALE"),
    ("of unknown age", None, "STALE"),
    ("of a moment ago", 5.0, "STATIC"),
]


@pytest.mark.parametrize(("age", "reason"), [case[1:] for case in LEFT], ids=[case[0] for case in LEFT])
def test_scenario_22_no_server_at_the_start_and_a_disk_cache(tmp_path: Path, age: float | None, reason: str) -> None:
    cached(tmp_path, age)
    with gate_over(NOBODY, tmp_path, Recorder()) as gate:
        assert served(gate) == [reason == "STATIC"] * 100
        assert gate.stats().answers == {reason: 100}


def test_no_server_at_the_start_and_no_cache(tmp_path: Path) -> None:
    with gate_over(NOBODY, tmp_path, Recorder()) as gate:
        assert not any(served(gate))
        assert gate.stats().answers == {"STALE": 100}


def test_the_time_of_the_fetch_outlives_the_process(server: Server, tmp_path: Path) -> None:
    with gate_over(server.url, tmp_path, Recorder()):
        pass
    left = FileCache(tmp_path.name, directory=str(tmp_path)).get(SYNCED)
    assert abs(time.time() - left) < 10


DIVIDED = [
    ("half", feature(50), True),
    ("switched off", feature(50, enabled=False), False),
    ("nobody", feature(0), False),
    ("everybody", feature(100), False),
    ("no strategy: everybody", feature(50, strategies=[]), False),
    ("half, but everybody by another strategy", feature(50, strategies=[*feature(50)["strategies"], {"name": "default"}]), False),
    ("some by their id", feature(50, strategies=[{"name": "userWithId", "parameters": {"userIds": "a"}}]), True),
    ("everybody of a segment", feature(50, strategies=[{**feature(100)["strategies"][0], "segments": [1]}]), True),
    ("nobody of a segment", feature(50, strategies=[{**feature(0)["strategies"][0], "segments": [1]}]), False),
    ("everybody for whom the parent is on", feature(100, dependencies=[{"feature": "parent"}]), True),
    ("a percentage that is no number", feature("many"), True),
]  # fmt: skip


@pytest.mark.parametrize(("feature", "divided"), [case[1:] for case in DIVIDED], ids=[case[0] for case in DIVIDED])
def test_which_features_divide_their_units(feature: dict[str, Any], divided: bool) -> None:
    assert splits(json.dumps(state(feature))) == {FLAG: divided}


@pytest.mark.parametrize("text", [None, "", "{", "{}"], ids=repr)
def test_no_features_divide_nobody(text: str | None) -> None:
    assert splits(text) == {}
