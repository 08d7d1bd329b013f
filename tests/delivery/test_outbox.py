"""Messages reach their sinks: a sink that is down delays them, none is lost, and no reason names an address."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from acting_cases import GUARD, armed, broken, settings_for

from gtm_dagster.delivery import deliver_due, not_delivered, undelivered_line
from gtm_dagster.delivery.outbox import wait_us
from gtm_dagster.delivery.sinks import kinds, sink
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.control.acting import claim, turn_off, verify
from gtm_dagster.rollout.control.messages import Message, enqueue
from gtm_dagster.rollout.guard.decide import episode_id
from gtm_dagster.settings import Notify

EPISODE = episode_id(GUARD.key, 1)
NOWHERE = "http://127.0.0.1:9/x"


class SinkServer:
    """An HTTP sink on loopback that answers `status` and keeps what it was sent."""

    def __enter__(self) -> SinkServer:
        self.status, self.bodies, self.headers = 500, [], []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.headers.append(dict(self.headers))
                server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(server.status)
                self.send_header("Location", server.url)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/secret"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def store(tmp_path):
    with OpsStore.of(settings_for(tmp_path)) as opened:
        yield opened


def rolled_back(settings, store) -> int:
    """A whole rollback, so that the outbox has its message; the time after it."""
    context, watermark = armed(settings, store, broken())
    for step in (
        lambda: claim(context, EPISODE, 1, watermark, "run-1"),
        lambda: turn_off(context, EPISODE),
        lambda: verify(context, EPISODE, "run-1"),
    ):
        outcome = step().outcome
    assert outcome == "rolled_back"
    return context.now_us()


# Scenario 32: the sink is down


@pytest.mark.parametrize("kind", ["webhook", "slack"])
def test_scenario_32_the_outbox_retries_until_the_sink_takes_it(tmp_path, store, kind):
    with SinkServer() as server:
        settings = settings_for(tmp_path, notify=(Notify(kind, url_env="HOOK"),))
        now, environ = rolled_back(settings, store), {"HOOK": server.url}
        assert [each.error for each in deliver_due(store, settings, now, environ)] == ["answered 500"]
        assert deliver_due(store, settings, now + 4_000_000, environ) == []
        late = undelivered_line(not_delivered(store))
        assert late == f"not delivered: 1 message(s), {kind}[0] answered 500 after 1 attempt(s)"
        server.status = 200
        assert [each.error for each in deliver_due(store, settings, now + 6_000_000, environ)] == [None]
        assert deliver_due(store, settings, now + 10**12, environ) == []
        assert undelivered_line(not_delivered(store)) == ""
    text = server.bodies[-1]["text"]
    assert EPISODE in json.dumps(server.bodies[-1]) and server.headers[-1]["webhook-id"] in json.dumps(
        server.bodies[-1]
    )
    assert "checkout-v2 in production was rolled back" in text and "lost 9" in text and "95 %" in text
    assert set(server.bodies[-1]) == (
        {"text"} if kind == "slack" else {"id", "episode", "event", "guard", "text", "figures"}
    )


@pytest.mark.parametrize(
    ("declared", "environ", "error"),
    [
        (Notify("slack", url=NOWHERE), {}, "not reached (ConnectionError)"),
        (Notify("slack", url_env="HOOK"), {}, "no address: set HOOK"),
        (Notify("slack"), {}, "no address: give url or url_env under [[notify]]"),
    ],
    ids=["nobody listens", "the variable is not set", "no address at all"],
)
def test_scenario_32_the_reason_a_message_was_not_delivered_names_no_address(tmp_path, store, declared, environ, error):
    settings = settings_for(tmp_path, notify=(declared,))
    waits = []
    now = rolled_back(settings, store)
    for _ in range(10):
        (delivery,) = deliver_due(store, settings, now, environ)
        assert delivery.error == error
        (note,) = store.notifications()
        waits.append((note.next_us - now) / 1e6)
        now = note.next_us
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]


def put(store, settings, episode: str = "e1") -> None:
    enqueue(store, settings, episode, "blind", Message("blind", GUARD.key, "the guard is BLIND", {}), 0)


def test_a_redirect_is_no_delivery(tmp_path, store):
    with SinkServer() as server:
        server.status = 302
        settings = settings_for(tmp_path, notify=(Notify(url=server.url),))
        put(store, settings)
        assert [each.error for each in deliver_due(store, settings, 0, {})] == ["answered 302"]
        assert len(server.bodies) == 1


def test_a_sink_that_is_no_longer_declared_is_named(tmp_path, store):
    put(store, settings_for(tmp_path, notify=(Notify(url=NOWHERE), Notify("slack", url=NOWHERE))))
    settings = settings_for(tmp_path, notify=(Notify(url=NOWHERE),))
    errors = {each.sink: each.error for each in deliver_due(store, settings, 0, {})}
    assert errors["slack[1]"] == "slack[1] is no longer declared in gtm.toml"


def test_a_run_delivers_its_own_episode_alone(tmp_path, store):
    settings = settings_for(tmp_path, notify=(Notify(url=NOWHERE),))
    put(store, settings, "e1")
    put(store, settings, "e2")
    assert [each.id for each in deliver_due(store, settings, 0, {}, only="e2")] == ["e2:blind:webhook[0]"]


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 5), (1, 10), (6, 320), (7, 600), (10_000, 600)])
def test_the_wait_doubles_up_to_ten_minutes(attempts: int, seconds: int) -> None:
    assert wait_us(attempts) == seconds * 1_000_000


@pytest.mark.parametrize("kind", kinds())
def test_every_file_declares_the_sink_of_its_name(kind: str) -> None:
    assert sink(kind).kind == kind


@pytest.mark.parametrize("kind", ["pager", "__init__", ""])
def test_an_unknown_kind_is_refused_with_those_there_are(kind: str) -> None:
    with pytest.raises(ValueError, match="is not a kind of sink; choose one of slack, webhook"):
        sink(kind)
