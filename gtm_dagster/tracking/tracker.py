"""`GtmTracker`: what a product calls. Validates events by the plan and queues them for delivery."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from gtm_dagster.taxonomy import Plan, load_plan
from gtm_dagster.tracking.buffer import Buffer
from gtm_dagster.tracking.collector_client import Transport, base_url, checked_key
from gtm_dagster.tracking.consent_gate import Consent
from gtm_dagster.tracking.delivery_log import OnDrop
from gtm_dagster.tracking.event_builder import BuiltEvent, EventBuilder
from gtm_dagster.tracking.process_end import EXIT_TIMEOUT
from gtm_dagster.tracking.sender import Sender
from gtm_dagster.tracking.tracker_stats import TrackerStats


class GtmTracker:
    """Sends events to a collector from a background thread; thread safe, one per process.

    `endpoint` is the collector's URL, with or without `/ingest`. A batch leaves when `batch_size` events wait or the
    oldest has waited `flush_interval` seconds. A batch that fails is tried `retries` more times (full jitter, at least
    the collector's Retry-After), then goes back to the front of the queue. More than `max_queue` waiting events drop
    the oldest; `on_drop(reason, event_ids)` is called from the thread that notices, and a warning is logged.
    `spool` names a file, one per process, that keeps unsent events across a crash of the process.
    `producer` names this program in heartbeats (default: OTEL_SERVICE_NAME, else the host's name); processes of one name
    count as one producer. A heartbeat leaves every 30 s, and with batches at most every 5 s: it says up to when everything was
    delivered (just before the oldest event that waits), and guards are evaluated no later than that. A close that delivered
    everything forgets the producer; one that crashed or left events behind holds the guards it serves for ten minutes or until it is back.

    `device_type` (web, mobile or api) goes into every context that has none. The default `api` is a backend's: such an
    event is a fact about a person and never a visit. It is left out where the context names a page, a referrer or a
    source, and the collector takes that event for web; None always leaves it out. `consent` (analytics, marketing,
    personalization: bool) goes into every context; what a call says of a purpose wins. Without
    `consent={"analytics": True}`, here or in the call, a collector that requires consent keeps no event that rests on it.
    Given by person, as a function of (user id, anonymous id) or a mapping from ids, `consent` is a gate: an event that
    rests on consent is not sent, and counted as `withheld`, unless its person agreed to analytics. With `pseudonym_key`,
    the deployment's key, identifiers and personal properties leave the process as the pseudonyms that the collector
    would store. Inside a request of `AsgiRequests` or `WsgiRequests` the context of the request goes into every event.

    Call `close()` at the end, or use it as a context manager. Otherwise what waits is sent for at most `EXIT_TIMEOUT`
    seconds at a normal exit, at the end of a process of `multiprocessing`, and at SIGTERM: a handler that the
    application has is called at once, and a process without one ends with the signal when all is sent
    (`handle_sigterm=False` leaves the signal alone; so does a tracker that is not made in the main thread). A process that
    ends by `os._exit` has to call `close()` before. A forked child starts with an empty queue and, from its first event
    on, a thread and a spool of its own. ValueError for an endpoint, write key, number, device type or purpose that there is not.
    """

    def __init__(
        self,
        endpoint: str,
        write_key: str,
        *,
        batch_size: int = 50,
        flush_interval: float = 5.0,
        retries: int = 3,
        spool: str | os.PathLike[str] | None = None,
        max_queue: int = 10_000,
        plan: Plan | None = None,
        producer: str | None = None,
        on_drop: OnDrop | None = None,
        device_type: str | None = "api",
        consent: Consent = None,
        pseudonym_key: bytes | str | None = None,
        handle_sigterm: bool = True,
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("retries", retries, 0), ("max_queue", max_queue, 1)):
            if value < least:
                raise ValueError(f"{name}={value!r} is below {least}")
        if not flush_interval > 0:
            raise ValueError(f"flush_interval={flush_interval!r} must be seconds above 0")
        self.builder = EventBuilder(plan if plan is not None else load_plan(), device_type, consent, pseudonym_key)
        url = base_url(endpoint)  # before the spool is opened and locked
        checked_key(write_key)
        self.buffer = Buffer(
            batch_size=batch_size,
            flush_interval=flush_interval,
            max_queue=max_queue,
            spool=None if spool is None else Path(spool),
            on_drop=on_drop,
        )
        self.sender = Sender(
            self.buffer,
            lambda: Transport(url, write_key),
            retries=retries,
            producer=producer or _own_name(),
            handle_sigterm=handle_sigterm,
        )

    def track(
        self,
        event_name: str,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: datetime | str | None = None,
        event_id: str | None = None,
    ) -> str:
        """Queues one event and returns its id at once; nothing waits for the network.

        `timestamp` is when it happened (aware datetime or RFC 3339 text; now when None). An id that is empty or a word
        for nothing (`None`, `undefined`) is absent, so `user_id=user or ""` is fine beside an anonymous id. Raises
        InvalidEvent with every reason when the event breaks the plan, RuntimeError after `close()`.
        """
        return self.queue(
            self.builder.build(event_name, user_id, anonymous_id, session_id, properties, context, timestamp, event_id)
        )

    def queue(self, built: BuiltEvent) -> str:
        """Queues an event that is built, unless its person did not agree to it; returns its id."""
        if built.line is None:
            self.buffer.withhold()
            return built.event_id
        if not self.sender.is_started:
            self.sender.start()
        self.buffer.put(built.event_id, built.line, built.event_us)
        return built.event_id

    def identify(self, user_id: str, anonymous_id: str) -> str:
        """Says that the visitor `anonymous_id` is `user_id` (the event `user_identified`); returns the event's id."""
        return self.track("user_identified", user_id=user_id, anonymous_id=anonymous_id)

    def flush(self, timeout: float | None = None) -> bool:
        """Sends what waits now; True when the collector answered for all of it.

        False when `timeout` seconds passed, when a batch failed after its retries (it stays queued), or when events
        were dropped. Without a timeout it waits for the first of these.
        """
        return self.sender.flush(timeout)

    def close(self, timeout: float = EXIT_TIMEOUT) -> None:
        """Sends what waits for at most `timeout` seconds and stops the thread; further `track` raises RuntimeError.

        What could not be sent stays in the spool when there is one; else it is lost and a warning says how much.
        """
        self.sender.close(timeout)

    def stats(self) -> TrackerStats:
        """The counts so far, at one instant."""
        return self.buffer.stats()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _own_name() -> str:
    """A name that outlives a container, where one is given: a new one for each would be a new producer each."""
    service = os.environ.get("OTEL_SERVICE_NAME", "").strip()
    return service if service and not any(letter.isspace() for letter in service) else socket.gethostname()
