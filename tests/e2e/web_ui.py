"""A running `gtm dev` and what a test asks of it: GraphQL, the collector, commands, pictures of pages."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

SECRET = "a-pseudonym-key-that-must-not-land"
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
    pages: str
    process: subprocess.Popen[bytes]
    log: Path
    environment: dict[str, str]

    def graphql(self, query: str) -> dict[str, Any]:
        answer = requests.post(f"{self.ui}/graphql", json={"query": query}, timeout=30)
        return dict(answer.json()["data"])

    def runs(self) -> list[dict[str, Any]]:
        return list(self.graphql(RUNS)["runsOrError"]["results"])

    def status(self, run_id: str) -> str:
        return next((run["status"] for run in self.runs() if run["runId"] == run_id), "")

    def launch(self, job: str) -> str:
        """Ask for a run of a job as the UI's button does; returns its id."""
        where = 'repositoryLocationName: "gtm_dagster", repositoryName: "__repository__"'
        told = self.graphql(
            f'mutation {{ launchRun(executionParams: {{selector: {{{where}, jobName: "{job}"}}, runConfigData: "{{}}"}}) '
            "{ __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"
        )["launchRun"]
        return str(told["run"]["runId"])

    def answers(self) -> bool:
        try:
            return (
                requests.get(f"{self.ui}/server_info", timeout=2).ok
                and requests.get(f"{self.collector}/readyz", timeout=2).ok
                and requests.get(f"{self.pages}/livez", timeout=2).ok
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


def shown(page: Any, text: str) -> None:
    """Waits for a visible `text`; the UI also keeps hidden copies to measure labels by."""
    page.locator(f"text={text} >> visible=true").first.wait_for()


def keep(page: Any, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))
