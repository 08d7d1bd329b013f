"""One `gtm dev` and one browser for all pages."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from web_ui import ARGUMENTS, CHROMIUM, ROOT, SECRET, Dev, free_port, gtm, wait_for


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("dev")
    environment = {
        **os.environ,
        "GTM_STATE_DIR": str(folder / "state"),
        "GTM_REFRESH__MIN_INTERVAL_SECONDS": "5",
        "GTM_PRIVACY__PSEUDONYM_KEY": SECRET,
        "PYTHONPATH": str(ROOT),
    }
    simulated = json.loads(gtm(environment, "simulate", "--events", "20000", "--out", str(folder), "--json"))
    gtm(environment, "import", simulated["files"][0])
    ui, collector, pages = free_port(), free_port(), free_port()
    with (folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gtm_dagster.cli", "dev", "--port", str(ui), "--collector-port", str(collector), "--dashboard-port", str(pages)],
            env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    environment["GTM_COLLECTOR__PORT"] = str(collector)
    running = Dev(
        f"http://127.0.0.1:{ui}",
        f"http://127.0.0.1:{collector}",
        f"http://127.0.0.1:{pages}",
        process,
        folder / "dev.log",
        environment,
    )
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
    with pytest.raises(requests.ConnectionError):
        requests.get(running.pages, timeout=2)


@pytest.fixture(scope="module")  # its event loop runs in this thread: later tests want one of their own
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not here; `make test-real` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()
