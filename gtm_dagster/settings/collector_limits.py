"""Address and limits of the HTTP edge, and how many events a key may send."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from gtm_dagster.settings.values import Count, Name, Positive

WebOrigin = Annotated[
    str,
    Meta(
        pattern=r"^(\*|https?://[^/\s]+)$", description="an origin such as https://shop.example, without a path, or *"
    ),
]


class RateLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """`events_per_second` in the long run, and `burst` events at once; None: those of ten seconds."""

    events_per_second: Positive
    burst: Count | None = None

    @property
    def burst_events(self) -> int:
        """Events that may come at once, at least 1."""
        return self.burst or max(round(10 * self.events_per_second), 1)


class Collector(Struct, frozen=True, forbid_unknown_fields=True):
    """Address and limits of the HTTP edge; sizes in bytes after decompression, deadlines in seconds.

    `hosts`: names beside localhost by which programs of this machine call a collector on loopback without a key.
    `cors_origins`: origins whose pages may send and read the answer, such as https://shop.example; * is every one.
    `client_ids`: what clients send instead of a key, such as the app id of Snowplow's trackers or a project's key at another
    product; each stands for the client key of that name.
    `workers`: processes that serve the port. `rate_limit`: of every write key; None: none. `rate_limits`: of keys by name,
    instead of that. `drain_seconds`: how long a collector that stops still takes events while /readyz is 503 already.
    """

    host: Name = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8377
    hosts: tuple[Name, ...] = ()
    cors_origins: tuple[WebOrigin, ...] = ()
    client_ids: dict[str, Name] = {}
    max_body_bytes: Count = 5_000_000
    max_event_bytes: Count = 64_000
    max_batch_events: Count = 5_000
    max_waiting_events: Count = 50_000
    header_timeout_seconds: Positive = 8.0
    body_timeout_seconds: Positive = 8.0
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    rate_limit: RateLimit | None = None
    rate_limits: dict[Name, RateLimit] = {}
    drain_seconds: Annotated[float, Meta(ge=0, le=300)] = 0.0
