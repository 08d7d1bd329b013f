"""A receiver, whatever it does, costs a bounded time and a bounded memory, and hears nothing it is not allowed to hear."""

from __future__ import annotations

import threading
import time
from ipaddress import ip_network
from pathlib import Path

import pytest
from hostile_servers import Receiver, answering, dripping, flooding, hanging, own_certificate

from gtm_dagster.delivery import http_exchange
from gtm_dagster.delivery.http_exchange import Answer, Route, exchange
from gtm_dagster.delivery.retry_schedule import retry_after

LOOPBACK = (ip_network("127.0.0.0/8"),)


def post(url: str, route: Route) -> Answer:
    return exchange(url, "POST", b'{"a":1}', {"webhook-id": "m1"}, route)


# Scenario T23: addresses that lead into one's own network


WAYS = {
    "http://127.0.0.1:{p}/": "127.0.0.1",
    "http://localhost:{p}/": "127.0.0.1",
    "http://2130706433:{p}/": "127.0.0.1",
    "http://0x7f000001:{p}/": "127.0.0.1",
    "http://0177.0.0.1:{p}/": "127.0.0.1",
    "http://127.1:{p}/": "127.0.0.1",
}
NEVER = {
    "http://[::1]:{p}/": "::1",
    "http://[::ffff:7f00:1]:{p}/": "::ffff:127.0.0.1",
    "http://169.254.169.254/latest/": "169.254.169.254",
    "http://[64:ff9b::a9fe:a9fe]/": "64:ff9b::a9fe:a9fe",
    "http://[2002:7f00:1::]/": "2002:7f00:1::",
    "http://100.64.0.1/": "100.64.0.1",
    "http://0.0.0.0:{p}/": "0.0.0.0",
    "file:///etc/passwd": None,
    "http://u:p@8.8.8.8": None,
}


@pytest.mark.parametrize(("way", "address"), [*WAYS.items(), *NEVER.items()])
def test_scenario_23_what_is_not_allowed_is_refused_before_a_packet(way: str, address: str | None) -> None:
    with Receiver(answering(200)) as receiver:
        answer = post(way.format(p=receiver.port), Route())
        assert answer.outcome == "refused" and answer.status is None
        assert receiver.connections == 0
    if address:
        assert address in _as_mapped(answer.error or "") and "setting allow" in (answer.error or "")


def _as_mapped(text: str) -> str:
    return text.replace("::ffff:7f00:1", "::ffff:127.0.0.1")


@pytest.mark.parametrize("way", WAYS)
def test_scenario_23_an_allowed_network_is_reached_in_every_form(way: str) -> None:
    with Receiver(answering(200)) as receiver:
        assert post(way.format(p=receiver.port), Route(allow=LOOPBACK)).outcome == "delivered"
        assert [body for _, _, body in receiver.requests] == [b'{"a":1}']


@pytest.mark.parametrize("way", NEVER)
def test_scenario_23_what_the_network_does_not_cover_stays_refused(way: str) -> None:
    with Receiver(answering(200)) as receiver:
        assert post(way.format(p=receiver.port), Route(allow=LOOPBACK)).outcome == "refused"
        assert receiver.connections == 0


def test_a_name_that_moves_between_attempts_is_refused_at_the_second() -> None:
    """The connection goes to the address that was checked, so there is no third look-up for it to move before."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    with Receiver(answering(200)) as receiver:
        route = Route(allow=LOOPBACK, resolver=lambda host, port: next(answers))
        url = f"http://moving.example:{receiver.port}/hook"
        assert post(url, route).outcome == "delivered"
        refused = post(url, route)
        assert refused.outcome == "refused" and "169.254.169.254" in (refused.error or "")
        assert receiver.requests[0][1]["host"] == f"moving.example:{receiver.port}"
        assert receiver.connections == 1


def test_proxies_of_the_environment_do_not_lead_past_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver(answering(200)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("https_proxy", proxy.url)
        assert post("http://127.0.0.1:1234/", Route(allow=LOOPBACK, proxies=True)).outcome == "failed"
        assert proxy.connections == 0


def test_an_own_address_is_reached_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver(answering(200)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://user:word@"))
        answer = post("http://sink.example/hook?x=1", Route(allow=None, proxies=True))
        assert answer.outcome == "delivered"
        ((path, headers, _),) = proxy.requests
        assert (path, headers["host"]) == ("http://sink.example/hook?x=1", "sink.example")
        assert headers["proxy-authorization"].startswith("Basic ")


# Hostile receivers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_metadata_address_is_a_failure_and_nothing_more(status: int) -> None:
    with Receiver(answering(status, Location="http://169.254.169.254/latest/meta-data/")) as receiver:
        answer = post(receiver.url, Route(allow=LOOPBACK))
        assert (answer.outcome, answer.status, answer.error) == ("failed", status, f"answered {status}")
        assert len(receiver.requests) == 1


@pytest.mark.parametrize("act", [dripping, hanging])
def test_one_that_drips_or_hangs_is_left_at_the_deadline(act) -> None:
    stop = threading.Event()
    with Receiver(act(stop)) as receiver:
        began = time.monotonic()
        answer = post(receiver.url, Route(allow=LOOPBACK, seconds=0.4))
        assert answer.outcome == "unknown" and "TimeoutError" in (answer.error or "")
        assert time.monotonic() - began < 3
        stop.set()


def test_a_body_that_drips_delays_nobody_once_its_status_is_there() -> None:
    stop = threading.Event()

    def drip(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not stop.wait(0.02):
            handler.wfile.write(b"x")

    with Receiver(drip) as receiver:
        began = time.monotonic()
        assert post(receiver.url, Route(allow=LOOPBACK, seconds=20)).outcome == "delivered"
        assert time.monotonic() - began < 10
        stop.set()


def test_a_body_of_a_gigabyte_is_not_taken_in() -> None:
    with Receiver(flooding(1_000_000_000)) as receiver:
        answer = post(receiver.url, Route(allow=LOOPBACK, seconds=10))
        assert (answer.outcome, len(answer.body)) == ("delivered", http_exchange.ANSWER_BYTES)


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"nonsense\r\n\r\n", "unknown"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n", "unknown"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", "unknown"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", "delivered"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "delivered"),
        (b"", "unknown"),
    ],
    ids=["no HTTP", "500 headers", "a long header", "a body cut off", "damaged chunks", "closed at once"],
)
def test_a_damaged_answer_is_unknown_and_a_damaged_body_does_not_matter(raw: bytes, outcome: str) -> None:
    with Receiver(lambda handler: handler.wfile.write(raw) and None) as receiver:
        assert post(receiver.url, Route(allow=LOOPBACK, seconds=5)).outcome == outcome


def test_tls_names_the_host_and_a_wrong_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with own_certificate(tmp_path, "good.example") as (context, certificate):
        with Receiver(answering(200), tls=context) as receiver:
            route = Route(allow=LOOPBACK, seconds=5, resolver=lambda host, port: ["127.0.0.1"])
            url = f"https://good.example:{receiver.port}/hook"
            unknown_issuer = post(url, route)
            assert unknown_issuer.outcome == "failed" and "certificate is not accepted" in (unknown_issuer.error or "")
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
            http_exchange.tls_context.cache_clear()
            try:
                assert post(url, route).outcome == "delivered"
                other = post(f"https://other.example:{receiver.port}/hook", route)
                assert other.outcome == "failed" and "certificate is not accepted" in (other.error or "")
            finally:
                monkeypatch.undo()
                http_exchange.tls_context.cache_clear()
            assert len(receiver.requests) == 1


def test_an_address_nobody_listens_on_is_a_failure_that_names_no_path() -> None:
    answer = post("http://127.0.0.1:1234/geheim?token=geheim", Route(allow=LOOPBACK))
    assert (answer.outcome, answer.error) == ("failed", "not reached (ConnectionError)")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7), ("0", 0), (" 120 ", 120), ("99999999999999", 86_400), ("-5", None), ("7.5", None), ("soon", None), (None, None),
        ("Sun, 29 Nov 2026 12:00:30 GMT", 30), ("Sun, 29 Nov 2026 11:00:00 GMT", 0), ("٣", None),
        ("Sun Nov 29 12:00:30 2026", 30), ("00000000030", 30),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(
    text: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the machine is: a date without a zone was read in its own."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert retry_after(text, 1_795_953_600.0) == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("status", "throttled"), [(429, True), (503, True), (502, True), (504, True), (500, False)])
def test_a_busy_receiver_says_how_long(status: int, throttled: bool) -> None:
    with Receiver(answering(status, Retry_After="7")) as receiver:
        answer = post(receiver.url, Route(allow=LOOPBACK))
    assert (answer.outcome, answer.throttled, answer.wait_seconds) == ("failed", throttled, 7.0)
