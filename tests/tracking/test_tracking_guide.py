"""docs/tracking.md runs as written: shell, fetch and Python against a real collector, web frameworks against stand-ins."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import requests
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from gtm_dagster import cli
from gtm_dagster.demo.live import collector
from gtm_dagster.settings import Settings

GUIDE = (Path(__file__).parents[2] / "docs" / "tracking.md").read_text()


def blocks() -> dict[tuple[str, str], str]:
    """The code blocks of the guide by the heading above them and their language."""
    found: dict[tuple[str, str], str] = {}
    heading, language = "", ""
    for line in GUIDE.splitlines():
        if line.startswith("```"):
            language = "" if language else line[3:] or "text"
        elif language:
            found[heading, language] = found.get((heading, language), "") + line + "\n"
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found


BLOCKS = blocks()
PHONE = {"user-agent": "Mozilla/5.0 (iPhone)", "accept-language": "de-AT,de;q=0.9", "sec-gpc": "1"}


def snippet(heading: str, language: str, url: str) -> str:
    """The code of a language under a heading, with the collector at `url`."""
    return BLOCKS[heading, language].replace("http://127.0.0.1:8377", url)


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guide") / "state"


@pytest.fixture(scope="module")
def edge(state_dir: Path) -> Iterator[str]:
    """The address of a collector with the default settings."""
    settings = Settings(state_dir=state_dir)
    (settings.state_dir / "demo").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GTM_PRIVACY__CONSENT", raising=False)
        with collector(settings, nullcontext()) as url:
            yield url


def run(command: list[str], text: str) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_curl(edge: str) -> None:
    answer = json.loads(run(["sh"], snippet("curl", "sh", edge)))
    assert (answer["accepted"], answer["quarantined"], answer["suppressed"]) == (1, 0, 0)
    assert set(answer) == set(json.loads(BLOCKS["What comes back", "json"]))


def test_the_check_of_a_script(edge: str) -> None:
    script = snippet("What comes back", "sh", edge)
    assert run(["sh"], script) == ""
    refused = subprocess.run(
        ["sh"], input=script.replace("demo_requested", "order"), capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "unknown_event" in refused.stderr) == (1, True)


def test_what_became_of_an_event(state_dir: Path, edge: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = {"event_id": "order-1", "event_name": "demo_requested", "user_id": "u-43"}
    key = {"X-Write-Key": "dev"}
    assert requests.post(f"{edge}/ingest", json=sent, headers=key, timeout=10).json()["accepted"] == 1
    curl, command = snippet("What became of an event", "sh", edge).splitlines()
    assert json.loads(run(["sh"], curl))["verdict"] == "accepted"
    monkeypatch.setenv("GTM_STATE_DIR", str(state_dir))
    assert cli.run(command.split()[1:]) == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not here")
def test_fetch(edge: str) -> None:
    assert run(["node", "--input-type=module"], snippet("fetch", "js", edge)) == ""


def test_python(edge: str) -> None:
    environment = {"__name__": "shop"}
    exec(snippet("Python", "python", edge), environment)
    stats = environment["tracker"].stats()  # type: ignore[attr-defined]
    assert (stats.sent, stats.accepted) == (1, 1)


def install(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


class Cookies:
    """A response that keeps what is set on it."""

    def __init__(self, status_code: int = 200) -> None:
        self.status_code, self.cookies = status_code, dict[str, str]()

    def set_cookie(self, name: str, value: str, **_: Any) -> None:
        self.cookies[name] = value


class Flask:
    """What the guide's snippet uses of Flask."""

    def __init__(self, _: str) -> None:
        self.before, self.after, self.views = [], [], {}

    def before_request(self, function: Any) -> Any:
        self.before.append(function)
        return function

    def after_request(self, function: Any) -> Any:
        self.after.append(function)
        return function

    def get(self, path: str) -> Any:
        return lambda function: self.views.setdefault(path, function)

    post = get

    def serve(self, path: str) -> dict[str, str]:
        """The cookies that a request to `path` sets."""
        for function in self.before:
            function()
        self.views[path]()
        response = Cookies()
        for function in self.after:
            response = function(response)
        return response.cookies


def sent(recorder: Any, tracker: Any) -> list[dict[str, Any]]:
    tracker.close()
    return [event for batch in recorder.batches() for event in batch.body]


def test_flask(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    request = SimpleNamespace(
        url="https://shop.example/?gclid=x", referrer="https://g.example/", headers=PHONE, cookies={"consent": "yes"}
    )
    install(monkeypatch, "flask", Flask=Flask, g=SimpleNamespace(), request=request)
    shop: dict[str, Any] = {"__name__": "shop"}
    exec(snippet("Flask", "python", recorder.url), shop)
    first = shop["app"].serve("/")
    request.cookies |= first
    assert shop["app"].serve("/signup") == first
    after = shop["app"].serve("/logout")
    assert set(after) == {"visitor"} and after != first, "somebody else from here on"
    request.cookies = {}
    assert shop["app"].serve("/") == {}, "no cookie without consent"
    seen, joined, refused = sent(recorder, shop["tracker"])
    assert seen["context"] == {
        "device_type": "mobile", "page_url": "https://shop.example/?gclid=x", "referrer": "https://g.example/",
        "locale": "de-AT", "consent": {"analytics": True, "marketing": False, "personalization": False},
    }  # fmt: skip
    assert (joined["user_id"], joined["anonymous_id"]) == ("u-42", seen["anonymous_id"])
    assert refused["context"]["consent"]["analytics"] is False


class FastAPI(Starlette):
    """What the guide's snippet uses of FastAPI, over the Starlette that FastAPI is made of."""

    def middleware(self, _: str) -> Any:
        def add(function: Any) -> Any:
            self.add_middleware(BaseHTTPMiddleware, dispatch=function)
            return function

        return add

    def get(self, path: str) -> Any:
        def add(function: Any) -> Any:
            async def endpoint(request: Request) -> JSONResponse:
                return JSONResponse(await function(request))

            self.router.routes.append(Route(path, endpoint))
            return function

        return add


async def asked(app: Any, query: bytes, headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """The headers of the answer to GET /, within the application's lifespan."""
    answered: list[tuple[bytes, bytes]] = []
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "https", "path": "/", "query_string": query,
        "server": ("shop.example", 443), "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answered.extend(message.get("headers", ()))

    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
    return answered


def test_fastapi(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, "fastapi", FastAPI=FastAPI, Request=Request)
    shop: dict[str, Any] = {"__name__": "shop"}
    exec(snippet("FastAPI", "python", recorder.url), shop)
    headers = {**PHONE, "host": "shop.example", "referer": "https://g.example/", "cookie": "consent=yes; visitor=v-1"}
    answered = asyncio.run(asked(shop["app"], b"utm_source=x", headers))
    assert any(value.startswith(b"visitor=v-1;") for name, value in answered if name == b"set-cookie")
    (event,) = sent(recorder, shop["app"].state.tracker)
    assert event["anonymous_id"] == "v-1"
    assert event["context"] == {
        "device_type": "mobile", "page_url": "https://shop.example/?utm_source=x", "referrer": "https://g.example/",
        "locale": "de-AT", "consent": {"analytics": True, "marketing": False, "personalization": False},
    }  # fmt: skip


def test_django(recorder: Any) -> None:
    shop: dict[str, Any] = {"__name__": "shop"}
    exec(snippet("Django", "python", recorder.url), shop)

    def get(status: int = 200, **user: Any) -> dict[str, str]:
        request = SimpleNamespace(
            method="GET", COOKIES={"consent": "yes", "visitor": "v-1"}, headers={**PHONE, "referer": "https://g.example/"},
            build_absolute_uri=lambda: "https://shop.example/", **user,
        )  # fmt: skip
        return shop["PageViews"](lambda _: Cookies(status))(request).cookies

    assert get(user=SimpleNamespace(is_authenticated=True, pk=7)) == {"visitor": "v-1"}
    get(user=SimpleNamespace(is_authenticated=False, pk=None))
    get()
    get(status=404)
    signed_in, signed_out, without_users = sent(recorder, shop["tracker"])
    assert (signed_in["user_id"], signed_in["anonymous_id"]) == ("7", "v-1")
    assert "user_id" not in signed_out and "user_id" not in without_users
    assert signed_in["context"]["referrer"] == "https://g.example/"


def test_celery(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Signal:
        def __init__(self) -> None:
            self.receivers: list[Any] = []

        def connect(self, function: Any, **_: Any) -> Any:
            self.receivers.append(function)
            return function

        def send(self, **arguments: Any) -> None:
            for receiver in self.receivers:
                receiver(**arguments)

    class Celery:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def task(self, *, bind: bool) -> Any:
            return lambda function: function

    started, ended = Signal(), Signal()
    install(monkeypatch, "celery", Celery=Celery)
    install(monkeypatch, "celery.signals", worker_process_init=started, worker_process_shutdown=ended)
    shop: dict[str, Any] = {"__name__": "shop"}
    exec(snippet("Celery", "python", recorder.url), shop)
    started.send(sender=None)
    shop["report_payment"](SimpleNamespace(request=SimpleNamespace(id="t1")), "u-1", 5.0, "EUR")
    ended.send(sender=None)
    (event,) = recorder.batches()[0].body
    assert (event["event_id"], event["context"]) == ("payment-t1", {"device_type": "api"})


def test_every_block_is_run() -> None:
    counts = {language: GUIDE.count(f"```{language}\n") for language in ("sh", "js", "python", "json")}
    assert counts == {
        language: sum(1 for _, other in BLOCKS if other == language) for language in counts
    } == {"sh": 3, "js": 1, "python": 5, "json": 1}  # fmt: skip
