"""An Unleash of one's own on free loopback ports, over a PostgreSQL of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

ROOT = Path(__file__).parents[3]
from postgres_server import free_port, start_postgres  # noqa: E402

INSTALLED = ROOT / ".cache" / "unleash" / "node_modules"
ADMIN = "*:*.unleash-insecure-admin-api-token"
CLIENT = "default:development.unleash-insecure-api-token"
FRONTEND = "default:development.unleash-insecure-frontend-api-token"


@dataclass
class UnleashServer:
    """A running server; `stop` and `start` it to see what clients and the guard do meanwhile."""

    url: str
    database: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the server is healthy; the first start makes its tables."""
        port = urlsplit(self.url).port
        database = urlsplit(self.database)
        environment = {
            **os.environ,
            "DATABASE_HOST": "127.0.0.1", "DATABASE_PORT": str(database.port), "DATABASE_NAME": "postgres",
            "DATABASE_USERNAME": "postgres", "DATABASE_PASSWORD": "none", "DATABASE_SSL": "false",
            "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port),
            "CHECK_VERSION": "false", "SEND_TELEMETRY": "false", "LOG_LEVEL": "warn",
            "INIT_ADMIN_API_TOKENS": ADMIN, "INIT_BACKEND_API_TOKENS": CLIENT, "INIT_FRONTEND_API_TOKENS": FRONTEND,
        }  # fmt: skip
        node = INSTALLED / "node" / "bin" / "node"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(node), str(INSTALLED / "unleash-server" / "dist" / "server.js")],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline, pause = time.monotonic() + 90, Event()
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if requests.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return
            except requests.RequestException:
                pass
            pause.wait(0.1)
        pytest.fail(f"Unleash did not start:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Ends it, gently first."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the admin API that must work."""
        answer = requests.request(
            method, f"{self.url}/api/admin{path}", json=body, headers={"Authorization": ADMIN}, timeout=10
        )
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def create_split(self, flag: str, percent: int, environment: str = "development") -> None:
        """A flag that is on for `percent` of user ids."""
        self.admin("POST", "/projects/default/features", {"name": flag, "type": "release"})
        here = f"/projects/default/features/{flag}/environments/{environment}"
        parameters = {"rollout": str(percent), "stickiness": "userId", "groupId": flag}
        self.admin("POST", f"{here}/strategies", {"name": "flexibleRollout", "parameters": parameters})
        self.admin("POST", f"{here}/on")

    def events(self, flag: str, kind: str) -> list[dict[str, Any]]:
        """Audit events of a flag."""
        events = self.admin("GET", f"/events/{flag}")["events"]
        return [event for event in events if event["type"] == kind]


@contextmanager
def start_unleash(folder: Path) -> Iterator[UnleashServer]:
    """A healthy server; logs go to `folder`. Skips when it is not installed."""
    if not (INSTALLED.parent / "installed").exists():
        pytest.skip("Unleash is not installed: run scripts/install-unleash (make test-real does)")
    with start_postgres() as database:
        server = UnleashServer(f"http://127.0.0.1:{free_port()}", database, folder / "unleash.log")
        try:
            server.start()
            yield server
        finally:
            server.stop()
