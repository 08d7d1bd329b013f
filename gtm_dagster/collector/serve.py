"""The collector as a process: granian embedded in this process, so that one process holds the log's one writer."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from gtm_dagster.collector.address import announced
from gtm_dagster.collector.alerts import AskRollback
from gtm_dagster.collector.app import Collector, Handler, create_app
from gtm_dagster.collector.keys import DEV_KEY, KeyStore, WriteKey, write_keys
from gtm_dagster.collector.log_metrics import log_metrics
from gtm_dagster.eventlog import open_log
from gtm_dagster.privacy.consent import consent_policy
from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
from gtm_dagster.privacy.sealing import sealer_for
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import load_plan

HEADER_MILLISECONDS = 10_000
DRAIN_SECONDS = 20.0
SWITCH_SECONDS = 0.001
"""How long a busy thread keeps the interpreter from others: a request passes it on some five times (Python's 5 ms are too
long beside a worker that splits a large body).
"""
_BACKLOG = 1024


class ServeError(Exception):
    """The collector cannot start, or its server stopped by itself; the message says why and what to do."""


def serve(
    settings: Settings,
    host: str,
    port: int,
    ask_rollback: AskRollback | None = None,
    feed: Callable[[Callable[[str], str]], Handler] | None = None,
) -> None:
    """Take events at `host`:`port` until SIGTERM or SIGINT; then finish the requests in flight and return.

    `port` 0 takes a free one; the address is written to stderr. Raises ServeError, also when another address than
    loopback is asked for and there is no write key but `dev`. `ask_rollback` takes what alerting systems ask for; `feed`
    makes what answers below /feed/, given how an id becomes a pseudonym.
    """
    address = _resolve(host, port)
    loopback = ipaddress.ip_address(address).is_loopback
    keys = KeyStore(settings.keys_dir, allow_dev=loopback)
    listed = keys.list()
    if not loopback and not write_keys(listed):
        raise ServeError(
            f"{host} can be reached from other machines and there is no write key but `dev`; "
            "add one with `gtm keys add NAME`, or listen on 127.0.0.1"
        )
    for line in _idle_ids(settings.collector.client_ids, listed):
        sys.stderr.write(f"collector: {line}\n")
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
            limits=msgspec.structs.replace(settings.collector, hosts=(*settings.collector.hosts, _in_url(address))),
            consent=consent_policy(settings.privacy.consent),
            undeclared_text=settings.privacy.undeclared_text,
            ask_rollback=ask_rollback,
            feed=feed(Pseudonymizer(key)) if feed else None,
        )
        app.metrics.registry.register(log_metrics(log, settings))
        sys.setswitchinterval(SWITCH_SECONDS)
        with announced(settings.state_dir, f"http://{_in_url(_reachable(address))}:{port}"):
            asyncio.run(_run(app, address, port, _open_to(listed)))


async def _run(app: Collector, address: str, port: int, open_to: str) -> None:
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
    shown = _in_url(address)
    sys.stderr.write(f"collector: listening on http://{shown}:{port} for {open_to}\n")
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
    await app.store_refusals()
    server.stop()
    await serving


def _idle_ids(client_ids: Mapping[str, str], listed: Sequence[WriteKey]) -> list[str]:
    """The ids that open nothing now, and why."""
    clients = {key.name for key in listed if key.role == "client"} | {DEV_KEY}
    return [
        f"collector.client_ids: {client_id!r} opens nothing, for {name!r} is no client key; gtm keys add {name} --role client"
        for client_id, name in client_ids.items()
        if name not in clients
    ]


def _open_to(listed: Sequence[WriteKey]) -> str:
    """Which keys are open, as the start says it."""
    if not write_keys(listed):
        return f"the key {DEV_KEY}, on this machine and until another write key exists"
    return f"the keys {', '.join(f'{key.name} ({key.role})' for key in listed)}; {DEV_KEY} opens nothing"


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _reachable(address: str) -> str:
    """An address by which this machine reaches what listens on `address`."""
    ip = ipaddress.ip_address(address)
    if not ip.is_unspecified:
        return address
    return "127.0.0.1" if ip.version == 4 else "::1"


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
