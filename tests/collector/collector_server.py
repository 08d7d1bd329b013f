"""A real collector in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import requests

_RUN = (
    "from gtm_dagster.collector.serve import serve; from gtm_dagster.settings import load_settings; "
    "serve(load_settings(), '127.0.0.1', PORT)"
)
READY_SECONDS = 90.0
"""Two workers that start beside other programs on two cores have taken more than five seconds."""
STOP_SECONDS = 60.0
"""More than a collector lets its requests and workers finish: a stop that takes longer is a fault of its own."""


class Server:
    """`url` answers once this is made; `stop` sends a signal and returns the exit code. `environ`: further GTM_ variables."""

    def __init__(self, state_dir: Path, port: int = 0, **environ: str) -> None:
        self.state_dir = state_dir
        environment = {**os.environ, "GTM_STATE_DIR": str(state_dir), **environ}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _RUN.replace("PORT", str(port))],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + self.process.stderr.read()
        self.url = found.group()
        poll, until = threading.Event(), time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            try:
                if requests.get(f"{self.url}/readyz", timeout=30).status_code == 200:
                    return
            except requests.ConnectionError:
                pass  # the address is said before workers listen there
            poll.wait(0.01)
        raise AssertionError("the collector never became ready")

    def children(self) -> list[int]:
        """Process ids of the workers, oldest first."""
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(each) for each in found if b"spawn_main" in _command_line(each)]

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(timeout=STOP_SECONDS)
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()
        self.process.stderr.close()
        return code


def _command_line(pid: str) -> bytes:
    """Empty for a process that ends, or is gone since its id was read."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
