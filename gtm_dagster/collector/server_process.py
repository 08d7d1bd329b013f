"""One process that serves a collector's port: granian embedded in it, so that a single one holds the log's one writer."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from gtm_dagster.collector.alerts import AskRollback
from gtm_dagster.collector.app import Collector, Handler, create_app
from gtm_dagster.collector.keys import KeyStore
from gtm_dagster.collector.log_metrics import log_metrics
from gtm_dagster.collector.shared_log import SharedLog
from gtm_dagster.collector.worker_figures import WorkerMetrics
from gtm_dagster.collector.worker_place import Worker
from gtm_dagster.eventlog import EventLog, open_log
from gtm_dagster.privacy.consent import consent_policy
from gtm_dagster.privacy.event_ids import stored_event_id
from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
from gtm_dagster.privacy.sealing import sealer_for
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import load_plan

DRAIN_SECONDS = 20.0
SWITCH_SECONDS = 0.001
"""How long a busy thread keeps the interpreter from others: a request passes it on some five times (Python's 5 ms are too
long beside a worker that splits a large body).
"""
_BACKLOG = 1024
_LOOK_FOR_CYCLES_AFTER = 10_000
"""Objects made and not freed. A group of events is thousands of tuples and no cycle, and by Python's 700 a tenth of the
collector's CPU went into looking for one.
"""
TraceEvent = Callable[[str, str], bytes | None]
"""(write key, stored event id) -> the trace as JSON, None for an unknown event."""


class Services(msgspec.Struct, frozen=True):
    """What a collector answers with that lies beyond it; None: it answers that it has no such thing.

    `ask_rollback` takes what alerting systems ask for; `trace_event` looks the event of a key and a stored id up; `feed` makes
    what answers below /feed/, given how an id becomes a pseudonym.
    """

    ask_rollback: AskRollback | None = None
    trace_event: TraceEvent | None = None
    feed: Callable[[Callable[[str], str]], Handler] | None = None


class ServeError(Exception):
    """The collector cannot start, or its server stopped by itself; the message says why and what to do."""


class Site(msgspec.Struct, frozen=True):
    """Where a collector listens: `address` and `port`, the address as it stands in a URL, and whether it is loopback."""

    address: str
    port: int
    host: str
    loopback: bool


def serve_process(
    settings: Settings,
    site: Site,
    services: Services,
    worker: Worker | None = None,
    shared: SharedLog | None = None,
) -> None:
    """Take events at `site` until SIGTERM or SIGINT, or until the process that started this worker is gone.

    Then finish the requests in flight and return. A `worker` appends by `shared`. Raises ServeError.
    """
    key = load_or_create_key(settings.keys_dir, settings.privacy.pseudonym_key)
    pseudonymize = Pseudonymizer(key)
    plan = load_plan(settings.plan_file)
    with open_log(settings) as log:
        app = create_app(
            log=shared or log,
            plan=plan,
            pseudonymize=pseudonymize,
            sealer=sealer_for(settings.quarantine.days, key),
            keys=KeyStore(settings.keys_dir, allow_dev=site.loopback),
            limits=msgspec.structs.replace(settings.collector, hosts=(*settings.collector.hosts, site.host)),
            consent=consent_policy(settings.privacy.consent),
            undeclared_text=settings.privacy.undeclared_text,
            ask_rollback=services.ask_rollback,
            trace=None if services.trace_event is None else partial(_traced, services.trace_event, pseudonymize),
            feed=services.feed(pseudonymize) if services.feed else None,
            worker=worker,
            receiving=log.receiving,
        )
        _add_figures(app, log, settings, worker, shared)
        sys.setswitchinterval(SWITCH_SECONDS)
        look_for_cycles_less()
        asyncio.run(_run(app, settings, site, worker))


def look_for_cycles_less() -> None:
    """Leave what this process has loaded by now, which stays to its end, out of every later look for cycles; look seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_LOOK_FOR_CYCLES_AFTER)


def _add_figures(
    app: Collector, log: EventLog, settings: Settings, worker: Worker | None, shared: SharedLog | None
) -> None:
    of_log = log_metrics(log, settings, shared)
    if worker is None:
        app.metrics.registry.register(of_log)
    else:
        app.metrics.shared += [of_log, WorkerMetrics(log, settings.collector.workers)]


def _traced(trace_event: TraceEvent, pseudonymize: Pseudonymizer, write_key: str, event_id: str) -> bytes | None:
    return trace_event(write_key, stored_event_id(event_id, pseudonymize))


async def _run(app: Collector, settings: Settings, site: Site, worker: Worker | None) -> None:
    limits = settings.collector
    server = Server(
        app,
        address=site.address,
        port=site.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=_BACKLOG,
        http1_settings=HTTP1Settings(header_read_timeout=round(limits.header_timeout_seconds * 1000)),
        log_enabled=False,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if worker is not None and (parent := multiprocessing.parent_process()) is not None:
        loop.add_reader(parent.sentinel, _orphaned, loop, parent.sentinel, stop)
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    beating = asyncio.create_task(app.keep_beating())
    noting = asyncio.create_task(_note_waiting(app)) if worker is not None else None
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    beating.cancel()
    if serving.done():
        stopping.cancel()
        await serving
        raise ServeError(f"the HTTP server at {site.host}:{site.port} stopped by itself; start the collector again")
    if limits.drain_seconds:
        app.leave()
        await asyncio.sleep(limits.drain_seconds)
    app.drain()
    deadline = time.monotonic() + DRAIN_SECONDS
    while app.in_flight and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    await app.store_refusals()
    if noting is not None:
        noting.cancel()
    server.stop()
    await serving


def _orphaned(loop: asyncio.AbstractEventLoop, sentinel: int, stop: asyncio.Event) -> None:
    loop.remove_reader(sentinel)
    stop.set()


async def _note_waiting(app: Collector) -> None:
    while True:
        app.metrics.note_waiting()
        await asyncio.sleep(1)
