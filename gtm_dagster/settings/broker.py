"""The event log behind a broker: its address, and what is asked of the client, the topic and the spool."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from gtm_dagster.settings.values import Count, Positive

LogAddress = Annotated[
    str,
    Meta(
        pattern=r"^kafka://[^/\s@?#]+/[A-Za-z0-9._-]{1,200}$",
        description="an address such as kafka://host:9092/topic, or kafka://host1:9092,host2:9092/topic",
    ),
]


class Kafka(Struct, frozen=True, forbid_unknown_fields=True):
    """Used when `event_log` is a kafka:// address.

    `partitions`, `retention_days`: of the topic when this deployment makes it. `ack_seconds`: longest wait for the broker
    before events go to the spool, on the collector's disk; `spool_events`: the most that it takes before senders are asked
    to come back. `client`: settings of librdkafka such as { "security.protocol" = "SASL_SSL" }; `password_env`: the
    variable that holds sasl.password.
    """

    partitions: Annotated[int, Meta(ge=1, le=1000)] = 4
    retention_days: Count = 7
    ack_seconds: Positive = 2.0
    spool_events: Count = 1_000_000
    client: dict[str, str | int | float | bool] = {}
    password_env: str | None = None
