"""Collectors without a door, behind the HTTP server of `gtm collect`: the limit of what judging and keeping can cost.

`decoding` decodes the events into typed objects and keeps nothing; `plain_table` also stores each as a row of its JSON in
SQLite, one durable commit a request, as is usually written.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from gtm_dagster.collector.serve import _free
from gtm_dagster.taxonomy.envelope import Envelope

App = Callable[[Any, Any, Any], Awaitable[None]]
_events = msgspec.json.Decoder(list[Envelope]).decode
_ids = msgspec.json.Decoder(list[msgspec.Raw]).decode


async def _body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Any, ids: list[str]) -> None:
    counts = {"accepted": len(ids), "duplicates": 0, "quarantined": 0, "suppressed": 0}
    results = [{"event_id": one, "status": "accepted", "errors": []} for one in ids]
    body = msgspec.json.encode({**counts, "results": results})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def decoding(scope: Any, receive: Any, send: Any) -> None:
    """Decode and answer."""
    if scope["type"] == "http":
        await _answer(send, [event.event_id for event in _events(await _body(receive))])


def plain_table(path: Path) -> App:
    """The app that stores each event as a row in the file at `path`."""
    con = sqlite3.connect(path, isolation_level=None)
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA synchronous = FULL")
    con.execute("CREATE TABLE events (event_id TEXT PRIMARY KEY, body BLOB NOT NULL)")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = await _body(receive)
        ids = [event.event_id for event in _events(body)]
        rows = zip(ids, map(bytes, _ids(body)), strict=True)
        con.execute("BEGIN IMMEDIATE")
        con.executemany("INSERT OR IGNORE INTO events VALUES (?, ?)", rows)
        con.execute("COMMIT")
        await _answer(send, ids)

    return app


async def serve(app: App) -> None:
    """Serve until SIGTERM; the address is written to stderr."""
    port = _free("127.0.0.1", 0)
    server = Server(
        app, port=port, interface=Interfaces.ASGI, http=HTTPModes.http1, websockets=False, log_enabled=False
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    serving = asyncio.create_task(server.serve())
    sys.stderr.write(f"listening on http://127.0.0.1:{port}\n")
    sys.stderr.flush()
    await stop.wait()
    server.stop()
    await serving


def main() -> None:
    """Serve the app that the command line names."""
    app = decoding if sys.argv[1] == "decoding" else plain_table(Path(os.environ["GTM_STATE_DIR"]) / "plain.db")
    asyncio.run(serve(app))


if __name__ == "__main__":
    main()
