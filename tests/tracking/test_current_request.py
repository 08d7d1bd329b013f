"""The request that is served, taken by middleware: in Starlette with its threads, in plain WSGI, and with what browsers send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gtm_dagster.tracking import AsgiRequests, GtmTracker, WsgiRequests
from gtm_dagster.tracking.current_request import CurrentRequest, current_request

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile"
BROWSER = {
    "host": "shop.example", "referer": "https://g.example/", "user-agent": AGENT, "accept-language": "de", "sec-gpc": "1",
    "cookie": 'consent=yes; visitor="v-1"', "traceparent": TRACE, "x-forwarded-for": "203.0.113.9",
}  # fmt: skip
EXPECTED = {
    "device_type": "mobile", "page_url": "https://shop.example/b%C3%A4r?utm_source=news", "referrer": "https://g.example/",
    "locale": "de", "user_agent": AGENT, "consent": {"analytics": True, "marketing": False, "personalization": False},
}  # fmt: skip


def agreed(cookies: Any) -> dict[str, bool]:
    return {"analytics": cookies.get("consent") == "yes"}


def starlette(tracker: GtmTracker, **options: Any) -> Starlette:
    def track(name: str) -> None:
        tracker.track("page_viewed", anonymous_id=name)

    async def in_the_loop(request: Request) -> PlainTextResponse:
        track("in the loop")
        return PlainTextResponse("ok", background=BackgroundTask(track, "after the answer"))

    def in_a_thread(request: Request) -> PlainTextResponse:
        track("in a thread")
        return PlainTextResponse("ok")

    routes = [Route("/bär", in_the_loop), Route("/thread", in_a_thread)]
    app = Starlette(routes=routes)
    app.add_middleware(AsgiRequests, **options)
    return app


async def ask(app: Any, path: str, headers: dict[str, str], query: bytes = b"") -> None:
    statuses = []
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "https", "path": path, "query_string": query,
        "raw_path": path.encode().replace("ä".encode(), b"%C3%A4"), "server": ("10.0.0.1", 8000),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    await app(scope, receive, send)
    assert statuses[0] == 200
    assert current_request() is None


def sent(recorder: Any, tracker: GtmTracker) -> dict[str, dict[str, Any]]:
    assert tracker.flush(30)
    return {event["anonymous_id"]: event["context"] for batch in recorder.batches() for event in batch.body}


def test_starlette(recorder, make) -> None:
    tracker = make()
    app = starlette(tracker, consent=agreed)
    asyncio.run(ask(app, "/bär", BROWSER, b"utm_source=news"))
    asyncio.run(ask(app, "/thread", {"host": "shop.example"}))
    tracker.track("signup_completed", user_id="u", anonymous_id="outside")
    contexts = sent(recorder, tracker)
    assert contexts["in the loop"] == contexts["after the answer"] == EXPECTED
    assert contexts["in a thread"] == {
        "device_type": "web", "page_url": "https://shop.example/thread", "consent": {"analytics": False}
    }  # fmt: skip
    assert contexts["outside"] == {"device_type": "api"}


def test_requests_at_the_same_time_keep_their_own_context(recorder, make) -> None:
    tracker = make()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.01)
        tracker.track("page_viewed", anonymous_id=scope["path"])
        await send({"type": "http.response.start", "status": 200})

    async def both() -> None:
        await asyncio.gather(*(ask(AsgiRequests(app), f"/{n}", {"host": f"{n}.example"}) for n in range(20)))

    asyncio.run(both())
    contexts = sent(recorder, tracker)
    assert {path: context["page_url"] for path, context in contexts.items()} == {
        f"/{n}": f"https://{n}.example/{n}" for n in range(20)
    }


def serve_wsgi(app: Any, headers: dict[str, str]) -> bytes:
    environ: dict[str, Any] = {
        "wsgi.url_scheme": "https", "PATH_INFO": "/bär".encode().decode("latin-1"), "QUERY_STRING": "utm_source=news",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }  # fmt: skip
    setup_testing_defaults(environ)
    body = app(environ, lambda *_: None)
    try:
        return b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()
        assert current_request() is None


def test_wsgi(recorder, make) -> None:
    tracker = make()

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            tracker.track("page_viewed", anonymous_id="in the body")
            yield b"part"

        def close(self) -> None:
            tracker.track("page_viewed", anonymous_id="at the end")

    def app(environ: Any, start_response: Any) -> Any:
        tracker.track("page_viewed", anonymous_id="in the call")
        return Body()

    assert serve_wsgi(WsgiRequests(app, agreed), BROWSER) == b"part"
    contexts = sent(recorder, tracker)
    assert contexts == dict.fromkeys(("in the call", "in the body", "at the end"), EXPECTED)


@pytest.mark.parametrize("body", [[b"a", b"b"], (b"a",)], ids=["list", "tuple"])
def test_a_body_that_is_whole_is_passed_on_as_it_is(body: Any) -> None:
    assert WsgiRequests(lambda *_: body)({}, lambda *_: None) is body


def test_a_file_is_passed_on_as_it_is(tmp_path) -> None:
    with (tmp_path / "f").open("wb+") as file:
        wrapped = FileWrapper(file)
        assert WsgiRequests(lambda *_: wrapped)({"wsgi.file_wrapper": FileWrapper}, lambda *_: None) is wrapped


def test_what_a_call_says_wins_over_the_request_and_that_over_the_tracker(recorder, make) -> None:
    tracker = make(consent={"analytics": True, "marketing": True})

    def app(environ: Any, start_response: Any) -> Any:
        own = {"page_url": "https://own.example/", "device_type": "web", "consent": {"analytics": False}}
        tracker.track("page_viewed", anonymous_id="own", context=own)
        tracker.track("page_viewed", anonymous_id="without")
        return []

    serve_wsgi(WsgiRequests(app), BROWSER)
    contexts = sent(recorder, tracker)
    refused = {"marketing": False, "personalization": False}
    assert contexts["without"]["consent"] == {"analytics": True, **refused}
    assert contexts["own"]["consent"] == {"analytics": False, **refused}
    assert (contexts["own"]["page_url"], contexts["own"]["device_type"]) == ("https://own.example/", "web")


def test_the_page_of_a_request_that_a_script_made_is_the_page_it_runs_on(recorder, make) -> None:
    tracker = make()
    asyncio.run(ask(starlette(tracker), "/thread", {**BROWSER, "sec-fetch-dest": "empty"}))
    (context,) = sent(recorder, tracker).values()
    assert context["page_url"] == "https://g.example/" and "referrer" not in context


def test_each_event_says_its_trace_also_out_of_the_spool(recorder, make, tmp_path: Path) -> None:
    other = TRACE.replace("-4", "-5")
    sent = [TRACE, other, None, "00-nonsense"]
    away = make(endpoint="http://127.0.0.1:9", retries=0, spool=tmp_path / "spool.jsonl")
    for trace in sent:
        headers = {"host": "a.example"} | ({} if trace is None else {"traceparent": trace})
        asyncio.run(ask(starlette(away), "/thread", headers))
    away.close(0)
    tracker = make(spool=tmp_path / "spool.jsonl")
    assert tracker.flush(30)
    (batch,) = recorder.batches()
    assert [event.get("traceparent") for event in batch.body] == [TRACE, other, None, None]
    assert "traceparent" not in batch.headers


@pytest.mark.parametrize(
    "headers",
    [
        [("cookie", 'g_state={"i_l":0}; a b; x=1 2; consent=yes')],
        [("cookie", "consent=yes"), ("cookie", 'g_state={"i_l":0}')],
        [("cookie", 'x="a\\"b"; consent="y\\145s"')],
    ],
    ids=["beside cookies that are none", "in a header of its own", "quoted"],
)
def test_the_consent_of_a_cookie_is_found_whatever_the_others_are(headers: list[tuple[str, str]]) -> None:
    """One cookie of another script lost them all, and so a refusal too."""
    assert CurrentRequest(lambda: "https://a.example/", headers, agreed).context["consent"] == {"analytics": True}


@pytest.mark.parametrize(
    "headers",
    [
        {"cookie": "a=1; ;;=;b\x01=2", "user-agent": "\x00" * 9},
        {"cookie": "consent=yes", "referer": "x" * 90_000},
        {},
    ],
    ids=["damaged", "long", "none at all"],
)
def test_whatever_a_browser_sends_the_event_is_taken(recorder, make, headers: dict[str, str]) -> None:
    tracker = make()
    asyncio.run(ask(starlette(tracker, consent=agreed), "/thread", headers))
    assert tracker.flush(30)
    assert tracker.stats().accepted == 1
