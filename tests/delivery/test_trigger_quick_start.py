"""The five minutes of docs/triggers.md, as they stand there: a new deployment whose first event is a signed webhook."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gtm_dagster.triggers.newest_messages import newest_messages
from gtm_dagster.triggers.trigger_db import TriggerDbError, reading_trigger_db

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "triggers.md").read_text().partition("## In five minutes")[2].partition("\n## ")[0]


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL)[number]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(what: Callable[[], object], seconds: float = 40.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)


@contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str], output: Path) -> Iterator[None]:
    with output.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of a newcomer: `gtm` is on the path, nothing is set."""
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "gtm"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gtm_dagster.cli "$@"\n')
    shim.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GTM_", "DAGSTER_"))}
    python_path = os.pathsep.join(filter(None, (str(ROOT), kept.get("PYTHONPATH"))))
    return {**kept, "PATH": f"{tmp_path / 'bin'}:{kept['PATH']}", "PYTHONPATH": python_path, "PYTHONUNBUFFERED": "1"}


def test_the_first_event_of_a_new_deployment_is_a_signed_webhook(tmp_path: Path, environment: dict[str, str]) -> None:
    receiver_port, port = free_port(), free_port()
    script = block("sh").replace(":9000", f":{receiver_port}") + '\nprintf %s "$CRM_SECRET" > ../secret\n'
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    shop, printed = tmp_path / "shop", tmp_path / "receiver.out"
    (shop / "receiver.py").write_text(block("python").replace("9000", str(receiver_port)))
    environment |= {"CRM_SECRET": (tmp_path / "secret").read_text(), "GTM_STREAM__METRICS_PORT": "0"}
    with ExitStack() as stack:
        stack.enter_context(running([sys.executable, "receiver.py"], shop, environment, printed))
        # What `gtm dev` starts for it, without Dagster.
        stack.enter_context(
            running(["gtm", "collect", "--port", str(port)], shop, environment, tmp_path / "collect.out")
        )
        stack.enter_context(running(["gtm", "stream"], shop, environment, tmp_path / "stream.out"))
        database = shop / ".gtm" / "triggers.db"
        wait_for(lambda: follows(database) and answers(port))
        sent = subprocess.run(
            ["bash", "-e", "-c", block("sh", 1).replace(":8377", f":{port}")], cwd=shop, env=environment,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert '"accepted":1' in sent.stdout.replace(" ", ""), sent.stdout
        wait_for(lambda: "trigger.checkout_opened" in printed.read_text())
        assert printed.read_text().startswith("signature ok trigger.checkout_opened")
        wait_for(lambda: newest_messages(database, 1)[0].delivered_seconds is not None)
        explained = subprocess.run(
            ["gtm", "trigger", "explain", "ann"], cwd=shop, env=environment, capture_output=True, text=True, check=True
        )
    (message,) = newest_messages(database, 20)
    assert message.decided_seconds is not None and message.delivered_seconds is not None
    assert message.decided_seconds <= message.delivered_seconds < 10
    assert "checkout_opened" in explained.stdout and "delivered" in explained.stdout


def follows(database: Path) -> bool:
    if not database.exists():
        return False
    try:
        with reading_trigger_db(database) as con:
            return con.execute("SELECT 1 FROM position").fetchone() is not None
    except TriggerDbError:
        return False


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
