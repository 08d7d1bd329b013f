"""The ASGI app: the routes of every protocol, heartbeats, health, metrics and the plan."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache, partial
from typing import Any

import msgspec

from gtm_dagster.admission.admission import Seals
from gtm_dagster.admission.single_event import Judge
from gtm_dagster.collector.access import KEY_NAME, Access
from gtm_dagster.collector.alerts import ROUTE, Alerts, AskRollback, flag_of
from gtm_dagster.collector.body import Disconnected, Receive
from gtm_dagster.collector.browser_script import ROUTE as SCRIPT
from gtm_dagster.collector.browser_script import BrowserScript
from gtm_dagster.collector.commits import Appender, Commits
from gtm_dagster.collector.cors import Cors
from gtm_dagster.collector.door_counts import DoorCounts
from gtm_dagster.collector.event_lookup import ROUTE as EVENT
from gtm_dagster.collector.event_lookup import EventTraces, Trace, id_of
from gtm_dagster.collector.headers import Scope, check_host
from gtm_dagster.collector.heartbeats import Heartbeats
from gtm_dagster.collector.ingest import Ingest
from gtm_dagster.collector.keys import KeyStore, KeyStoreError
from gtm_dagster.collector.metrics import OTHER, Metrics
from gtm_dagster.collector.openapi import ROUTE as OPENAPI
from gtm_dagster.collector.openapi import document
from gtm_dagster.collector.protocols import PROTOCOLS
from gtm_dagster.collector.rate_limits import RateLimits
from gtm_dagster.collector.response import RETRY_SECONDS, Refused, Response, error_response
from gtm_dagster.collector.worker_place import Worker
from gtm_dagster.monitoring import CONTENT_TYPE, installed_version
from gtm_dagster.privacy.consent import REQUIRED, ConsentPolicy
from gtm_dagster.privacy.masking import UndeclaredText
from gtm_dagster.settings import Collector as Limits
from gtm_dagster.taxonomy import Plan
from gtm_dagster.taxonomy.json_schema import plan_schema
from gtm_dagster.tracking.event_id import uuid7

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[[Scope, Receive], Awaitable[Response]]
FEED = "/feed/{person}"

READY_SECONDS = 5.0
_PAGES = ("/heartbeat", "/livez", "/readyz", "/metrics", "/plan", SCRIPT, EVENT, OPENAPI)
PSEUDONYMS = 50_000
"""Pseudonyms remembered, some 20 MB: one costs 4 microseconds to compute, and a person sends several events."""
_log = logging.getLogger("gtm_dagster.collector")


class Collector:
    """The ASGI application of one collector process; `in_flight` counts its unanswered requests, `metrics` has the rest."""

    def __init__(
        self,
        commits: Commits,
        plan: Plan,
        access: Access,
        ingest: Ingest,
        heartbeats: Heartbeats,
        alerts: Alerts,
        cors: Cors,
        browser_script: BrowserScript,
        door: DoorCounts,
        event_traces: EventTraces,
        feed: Handler | None = None,
    ) -> None:
        self.in_flight = 0
        self._leaving = False
        self.metrics = ingest.metrics
        self._commits = commits
        self._access = access
        self._cors = cors
        self._plan = plan
        self._plan_schema: bytes | None = None
        self._ingest = ingest
        self._heartbeats = heartbeats
        self._door = door
        self._routes: dict[str, dict[str, Handler]] = {
            path: {"GET" if protocol.in_query else "POST": partial(ingest, protocol, path)}
            for protocol in PROTOCOLS
            for path in protocol.paths
        }
        self._routes |= {
            "/heartbeat": {"POST": heartbeats},
            "/livez": {"GET": self._get_livez},
            "/readyz": {"GET": self._get_readyz},
            "/metrics": {"GET": self._get_metrics},
            "/plan": {"GET": self._get_plan},
            SCRIPT: {"GET": browser_script},
            ROUTE: {"POST": alerts},
            **({FEED: {"GET": feed, "POST": feed}} if feed else {}),
            EVENT: {"GET": event_traces},
            OPENAPI: {"GET": self._get_openapi},
        }
        self._counted = frozenset(path for path, handlers in self._routes.items() if "POST" in handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope of ASGI."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        self.in_flight += 1
        try:
            await self._respond(scope, receive, send)
        finally:
            self.in_flight -= 1

    def leave(self) -> None:
        """Say so at /readyz from now on, and close each connection behind its answer; events are still taken."""
        self._leaving = True

    def drain(self) -> None:
        """Refuse new events with 503 from now on, while those in flight are finished."""
        self._leaving = self._ingest.draining = True

    async def keep_beating(self) -> None:
        """Store the collector's own heartbeats, and the counts of what it refused, until cancelled."""
        await asyncio.gather(self._heartbeats.keep_beating(), self._door.keep_storing())

    async def store_refusals(self) -> None:
        """Store the counts of what was refused since they were stored last."""
        await self._door.store()

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/") or "/"
        if flag_of(path) is not None:
            path = ROUTE
        elif path.startswith("/feed/"):
            path = FEED
        elif id_of(path) is not None:
            path = EVENT
        try:
            check_host(scope)
            response = self._cors.preflight(scope) or await self._route(path, scope, receive)
        except Disconnected:
            # Nobody reads the answer where the client left. Where its chunks are damaged, it does.
            _log.warning("the body of a request to %s broke off", path)
            response = error_response(
                Refused(400, "broken_body", "the body broke off or its chunks are damaged; send the whole body again")
            )
        except Refused as refused:
            response = error_response(refused)
            if refused.status < 500 and path in self._counted:
                self._door.note(path, scope.get(KEY_NAME, ""), refused.code)
        except KeyStoreError as error:
            _log.error("%s", error)
            response = error_response(
                Refused(503, "keys_unreadable", "the write keys cannot be read; send it again", 30)
            )
        except Exception:  # noqa: BLE001 - the edge of the program: a fault is answered and logged, the server lives on
            _log.exception("fault while answering %r", path)
            response = error_response(Refused(500, "internal", "the collector failed on this request; see its log"))
        known = path if path in self._routes else OTHER
        self.metrics.requests.labels(known, str(response.status)).inc()
        headers = [
            (b"content-type", response.content_type),
            *_length(response),
            *response.headers,
            *self._cors.headers(scope),
        ]
        if self._leaving and (b"connection", b"close") not in response.headers:
            headers.append((b"connection", b"close"))
        body = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _route(self, path: str, scope: Scope, receive: Receive) -> Response:
        handlers = self._routes.get(path)
        if handlers is None:
            raise Refused(404, "not_found", f"nothing is at this path; known paths: {', '.join(self._routes)}")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        handler = handlers.get(method)
        if handler is None:
            allowed = ", ".join(handlers)
            response = error_response(Refused(405, "method_not_allowed", f"{path} takes {allowed}"))
            return msgspec.structs.replace(response, headers=((b"allow", allowed.encode()),))
        return await handler(scope, receive)

    async def _get_livez(self, scope: Scope, receive: Receive) -> Response:
        if fault := self._commits.fault():
            raise Refused(503, "log_unavailable", fault, RETRY_SECONDS)
        return Response(200, b'{"status":"ok"}')

    async def _get_readyz(self, scope: Scope, receive: Receive) -> Response:
        if self._leaving:
            raise Refused(503, "stopping", "the collector is stopping", RETRY_SECONDS)
        await self._commits.prove(READY_SECONDS)
        return Response(200, b'{"status":"ready"}')

    async def _get_metrics(self, scope: Scope, receive: Receive) -> Response:
        self._access.reader(scope, by_server=True)
        return Response(200, self.metrics.text(), CONTENT_TYPE.encode())

    async def _get_openapi(self, scope: Scope, receive: Receive) -> Response:
        return Response(200, msgspec.json.encode(document(PROTOCOLS, installed_version())))

    async def _get_plan(self, scope: Scope, receive: Receive) -> Response:
        self._access.reader(scope, by_server=False)
        if self._plan_schema is None:
            self._plan_schema = msgspec.json.encode(plan_schema(self._plan))
        return Response(200, self._plan_schema)


def create_app(
    *,
    log: Appender,
    plan: Plan,
    pseudonymize: Callable[[str], str],
    sealer: Seals,
    keys: KeyStore,
    limits: Limits,
    consent: ConsentPolicy = REQUIRED,
    undeclared_text: UndeclaredText = "token",
    ask_rollback: AskRollback | None = None,
    feed: Handler | None = None,
    trace: Trace | None = None,
    worker: Worker | None = None,
) -> Collector:
    """The collector as an ASGI app. The caller opens and closes `log`; `limits` is the settings' section collector.

    With `keys.allow_dev` it listens on loopback: then the key `dev` and pages without a key are open to this machine.
    `ask_rollback` takes what alerting systems ask for, `feed` answers below /feed/, `trace` looks an event up.
    `worker`: which of several processes at one port this is.
    """
    remembered = lru_cache(PSEUDONYMS)(pseudonymize)
    judge = Judge(
        plan, remembered, sealer, limits.max_event_bytes, consent, uuid7, undeclared_text, pseudonymize_id=pseudonymize
    )
    commits = Commits(log, limits.max_waiting_events)
    access = Access(keys, limits.hosts, limits.client_ids)
    paths = [path for protocol in PROTOCOLS for path in protocol.paths]
    metrics = Metrics(lambda: commits.waiting, paths, _PAGES, worker)
    rates = RateLimits(limits.rate_limit, limits.rate_limits, None if worker is None else worker.folder)
    ingest = Ingest(commits, judge, access, limits, rates, metrics)
    instance = "" if worker is None else f"worker-{worker.number}"
    heartbeats = Heartbeats(commits, access, metrics, limits.body_timeout_seconds, instance)
    alerts = Alerts(access, ask_rollback, limits.body_timeout_seconds)
    cors = Cors(limits.cors_origins)
    script = BrowserScript(consent)
    return Collector(
        commits, plan, access, ingest, heartbeats, alerts, cors, script, DoorCounts(commits),
        EventTraces(access, trace), feed,
    )  # fmt: skip


def _length(response: Response) -> list[tuple[bytes, bytes]]:
    """The header Content-Length; none where a response has no content by its status (RFC 9110, 8.6)."""
    return [] if response.status in (204, 304) else [(b"content-length", str(len(response.body)).encode())]


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
