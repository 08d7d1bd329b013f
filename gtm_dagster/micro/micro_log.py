"""The event log of a micro collector: every record in memory, in its order, and what each came as."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog import AppendResult, Refusal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXTS = (
    "source",
    "medium",
    "campaign",
    "term",
    "content",
    "click_id",
    "device_type",
    "locale",
    "page_url",
    "referrer",
)
_CONTEXT = (*_TEXTS, "country", "region", "timezone")
MAX_RECORDS = 100_000
"""A micro that nobody resets forgets the oldest beyond this many, but counts them."""


class PlainOriginals:
    """Keeps originals as they are, in the place of the seal of a deployment."""

    def seal(self, plain: bytes) -> bytes:
        """The original itself."""
        return plain


class MicroLog:
    """Takes what a collector appends. Thread safe; `reset` forgets everything, the ids of duplicates too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Begins anew."""
        with self._lock:
            self._records: list[tuple[str, Record]] = []
            self._refused: list[dict[str, Any]] = []
            self._counts = dict.fromkeys(("accepted", "duplicates", "quarantined", "suppressed", "refused"), 0)
            self._seen: dict[tuple[str, str | None], Record] = {}
            self._stored = 0

    def submit_refusals(self, rows: tuple[Refusal, ...]) -> Future[int]:
        """Nothing to do: `refuse` has what was refused, with its answer."""
        done: Future[int] = Future()
        done.set_result(len(rows))
        return done

    def submit(self, records: list[Record]) -> Future[AppendResult]:
        """Stores the records; done at once."""
        with self._lock:
            first, statuses = self._stored + 1, [self._take(record) for record in records]
            result = AppendResult(
                first,
                self._stored,
                statuses.count("accepted"),
                statuses.count("duplicate") + statuses.count("conflict"),
                statuses,
            )
        done: Future[AppendResult] = Future()
        done.set_result(result)
        return done

    def _take(self, record: Record) -> str:
        status = record.verdict
        if status == "accepted":
            content = msgspec.structs.replace(record, received_us=0, sealed=None, trace_id=None)
            first = self._seen.setdefault((record.write_key, record.event_id), content)
            if first is not content:
                status = "duplicate" if first == content else "conflict"
        self._counts["duplicates" if status in ("duplicate", "conflict") else status] += 1
        if status not in ("duplicate", "conflict"):
            self._stored += 1
            self._records.append((status, record))
            del self._records[:-MAX_RECORDS]
        return status

    def submit_beat(self, *_: Any, **__: Any) -> Future[bool]:
        """Takes a heartbeat and forgets it."""
        done: Future[bool] = Future()
        done.set_result(True)
        return done

    def writer_fault(self) -> None:
        """Memory has no faults."""

    def refuse(self, path: str, status: int, error: Any) -> None:
        """Remembers a request that was answered with an error, of which no event was looked at."""
        with self._lock:
            self._counts["refused"] += 1
            self._refused.append({"path": path, "status": status, "errors": [error]})
            del self._refused[:-MAX_RECORDS]

    def counts(self) -> dict[str, int]:
        """Events by what became of them, `total` of all; `refused` counts requests, and `total` leaves them out."""
        with self._lock:
            counts = dict(self._counts)
        return {"total": sum(counts.values()) - counts["refused"], **counts}

    def good(self) -> list[dict[str, Any]]:
        """The accepted events in their order, as they land but with identifiers as sent."""
        with self._lock:
            records = list(self._records)
        return [_shown(record) for status, record in records if status == "accepted"]

    def bad(self) -> list[dict[str, Any]]:
        """What was not accepted: quarantined and suppressed events with every reason and the event as sent, where one is
        kept; then refused requests.
        """
        with self._lock:
            records, refused = list(self._records), list(self._refused)
        return [_reasons(status, record) for status, record in records if status != "accepted"] + [
            {"status": "refused", "event_id": None, "event_name": None, "event": None, "errors": one["errors"],
             "request": {"path": one["path"], "status": one["status"]}} for one in refused
        ]  # fmt: skip


def _shown(record: Record) -> dict[str, Any]:
    context = {name: value for name in _CONTEXT if (value := getattr(record, name)) is not None}
    if record.consent is not None:
        context["consent"] = msgspec.json.decode(record.consent)
    return {
        "event_id": record.event_id,
        "event_name": record.event_name,
        "timestamp": _time(record.event_us),
        "user_id": record.user_id,
        "anonymous_id": record.anonymous_id,
        "session_id": record.session_id,
        "properties": msgspec.json.decode(record.properties or "{}"),
        "context": context,
        "write_key": record.write_key,
        "received_at": _time(record.received_us),
        "bot_reason": record.bot_reason,
        "trace_id": record.trace_id,
    }


def _reasons(status: str, record: Record) -> dict[str, Any]:
    errors = msgspec.json.decode(record.errors) if record.errors else []
    if not errors and record.reason_codes:
        errors = [{"path": "", "code": code, "message": ""} for code in record.reason_codes.split(",")]
    return {
        "status": status,
        "event_id": record.event_id,
        "event_name": record.event_name,
        "event": _original(record.sealed),
        "errors": errors,
        "write_key": record.write_key,
    }


def _original(raw: bytes | None) -> Any:
    """The event as sent; its text where it is no JSON."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw.decode("utf-8", "replace")


def _time(us: int | None) -> str | None:
    return None if us is None else (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
