"""What reaches the web UI: its own pages and programs; not what another site sends through a browser."""

import asyncio
from typing import Any

import pytest

from gtm_dagster.orchestration.own_requests import OwnRequests, refusal

NAMES = frozenset({"gtm.example"})
UI = {"host": "127.0.0.1:3000"}
OWN = {**UI, "origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-origin"}


def refused(method: str, path: str, headers: dict[str, str], names: frozenset[str] = NAMES) -> str | None:
    return refusal(method, path, [(name.encode(), value.encode()) for name, value in headers.items()], names)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        pytest.param("GET", "/runs", {**UI, "sec-fetch-site": "none"}, id="an address that was typed"),
        pytest.param("POST", "/graphql", OWN, id="a page of the UI"),
        pytest.param("POST", "/graphql", UI, id="a program"),
        pytest.param("GET", "/server_info", {"host": "localhost:3000"}, id="localhost"),
        pytest.param("GET", "/", {"host": "LOCALHOST"}, id="in capitals, without a port"),
        pytest.param("GET", "/", {"host": "[::1]:3000"}, id="IPv6"),
        pytest.param("GET", "/graphql", {**UI, "accept": "text/html,*/*"}, id="the page for trying queries"),
        pytest.param("GET", "/graphql", {**OWN, "upgrade": "websocket"}, id="a subscription"),
        pytest.param("POST", "/graphql", {"host": "gtm.example", "origin": "https://gtm.example"}, id="a given name"),
        pytest.param("POST", "/graphql", {**UI, "origin": "https://gtm.example"}, id="a proxy that keeps no Host"),
        pytest.param("GET", "/", {"host": "gtm.example.:443"}, id="a given name with its dot"),
    ],
)
def test_own_pages_and_programs_come_in(method, path, headers):
    assert refused(method, path, headers) is None


@pytest.mark.parametrize(
    ("method", "path", "headers", "reason"),
    [
        pytest.param("POST", "/graphql", {**UI, "origin": "https://evil.example"}, "page of another site", id="a page"),
        pytest.param("POST", "/graphql", {**UI, "origin": "null"}, "page of another site", id="a page in a sandbox"),
        pytest.param("POST", "/graphql", {**UI, "origin": "http://127.0.0.1:8080"}, "another site", id="another port"),
        pytest.param("POST", "/graphql", {**UI, "origin": "http://localhost:3000"}, "another site", id="another name"),
        pytest.param("POST", "/graphql", {**UI, "origin": "file:///x.html"}, "another site", id="a file"),
        pytest.param("GET", "/graphql", {**UI, "sec-fetch-site": "cross-site"}, "another site", id="a picture"),
        pytest.param("GET", "/runs", {**UI, "sec-fetch-site": "cross-site"}, "address bar", id="a link"),
        pytest.param("GET", "/", {**UI, "sec-fetch-site": "same-site"}, "another site", id="a server at another port"),
        pytest.param("GET", "/graphql", UI, "by POST", id="a picture in a browser that does not say whence"),
        pytest.param("GET", "/x/graphql/", UI, "by POST", id="the same below a prefix"),
        pytest.param("GET", "/", {"host": "rebind.evil.example:3000"}, "does not lead", id="a name that points here"),
        pytest.param(
            "GET", "/", {"host": "localhost.evil.example"}, "does not lead", id="a name that begins like ours"
        ),
        pytest.param("GET", "/", {"host": "127.0.0.1@evil.example"}, "does not lead", id="a user in the name"),
        pytest.param("GET", "/", {"host": "127.0.0.1:3000/x"}, "does not lead", id="a path in the name"),
        pytest.param("GET", "/", {"host": "127.0.0.1:x"}, "does not lead", id="no port"),
        pytest.param("GET", "/", {"host": "192.168.0.2:3000"}, "does not lead", id="an address it does not listen on"),
        pytest.param("GET", "/", {"host": ""}, "does not lead", id="an empty name"),
        pytest.param("GET", "/", {}, "does not lead", id="no name"),
    ],
)
def test_other_sites_do_not(method, path, headers, reason):
    assert reason in (refused(method, path, headers) or "")


def test_two_names_are_none():
    assert refusal("GET", "/", [(b"host", b"localhost"), (b"Host", b"evil.example")])


@pytest.mark.parametrize(
    ("host", "comes_in"),
    [("192.168.0.2:3000", True), ("[fe80::1]:3000", True), ("rebind.evil.example", False), ("localhost", True)],
)
def test_listening_everywhere_lets_addresses_in_and_no_names(host, comes_in):
    assert (refused("GET", "/", {"host": host}, frozenset({"0.0.0.0"})) is None) is comes_in


def answers(kind: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    """What a client gets of an app that answers everything."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "path": "/graphql", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    asyncio.run(OwnRequests(app, [])({**scope, **({"method": "POST"} if kind == "http" else {})}, None, send))  # type: ignore[arg-type]
    return sent


def test_a_refusal_is_403_and_closes_a_subscription_before_it_begins():
    foreign = {**UI, "origin": "https://evil.example"}
    assert answers("http", foreign)[0]["status"] == 403
    assert answers("websocket", foreign)[0]["type"] == "websocket.close"


def test_pages_cannot_stand_in_a_frame_of_another_site():
    (start,) = answers("http", OWN)
    assert (start["status"], dict(start["headers"])[b"x-frame-options"]) == (200, b"DENY")
