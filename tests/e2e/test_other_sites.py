"""What a page of another site, open in a browser on the machine, can do to the UI that `gtm dev` starts: nothing."""

import http.server
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from history_cells import kept
from web_ui import SECRET, Dev, wait_for

pytestmark = pytest.mark.real
LAUNCH = (
    'mutation { launchRun(executionParams: {selector: {repositoryLocationName: "gtm_dagster", repositoryName: '
    '"__repository__", pipelineName: "rearm_guard"}, mode: "default", runConfigData: "{\\"ops\\": {\\"rearm\\": {\\"config\\":'
    ' {\\"guard\\": \\"x\\", \\"actor\\": \\"evil\\", \\"reason\\": \\"r\\"}}}}"}) { __typename } }'
)
PAGE = """<title>another site</title><script>
const ui = UI, query = QUERY, url = ui + "/graphql?query=" + encodeURIComponent(query);
new Image().src = url;
fetch(url, {mode: "no-cors"}).catch(() => 0);
fetch(ui + "/graphql", {method: "POST", mode: "no-cors", body: JSON.stringify({query}),
  headers: {"content-type": "text/plain"}}).catch(() => 0);
const form = new FormData(); form.append("query", query);
fetch(ui + "/graphql", {method: "POST", mode: "no-cors", body: form}).catch(() => 0);
fetch(ui + "/graphql", {method: "POST", mode: "no-cors", body: new URLSearchParams({query})}).catch(() => 0);
const socket = new WebSocket(ui.replace("http", "ws") + "/graphql", "graphql-ws");
socket.onopen = () => document.title = "subscribed"; socket.onclose = () => document.title = "done";
</script>"""


@pytest.fixture
def another_site(dev: Dev) -> Iterator[str]:
    page = PAGE.replace("UI", json.dumps(dev.ui), 1).replace("QUERY", json.dumps(LAUNCH), 1).encode()

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f":{server.server_port}/"
    server.shutdown()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["another host", "another port"])
def test_a_page_of_another_site_starts_nothing(dev: Dev, browser: Any, another_site: str, host: str) -> None:
    statuses: list[int] = []
    page = browser.new_page()
    page.on("response", lambda response: statuses.append(response.status) if "/graphql" in response.url else None)
    page.goto(f"http://{host}{another_site}")
    page.wait_for_function("document.title == 'done' || document.title == 'subscribed'")
    wait_for(lambda: len(statuses) >= 5, 30, "the requests are answered")
    assert page.title() == "done", "no subscription"
    assert set(statuses) == {403}
    assert [run for run in dev.runs() if run["jobName"] == "rearm_guard"] == []
    page.close()


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        pytest.param("GET", {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403, id="as shown"),
        pytest.param("GET", {"Sec-Fetch-Site": "cross-site"}, 403, id="a picture"),
        pytest.param("POST", {"Origin": "https://evil.example"}, 403, id="a form"),
        pytest.param("POST", {"Host": "rebind.evil.example"}, 403, id="a rebound name"),
        pytest.param("POST", {}, 200, id="a program"),
    ],
)
def test_the_headers_a_browser_sends(dev: Dev, method: str, headers: dict[str, str], status: int) -> None:
    question = {"query": "{ version }"}
    sent: dict[str, Any] = {"params": question} if method == "GET" else {"json": question}
    assert requests.request(method, f"{dev.ui}/graphql", headers=headers, timeout=30, **sent).status_code == status


def test_the_page_follows_what_happens_by_its_subscription(dev: Dev, browser: Any) -> None:
    page = browser.new_page()
    frames: list[Any] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
    page.goto(f"{dev.ui}/overview")

    def answered() -> bool:
        page.wait_for_timeout(200)  # lets the page's events come in
        return bool(frames)

    wait_for(answered, 60, "the page's subscription is answered")
    page.close()


def _processes(dev: Dev, words: str) -> list[int]:
    """Children of `gtm dev` whose command line holds the words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if int(parent) == dev.process.pid and words in command:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("words", ["cli stream", "cli collect", "code-server", "orchestration.daemon", ".web_ui"])
def test_a_killed_part_is_back_and_the_ui_answers(dev: Dev, words: str) -> None:
    (before,) = _processes(dev, words)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: [pid for pid in _processes(dev, words) if pid != before], 60, f"{words} is started again")
    wait_for(dev.answers, 120, "collector and UI answer")

    def loaded() -> bool:
        try:
            answer = dev.graphql("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
        except (requests.RequestException, KeyError, ValueError):
            return False
        return bool(answer["repositoriesOrError"].get("nodes"))

    wait_for(loaded, 120, "the code location is loaded")
    assert "was ended by SIGKILL; starting it again" in dev.log.read_text()


def test_a_run_started_in_the_ui_leaves_no_secret_behind(dev: Dev) -> None:
    run = dev.launch("refresh")
    wait_for(lambda: dev.status(run) in {"SUCCESS", "FAILURE"}, 240, "the run ends")
    assert dev.status(run) == "SUCCESS", dev.log.read_text()[-6000:]
    home = Path(dev.environment["GTM_STATE_DIR"]) / "dagster_home"
    assert [where for where, what in kept(home) if SECRET.encode() in what] == []
