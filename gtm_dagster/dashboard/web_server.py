"""The dashboard as a process: granian embedded, one worker, requests in threads."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import sys

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from gtm_dagster.dashboard.page_access import AccessError, PageAccess
from gtm_dagster.dashboard.pages import Pages
from gtm_dagster.dashboard.warming import Warming
from gtm_dagster.dashboard.web_app import create_app
from gtm_dagster.settings import Settings

HEADER_MILLISECONDS = 10_000
_BACKLOG = 256
_LOOK_SECONDS = 0.02


class DashboardError(Exception):
    """The dashboard cannot start, or its server stopped by itself; the message says why and what to do."""


def serve_dashboard(settings: Settings, host: str, port: int) -> None:
    """Show pages at `host`:`port` until SIGTERM or SIGINT. `port` 0 takes a free one; the address goes to stderr.

    Raises DashboardError, also when other machines reach the address and nothing asks who they are.
    """
    address = _resolve(host, port)
    try:
        access = PageAccess(settings.dashboard, address)
    except AccessError as error:
        raise DashboardError(str(error)) from None
    port = _free(address, port)
    pages = Pages(settings)
    try:
        with Warming(pages):
            asyncio.run(_run(pages, access, address, port))
    finally:
        pages.close()


async def _run(pages: Pages, access: PageAccess, address: str, port: int) -> None:
    server = Server(
        create_app(pages, access),
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=_BACKLOG,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS),
        log_enabled=False,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    while not serving.done() and not stopping.done() and not await _accepts(address, port):
        await asyncio.sleep(_LOOK_SECONDS)
    shown = f"[{address}]" if ":" in address else address
    who = "programs and browsers of this machine" if access.is_open else "whoever has the token, or comes by the proxy"
    sys.stderr.write(f"dashboard: http://{shown}:{port} for {who}\n")
    sys.stderr.flush()
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        stopping.cancel()
        await serving
        raise DashboardError(f"the HTTP server at {shown}:{port} stopped by itself; start the dashboard again")
    server.stop()
    await serving


async def _accepts(address: str, port: int) -> bool:
    """Whether the server takes connections already: who reads its address may ask at once."""
    unspecified = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where it is reached from here
    try:
        _, writer = await asyncio.open_connection(unspecified.get(address, address), port)
    except OSError:
        return False
    writer.close()
    return True


def _resolve(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise DashboardError(
            f"{host}: not an address of this machine ({error}); give an IP address or localhost"
        ) from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    address = str(found[0][4][0])
    return str(ipaddress.ip_address(address.partition("%")[0]))


def _free(address: str, port: int) -> int:
    """`port`, or a free one for 0. The server shares a port without complaint, so a port in use is found here."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise DashboardError(
                f"{address}:{port}: cannot listen there ({error.strerror}); stop what uses it, or choose another by --port"
            ) from None
        return int(probe.getsockname()[1])
