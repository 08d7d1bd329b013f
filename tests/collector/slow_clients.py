"""Clients that begin a request and never end it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from urllib.parse import urlsplit

_START = b"POST /ingest HTTP/1.1\r\nHost: localhost\r\nX-Write-Key: dev\r\n"
_BEGUN = {"head": _START, "body": _START + b"Content-Length: 1000\r\n\r\n["}
_MORE = {"head": b"X-More: a\r\n", "body": b" "}


async def cut_off(url: str, *, heads: int, bodies: int) -> dict[str, list[tuple[float, bytes]]]:
    """Clients that send a head (`head`) or a body (`body`) piece by piece for ever: for each the seconds until it was cut
    off, and the status it was answered with, empty where it was not.
    """
    results = await asyncio.gather(
        *[_one(url, "head") for _ in range(heads)], *[_one(url, "body") for _ in range(bodies)]
    )
    return {"head": list(results[:heads]), "body": list(results[heads:])}


async def _one(url: str, kind: str) -> tuple[float, bytes]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    began = time.monotonic()
    dripping = asyncio.create_task(_drip(writer, kind))
    answer = b""
    with contextlib.suppress(ConnectionError):
        while data := await asyncio.wait_for(reader.read(65_536), 60):
            answer += data
    seconds = time.monotonic() - began
    dripping.cancel()
    writer.close()
    return seconds, answer[9:12]


async def _drip(writer: asyncio.StreamWriter, kind: str) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(_BEGUN[kind])
        while True:
            await writer.drain()
            await asyncio.sleep(1)
            writer.write(_MORE[kind])
