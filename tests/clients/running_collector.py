"""A collector as clients meet it: a process of its own, pages of every origin, and ids of other products for its client key."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from client_cases import CLIENT_IDS
from collector_server import Server

from gtm_dagster.collector import KeyStore
from gtm_dagster.eventlog import Record
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.settings import load_settings


class Running(NamedTuple):
    """Its address, the secrets of its client key `web` and its server key `backend`, and its log."""

    url: str
    client: str
    server: str
    log_path: Path

    def records(self) -> list[Record]:
        """What it stored, the refused events among them."""
        with closing(SqliteEventLog(self.log_path)) as log:
            return log.read_records(0)[0]

    def quarantined(self) -> list[Record]:
        """The refused events."""
        return [record for record in self.records() if record.verdict == "quarantined"]


@contextmanager
def running_collector(state_dir: Path) -> Iterator[Running]:
    """A collector until the end of the `with`, which has to end well."""
    settings = load_settings(environ={"GTM_STATE_DIR": str(state_dir)})
    keys = KeyStore(settings.keys_dir)
    client, server = keys.add("web", role="client"), keys.add("backend")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GTM_COLLECTOR__CLIENT_IDS", CLIENT_IDS)
        environment.setenv("GTM_COLLECTOR__CORS_ORIGINS", '["*"]')
        process = Server(state_dir)
    try:
        yield Running(process.url, client, server, settings.log_path)
    finally:
        code = process.stop(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in process.errors, process.errors
