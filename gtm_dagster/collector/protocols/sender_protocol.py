"""What the collector asks of a protocol: the events of a request, and the response for their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from gtm_dagster.collector.response import Refused, Response
from gtm_dagster.taxonomy import Plan


class IngestRequest(msgspec.Struct, frozen=True):
    """A request whose key and size were accepted: its path without a trailing slash, its unpacked body, the most events it
    may hold, and from which size on an event is quarantined without a look inside.

    `headers`: those a protocol may need, by lower-case name. `received_us`: when it came, microseconds UTC. `plan`: for the
    names its events have in it. `is_query`: the body is the query of a GET.
    """

    path: str
    body: bytes
    max_events: int
    max_event_bytes: int
    headers: Mapping[str, str]
    received_us: int
    plan: Plan
    is_query: bool = False


class EventResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The verdict on one event as its sender sees it: accepted, duplicate, quarantined or suppressed, and the reasons.

    `event_id` is the id as sent, or the one the door made, None when it was unreadable; each of `errors` has path, code
    and message. `note`: what the sender had better know although the event is kept; left out where there is none.
    `offset`: where the event lies in the log, that of the first copy for a duplicate; `plan_version`: that it was judged by.
    Both are opaque, and left out where they are not known.
    """

    event_id: str | None
    status: str
    errors: list[dict[str, str]]
    note: str | None = None
    offset: str | None = None
    plan_version: str | None = None


class IngestResult(msgspec.Struct, frozen=True):
    """The results of a request after the log's commit, in the order of its events; `offset` is opaque to the sender."""

    results: list[EventResult]
    plan_version: str
    offset: str


@dataclass(frozen=True)
class SenderProtocol:
    """One way of sending events: the `paths` of its POST requests, and what a request and a response look like.

    `in_query`: its requests are GETs, whose query is the body. `keeps_too_large`: a request beyond the limits on size and
    count is answered as any other and quarantined as one event, because its clients would send it again for ever.

    `events` returns the JSON text of each event of a request and raises Refused for a request that holds none;
    `response` words the result. Where a protocol's clients put their key into the body, `key_of` returns it, None when
    there is none; it is asked of requests without a key in header or address, before anything else is looked at.
    `refusal`: what its clients look for in the body of an error beside `code` and `message`.
    """

    name: str
    paths: tuple[str, ...]
    events: Callable[[IngestRequest], list[bytes]]
    response: Callable[[IngestResult], Response]
    key_of: Callable[[IngestRequest], str | None] | None = None
    refusal: Callable[[Refused], dict[str, object]] | None = None
    in_query: bool = False
    keeps_too_large: bool = False
