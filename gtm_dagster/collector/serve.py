"""The collector as a process: granian embedded in this process, so that one process holds the log's one writer."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import sys
import time

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from gtm_dagster.collector.app import Collector, create_app
from gtm_dagster.collector.keys import KeyStore
from gtm_dagster.eventlog import open_log
from gtm_dagster.privacy.consent import consent_policy
from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
from gtm_dagster.privacy.sealing import sealer_for
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import load_plan

HEADER_MILLISECONDS = 10_000
DRAIN_SECONDS = 20.0
_BACKLOG = 1024


class ServeError(Exception):
    """The collector cannot start, or its server stopped by itself; the message says why and what to do."""


def serve(settings: Settings, host: str, port: int) -> None:
    """Take events at `host`:`port` until SIGTERM or SIGINT; then finish the requests in flight and return.

    `port` 0 takes a free one; the address is written to stderr. Raises ServeError, also when another address than
    loopback is asked for and there is no write key but `dev`.
    """
    address = _resolve(host, port)
    loopback = ipaddress.ip_address(address).is_loopback
    keys = KeyStore(settings.keys_dir, allow_dev=loopback)
    if not loopback and not keys.list():
        raise ServeError(
            f"{host} can be reached from other machines and there is no write key but `dev`; "
            "add one with `gtm keys add NAME`, or listen on 127.0.0.1"
        )
    port = _free(address, port)
    key = load_or_create_key(settings.keys_dir, settings.privacy.pseudonym_key)
    plan = load_plan(settings.plan_file)
    with open_log(settings) as log:
        app = create_app(
            log=log,
            plan=plan,
            pseudonymize=Pseudonymizer(key),
            sealer=sealer_for(settings.quarantine.days, key),
            keys=keys,
            limits=settings.collector,
            consent=consent_policy(settings.privacy.consent),
        )
        asyncio.run(_run(app, address, port))


async def _run(app: Collector, address: str, port: int) -> None:
    server = Server(
        app,
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
    beating = asyncio.create_task(app.keep_beating())
    shown = f"[{address}]" if ":" in address else address
    sys.stderr.write(f"collector: listening on http://{shown}:{port}\n")
    sys.stderr.flush()
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    beating.cancel()
    if serving.done():
        stopping.cancel()
        await serving
        raise ServeError(f"the HTTP server at {shown}:{port} stopped by itself; start the collector again")
    app.drain()
    deadline = time.monotonic() + DRAIN_SECONDS
    while app.in_flight and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    server.stop()
    await serving


def _resolve(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ServeError(f"{host}: not an address of this machine ({error}); give an IP address or localhost") from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])


def _free(address: str, port: int) -> int:
    """`port`, or a free one for 0. The server shares a port without complaint, so a port in use is found here."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise ServeError(
                f"{address}:{port}: cannot listen there ({error.strerror}); stop what uses it, or choose another port"
            ) from None
        return int(probe.getsockname()[1])
