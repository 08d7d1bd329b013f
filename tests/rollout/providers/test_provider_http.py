"""Timeouts and retries with their real lengths: no call of a provider may hold a rollback up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from lateness import Lateness
from loopback import HUNG, Answer, serve

from gtm_dagster.rollout.providers import ProviderError
from gtm_dagster.rollout.providers.base import api as provider_api
from gtm_dagster.rollout.providers.base import exchange
from gtm_dagster.rollout.providers.base.api import Api, retry_after


def api(url: str) -> Api:
    return Api("provider main", url, headers={"Authorization": "t"}, secrets=("t0ken",), wanted="a token")


def test_a_hung_provider_costs_five_seconds_at_most() -> None:
    with serve({("POST", "/off"): HUNG}) as server:
        began = time.monotonic()
        with pytest.raises(ProviderError, match="no answer within") as caught:
            api(server.url).send("POST", "/off", what="flag f")
        took = time.monotonic() - began
        assert caught.value.retry and 4 < took < 5.5
        assert len(server.asked) == 3


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that sends one byte of a header every 50 ms, which passes any timeout of a socket."""
    ended = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not ended.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                pass

    def listen() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    ended.set()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def test_a_dripping_provider_is_cut_off_too(dripping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_api, "ATTEMPT_SECONDS", 0.2)
    monkeypatch.setattr(provider_api, "PAUSES", (0.01, 0.01))
    slow = api(dripping)
    began = time.monotonic()
    for _ in range(4):
        with pytest.raises(ProviderError, match="no answer within"):
            slow.send("POST", "/off", what="flag f")
    assert time.monotonic() - began < 8
    assert slow._exchanges.abandoned == exchange.MAX_ABANDONED, "attempts that hang are bounded"


def test_retry_after_is_waited_for_within_the_budget() -> None:
    with serve({("POST", "/off"): Answer(200)}) as server:
        server.once["POST", "/off"] = [Answer(429, None, {"Retry-After": "1"})]
        began = time.monotonic()
        with Lateness() as late:
            api(server.url).send("POST", "/off", what="flag f")
        assert 1 <= time.monotonic() - began < 2 + late.lost
        assert len(server.asked) == 2


def test_retry_after_beyond_the_budget_is_handed_on() -> None:
    with serve({("POST", "/off"): Answer(429, None, {"Retry-After": "30"})}) as server:
        with pytest.raises(ProviderError) as caught:
            api(server.url).send("POST", "/off", what="flag f")
        assert caught.value.retry and caught.value.retry_after == 30
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("3", 3, 3),
        ("0.5", 0.5, 0.5),
        ("-4", 0, 0),
    ],
    ids=["seconds", "a fraction", "negative: now"],
)
def test_retry_after_in_seconds(header: str, low: float, high: float) -> None:
    seconds = retry_after(header)
    assert seconds is not None and low <= seconds <= high


@pytest.mark.parametrize(
    ("ahead", "low", "high"), [(100, 50, 100), (-100, 0, 0)], ids=["to come", "that has passed: now"]
)
def test_retry_after_as_a_date(ahead: float, low: float, high: float) -> None:
    seconds = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True))
    assert seconds is not None and low <= seconds <= high


@pytest.mark.parametrize("header", [None, "", "soon", "nan", "inf"])
def test_a_retry_after_that_says_nothing(header: str | None) -> None:
    assert retry_after(header) is None


@pytest.mark.parametrize("url", ["", "flags.example.com", "ftp://flags", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ProviderError, match="is not an address"):
        api(url)


def test_a_secret_in_an_answer_is_not_repeated() -> None:
    with serve({("POST", "/off"): Answer(400, b"your token t0ken is odd")}) as server:
        with pytest.raises(ProviderError, match=r"your token \*\*\* is odd") as caught:
            api(server.url).send("POST", "/off", what="flag f")
    assert "t0ken" not in repr(caught.value)


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_ANSWER_BYTES", 1_000)
    monkeypatch.setattr(provider_api, "PAUSES", ())
    with serve({("GET", "/flag"): Answer(200, b"x" * 200_000)}) as server:
        with pytest.raises(ProviderError, match="no answer within"):
            api(server.url).ask("GET", "/flag", object, what="flag f")
