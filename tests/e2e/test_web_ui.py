"""The web UI as a person uses it: `gtm dev`, Materialize all, a check, a picture; and a live event that a sensor fetches.

SCREENSHOTS=docs keeps pictures of the pages there.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-quic",
]  # fmt: skip
RUNS = "{ runsOrError { ... on Runs { results { runId jobName status tags { key value } } } } }"


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer of `condition`."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < deadline:
        if found := condition():
            return found
        pause.wait(0.25)
    pytest.fail(f"{what}: not within {seconds:g} s")


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@dataclass(frozen=True)
class Dev:
    """A running `gtm dev`."""

    ui: str
    collector: str
    process: subprocess.Popen[bytes]
    log: Path
    environment: dict[str, str]

    def graphql(self, query: str) -> dict[str, Any]:
        answer = requests.post(f"{self.ui}/graphql", json={"query": query}, timeout=30)
        return dict(answer.json()["data"])

    def runs(self) -> list[dict[str, Any]]:
        return list(self.graphql(RUNS)["runsOrError"]["results"])

    def answers(self) -> bool:
        try:
            return (
                requests.get(f"{self.ui}/server_info", timeout=2).ok
                and requests.get(f"{self.collector}/readyz", timeout=2).ok
            )
        except requests.RequestException:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            return False


def gtm(environment: dict[str, str], *arguments: str) -> str:
    told = subprocess.run(
        [sys.executable, "-m", "gtm_dagster.cli", *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return told.stdout


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("dev")
    environment = {
        **os.environ,
        "GTM_STATE_DIR": str(folder / "state"),
        "GTM_REFRESH__MIN_INTERVAL_SECONDS": "5",
        "PYTHONPATH": str(ROOT),
    }
    simulated = json.loads(gtm(environment, "simulate", "--events", "20000", "--out", str(folder), "--json"))
    gtm(environment, "import", simulated["files"][0])
    ui, collector = free_port(), free_port()
    with (folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gtm_dagster.cli", "dev", "--port", str(ui), "--collector-port", str(collector)],
            env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    running = Dev(f"http://127.0.0.1:{ui}", f"http://127.0.0.1:{collector}", process, folder / "dev.log", environment)
    try:
        wait_for(running.answers, 180, "gtm dev answers")
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(90)
    assert code == 0, (folder / "dev.log").read_text()[-3000:]
    with pytest.raises(requests.ConnectionError):
        requests.get(running.ui, timeout=2)
    with pytest.raises(requests.ConnectionError):
        requests.get(running.collector, timeout=2)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not here; `make test-real` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


def shown(page: Any, text: str) -> None:
    """Waits for a visible `text`; the UI also keeps hidden copies to measure labels by."""
    page.locator(f"text={text} >> visible=true").first.wait_for()


def keep(page: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_materialize_all_then_look_at_a_check_and_a_picture(dev: Dev, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(60_000)
    page.goto(f"{dev.ui}/asset-groups")
    before = {run["runId"] for run in dev.runs()}
    page.get_by_role("button", name="Materialize all").click()
    run = wait_for(lambda: next((r for r in dev.runs() if r["runId"] not in before), None), 30, "a run was launched")[
        "runId"
    ]
    done = wait_for(
        lambda: next((r for r in dev.runs() if r["runId"] == run and r["status"] in {"SUCCESS", "FAILURE"}), None), 240, "the run ends"
    )  # fmt: skip
    assert done["status"] == "SUCCESS", dev.log.read_text()[-6000:]
    shown(page, "marts")
    keep(page, "lineage")

    page.goto(f"{dev.ui}/runs/{run}")
    shown(page, "Success")
    keep(page, "run")

    page.goto(f"{dev.ui}/assets/staging/quarantine?view=checks")
    shown(page, "reject_rate")
    keep(page, "quarantine-check")

    page.goto(f"{dev.ui}/assets/marts/funnel")
    picture = page.locator("img[src^='data:image']").first
    picture.wait_for()
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("image => image.naturalWidth") > 100, "the picture is shown, not broken"
    keep(page, "funnel")
    page.close()


def test_a_live_event_is_fetched_by_the_sensor(dev: Dev) -> None:
    moment = datetime.now(UTC).isoformat()
    event = {"event_id": "live-1", "event_name": "page_viewed", "timestamp": moment, "anonymous_id": "someone",
             "properties": {}, "context": {"source": "newsletter", "medium": "email", "device_type": "web"}}  # fmt: skip
    answer = requests.post(f"{dev.collector}/ingest", json=event, headers={"X-Write-Key": "dev"}, timeout=10)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)

    def fetched() -> bool:
        return any(
            run["status"] == "SUCCESS" and {"key": "dagster/sensor_name", "value": "event_log_sensor"} in run["tags"]
            for run in dev.runs()
        )

    wait_for(fetched, 180, "the sensor's run")
    rows = json.loads(
        gtm(dev.environment, "query", "SELECT source, medium FROM core.sessions WHERE source = 'newsletter'", "--json")
    )
    assert {"source": "newsletter", "medium": "email"} in rows
