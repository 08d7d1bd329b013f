"""A collector in this process, asked through ASGI as a server would."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.collector import Collector, KeyStore, create_app
from gtm_dagster.eventlog import Record
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.privacy.consent import OFF, ConsentPolicy
from gtm_dagster.privacy.pseudonyms import Pseudonymizer
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import Collector as Limits
from gtm_dagster.taxonomy import load_plan

KEY = b"k" * 32


class Response:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> Any:
        return json.loads(self.body)


class LiveWriter:
    """The part of a log that says its writer lives."""

    def writer_fault(self) -> str | None:
        return None


class Edge:
    """`post` and `get` on one app; `log` is what it writes to."""

    def __init__(self, folder: Path, **limits: Any) -> None:
        self.log = SqliteEventLog(folder / "events.db")
        self.keys = KeyStore(folder / "keys", allow_dev=True)
        self.sealer = Sealer(KEY)
        self.pseudonymize = Pseudonymizer(KEY)
        self.app = self.app_on(self.log, **limits)

    def app_on(
        self, log: Any, consent: ConsentPolicy = OFF, ask_rollback: Any = None, trace: Any = None, **limits: Any
    ) -> Collector:
        return create_app(
            log=log,
            plan=load_plan(),
            pseudonymize=self.pseudonymize,
            sealer=self.sealer,
            keys=self.keys,
            limits=msgspec.structs.replace(Limits(), **limits),
            consent=consent,
            ask_rollback=ask_rollback,
            trace=trace,
        )

    def records(self) -> list[Record]:
        return self.log.read_records(0)[0]

    def post(
        self, body: Any, path: str = "/ingest", headers: dict[str, str] | None = None, app: Any = None
    ) -> Response:
        parts = body if isinstance(body, list) and body and isinstance(body[0], bytes) else None
        if parts is None:
            parts = [body if isinstance(body, bytes) else json.dumps(body).encode()]
        return self.ask("POST", path, parts, {"X-Write-Key": "dev"} if headers is None else headers, app)

    def get(self, path: str, app: Any = None) -> Response:
        return self.ask("GET", path, [b""], {}, app)

    def ask(self, method: str, path: str, parts: list[bytes], headers: dict[str, str], app: Any = None) -> Response:
        return asyncio.run(call(app or self.app, method, path, parts, headers))


async def call(
    app: Any, method: str, path: str, parts: list[bytes], headers: dict[str, str], stall: bool = False
) -> Response:
    """One request; with `stall` the body never ends."""
    waiting = list(parts)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": stall or bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    path, _, query = path.partition("?")
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
    await app(scope, receive, send)
    start, end = sent
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return Response(start["status"], told, end["body"])
