"""POST /guards/FLAG/rollback: an alerting system asks for the rollback of a guarded flag, with a key of its own role.

The collector stores what was asked and answers; it never talks to the flag's provider. A run carries it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import msgspec

from gtm_dagster.collector.access import Access
from gtm_dagster.collector.body import Receive, check_encoding, read_body
from gtm_dagster.collector.headers import Scope, header, headers
from gtm_dagster.collector.response import Refused, Response

ROUTE = "/guards/{flag}/rollback"
_BEFORE, _AFTER = "/guards/", "/rollback"
MAX_BODY_BYTES = 262_144
"""An alert of Alertmanager has about 1 kB, and one request holds a group of them."""
REASON_LETTERS = 500
_MAX_WAITING = 8
_FIRING = frozenset({"firing", "alerting", "triggered", "retriggered", "renotify", "warn", "alert", "open"})
_OVER = frozenset({"resolved", "recovered", "ok", "normal", "closed", "nodata", "pending"})
_TELLING = ("summary", "description", "message")
_CODES = {"unknown": 404, "ambiguous": 400, "latched": 409, "unavailable": 503}


class RollbackAnswer(Protocol):
    """What became of a request: `outcome` is asked, under_way, unknown, ambiguous, latched or unavailable."""

    @property
    def outcome(self) -> str: ...
    @property
    def guard(self) -> str: ...
    @property
    def episode(self) -> str: ...
    @property
    def message(self) -> str: ...


AskRollback = Callable[[str, str, str], RollbackAnswer]
"""(flag or guard key, caller, reason) -> what became of it; it is stored when the call returns. Called in a thread."""


class Alert(msgspec.Struct, rename="camel"):
    """What is looked at of an alert: `reason` and `status`, and what Alertmanager and Grafana say in their webhooks."""

    reason: str = ""
    status: str | None = None
    common_annotations: dict[str, Any] = {}
    common_labels: dict[str, Any] = {}


class Alerts:
    """Answers the requests; `ask` is None where this installation has no ops store."""

    def __init__(self, access: Access, ask: AskRollback | None, body_timeout_seconds: float) -> None:
        self._access = access
        self._ask = ask
        self._body_timeout_seconds = body_timeout_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="alerts")
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive) -> Response:
        """202 with the episode, 200 for an alert that is over. Raises Refused."""
        key = self._access.alerting(scope)
        check_encoding(headers(scope, b"content-encoding"))
        declared = header(scope, b"content-length")
        body = await read_body(receive, declared, MAX_BODY_BYTES, self._body_timeout_seconds)
        alert = _decoded(body)
        if _is_over(alert.status):
            return Response(200, msgspec.json.encode({"outcome": "ignored", "reason": f"the alert is {alert.status}"}))
        reason = _reason(alert)
        if not reason:
            raise Refused(400, "no_reason", 'say why, as {"reason": "..."} or in an annotation `summary`; it is kept')
        if self._ask is None:
            raise Refused(
                501, "no_ops_store", "this collector runs without gtm-dagster[pipeline], so it knows no guards"
            )
        answer = await self._asked(self._ask, flag_of(scope["path"]) or "", f"key {key.name}", reason)
        if answer.outcome in _CODES:
            status = _CODES[answer.outcome]
            raise Refused(status, f"{answer.outcome}_guard", answer.message, 5 if status == 503 else None)
        shown = {name: getattr(answer, name) for name in ("outcome", "guard", "episode", "message")}
        return Response(202, msgspec.json.encode({**shown, "actor": f"key {key.name}", "reason": reason}))

    async def _asked(self, ask: AskRollback, flag: str, caller: str, reason: str) -> RollbackAnswer:
        """One at a time, beside the event loop; the ops store may make it wait."""
        if self._waiting >= _MAX_WAITING:
            raise Refused(503, "busy", "requests for rollbacks wait already; send it again", 5)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, ask, flag, caller, reason)
        finally:
            self._waiting -= 1


def flag_of(path: str) -> str | None:
    """The flag, or guard's key, that a path names; None for another path."""
    path = path.rstrip("/")
    inner = path.removeprefix(_BEFORE).removesuffix(_AFTER)
    return inner if inner and path == f"{_BEFORE}{inner}{_AFTER}" else None


def _decoded(body: bytes) -> Alert:
    try:
        return msgspec.json.decode(body or b"{}", type=Alert)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refused(400, "unparseable", f'send {{"reason": "..."}} as JSON: {error}') from None


def _is_over(status: str | None) -> bool:
    """Whether the alert is no longer, or not yet, one. Raises Refused for a word that nobody knows."""
    if status is None:
        return False
    word = "".join(letter for letter in status.casefold() if letter.isalnum())
    if word not in _FIRING | _OVER:
        raise Refused(
            400,
            "bad_status",
            f"status {status[:40]!r}: one of {', '.join(sorted(_FIRING | _OVER))}, or leave it out to roll back",
        )
    return word in _OVER


def _reason(alert: Alert) -> str:
    """Why, on one line of at most REASON_LETTERS characters."""
    notes = alert.common_annotations
    words = [alert.reason or next((notes[name] for name in _TELLING if name in notes), "")]
    if not alert.reason:
        words.insert(0, alert.common_labels.get("alertname"))
    text = ": ".join(part for part in words if isinstance(part, str) and part.strip())
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:REASON_LETTERS]
