"""Real clients of pages, unmodified, in Chromium, on a page of another origin than the collector's."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from captured_requests import counted
from installed_clients import INSTALLED, PROGRAMS, require_clients
from running_collector import Running, running_collector

pytestmark = pytest.mark.real

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP *.example 127.0.0.1",
    "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36",
]
CALLS = {"page_viewed": 1, "user_identified": 1, "trial_started": 1}
TRACKED = {"page_viewed": 1, "trial_started": 1}
CLIENTS = [
    # client, the function of its program, what is stored besides one refused event, whether the visitor has a user's id
    ("segment", "send", CALLS, True),
    ("rudder", "send", CALLS, True),
    ("posthog", "send", CALLS, True),
    ("jitsu", "send", CALLS, True),
    ("snowplow", "send", TRACKED, True),
    ("snowplow", "sendByPixel", TRACKED, True),
    ("snowplow", "sendAnonymously", TRACKED, False),
]
PAGE = b'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>Pricing</title>'


class World(NamedTuple):
    """A collector, a browser, and the address of a page without a script."""

    collector: Running
    browser: Any
    page_url: str


class _Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    require_clients()
    if CHROMIUM is None:
        pytest.skip("Chromium is not here; `make test-real` installs it")
    from playwright.sync_api import sync_playwright

    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True).start()
    with running_collector(tmp_path_factory.mktemp("clients")) as collector, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield World(collector, browser, f"http://shop.example:{site.server_address[1]}/pricing?utm_source=news")
        browser.close()
    site.shutdown()
    site.server_close()


def bundled(client: str, folder: Path) -> str:
    """The program of a client and the client, as one script whose exports are `program`."""
    out = folder / f"{client}.js"
    subprocess.run(
        [INSTALLED / "node_modules" / ".bin" / "esbuild", PROGRAMS / "pages" / f"{client}.js", "--bundle", "--minify",
         "--format=iife", "--global-name=program", f"--outfile={out}", "--log-level=error"],
        check=True, env={"NODE_PATH": str(INSTALLED / "node_modules"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return out.read_text()


def until(page: Any, condition: Callable[[], bool]) -> None:
    """Wait for what a page makes happen; the page's driver works only while it is asked."""
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it never came to be")


@pytest.mark.parametrize(("client", "function", "expected", "is_user"), CLIENTS, ids=lambda value: str(value)[:16])
def test_scenario_1_a_client_in_a_page(
    world: World, tmp_path: Path, client: str, function: str, expected: dict[str, int], is_user: bool
) -> None:
    collector = world.collector
    seen, before = len(collector.records()), counted(collector.url, collector.server)
    context = world.browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(world.page_url)
    page.add_script_tag(content=bundled(client, tmp_path))
    page.evaluate(f"url => program.{function}(url)", collector.url)
    wanted = sum(expected.values()) + 1
    until(page, lambda: len(collector.records()) - seen >= wanted)
    page.wait_for_timeout(500)  # what is sent again comes now
    context.close()
    new = collector.records()[seen:]
    after = counted(collector.url, collector.server)
    stored = Counter(record.event_name for record in new if record.verdict == "accepted")
    refused = [record.reason_codes for record in new if record.verdict == "quarantined"]
    assert (dict(stored), refused, errors) == (expected, ["unknown_event"], [])
    assert (after["duplicate"], after["conflict"]) == (before["duplicate"], before["conflict"])
    viewed = next(record for record in new if record.event_name == "page_viewed")
    assert (viewed.source, viewed.device_type) == ("news", "web") and viewed.anonymous_id
    assert any(record.user_id for record in new) is is_user
    assert all(record.bot_reason is None for record in new)
