"""GET /events/ID: what became of one event, for the sender that sent it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

from gtm_dagster.collector.access import Access
from gtm_dagster.collector.body import Receive
from gtm_dagster.collector.headers import Scope
from gtm_dagster.collector.response import RETRY_SECONDS, Refused, Response

ROUTE = "/events/{id}"
_BEFORE = "/events/"
_LONGEST_ID = 128
_MAX_WAITING = 8
_log = logging.getLogger("gtm_dagster.collector")

Trace = Callable[[str, str], bytes | None]
"""(write key, event id as sent) -> the trace as JSON, None for an unknown event. Called in a thread."""


class EventTraces:
    """Answers the requests; `trace` is None where this installation cannot read what it stores."""

    def __init__(self, access: Access, trace: Trace | None) -> None:
        self._access = access
        self._trace = trace
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-trace")
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive) -> Response:
        """200 with the trace of an event of the key that asks. Raises Refused: 404 also for an event of another key."""
        key = self._access.server(scope)
        event_id = id_of(scope["path"])
        if event_id is None or len(event_id) > _LONGEST_ID:
            raise Refused(404, "unknown_event", f"an event id has 1 to {_LONGEST_ID} characters")
        if self._trace is None:
            raise Refused(501, "no_reader", "this collector runs without gtm-dagster[pipeline], so it traces no events")
        if self._waiting >= _MAX_WAITING:
            raise Refused(503, "busy", "events are being traced already; ask again", RETRY_SECONDS)
        self._waiting += 1
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._trace, key.name, event_id)
        finally:
            self._waiting -= 1
        if found is None:
            raise Refused(
                404,
                "unknown_event",
                "no event of this key has this id: it was never taken, had no consent, or came longer ago than dedup_days",
            )
        return Response(200, found)


def id_of(path: str) -> str | None:
    """The event id that a path names; None for another path."""
    inner = unquote(path.removeprefix(_BEFORE)) if path.startswith(_BEFORE) else ""
    return inner or None
