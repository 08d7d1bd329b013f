"""Parts of a deployment watch each other: one message when a part is silent, one when it is back."""

from __future__ import annotations

import http.server
import json
import threading

import pytest
from acting_cases import SINK, settings_for

from gtm_dagster.collector.address import ADDRESS_FILE, announced
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.stream.watchdog import COLLECTOR, SENSOR, SILENT_US, STREAM, Watchdog, beat_of_collector, is_silent

MINUTE = 60_000_000
NOW = 1_800_000_000_000_000


@pytest.mark.parametrize(
    ("last", "began", "silent"),
    [
        pytest.param(NOW - 1, NOW, False, id="it just gave a sign"),
        pytest.param(NOW - SILENT_US, 0, False, id="at the limit"),
        pytest.param(NOW - SILENT_US - 1, 0, True, id="past the limit"),
        pytest.param(None, 0, None, id="it was never there"),
        pytest.param(NOW - 600 * MINUTE, NOW - MINUTE, None, id="all was off over night; the watch has just begun"),
        pytest.param(NOW - 600 * MINUTE, NOW - SILENT_US - 1, True, id="and it did not come back"),
    ],
)
def test_when_a_part_is_silent(last, began, silent):
    assert is_silent(last, began, NOW) is silent


class Clock:
    def __init__(self) -> None:
        self.us = NOW

    def __call__(self) -> int:
        return self.us


@pytest.mark.parametrize("part", [SENSOR, COLLECTOR, STREAM])
def test_a_silent_part_is_reported_once_and_again_when_it_is_back(tmp_path, part):
    settings = settings_for(tmp_path, notify=SINK)
    clock = Clock()

    def texts() -> list[tuple[str, str]]:
        payloads = [json.loads(row.payload) for row in store.notifications()]
        return [(payload["event"], payload["text"]) for payload in payloads]

    with OpsStore.of(settings) as store:
        watchdog = Watchdog(store, settings, (part,), clock)
        store.beat(part, NOW)
        for _ in range(10):
            clock.us += MINUTE
            watchdog.look()
        ((event, text),) = texts()
        assert event == "silent" and "since 2027-01-15T08:00:00" in text and str(tmp_path) in text
        assert store.alarms() == {part: NOW}
        Watchdog(store, settings, (part,), clock).look()
        assert len(texts()) == 1, "a restart does not repeat it"
        store.beat(part, clock.us)
        watchdog.look()
        watchdog.look()
        assert [event for event, _ in texts()] == ["silent", "back"]
        assert store.alarms() == {}
        clock.us += 2 * SILENT_US
        watchdog.look()
        assert [event for event, _ in texts()] == ["silent", "back", "silent"], "a second silence is another message"


def test_the_collector_is_asked_at_its_own_address(tmp_path):
    settings = settings_for(tmp_path)
    status = 200

    class Live(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Live)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with OpsStore.of(settings) as store:
            beat_of_collector(store, settings)
            assert store.last_beat(COLLECTOR) is None, "there is none"
            with announced(tmp_path, f"http://127.0.0.1:{server.server_port}"):
                beat_of_collector(store, settings)
                first = store.last_beat(COLLECTOR)
                status = 503
                beat_of_collector(store, settings)
                assert first is not None and store.last_beat(COLLECTOR) == first, "it does not answer"
                (tmp_path / ADDRESS_FILE).write_text('{"url": "http://127.0.0.1:9", "pid": 4194304}')
                beat_of_collector(store, settings)
                assert store.last_beat(COLLECTOR) == first, "it was killed"
            (tmp_path / ADDRESS_FILE).unlink(missing_ok=True)
            beat_of_collector(store, settings)
            assert store.last_beat(COLLECTOR) is None, "it was ended on purpose"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
