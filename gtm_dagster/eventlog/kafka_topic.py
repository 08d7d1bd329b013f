"""The topic that is the event log: its address, the settings of the client, and the topic itself as the broker has it.

`confluent_kafka` is imported when a broker is used, and nowhere else in the house.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from gtm_dagster.eventlog.log import EventLogError
from gtm_dagster.settings.broker import Kafka

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

REQUEST_SECONDS = 5.0
"""Longest wait for the broker's answer to a question about the topic."""
SEGMENT_DAY_MS = 86_400_000
"""The broker deletes whole segments: one holds a day at most, so a record outlives `retention.ms` by a day at most."""
_SECRETS = ("password", "secret", ".pem", "sasl.oauthbearer.config")
_client_log = logging.getLogger("gtm_dagster.eventlog.kafka")


class TopicRefusedError(EventLogError):
    """The topic is there and may not be used as it is; the message says what to change."""


class Topic(msgspec.Struct, frozen=True):
    """Where the log is: the brokers to begin with, the topic's name, and what the settings say about both."""

    servers: str
    name: str
    settings: Kafka = Kafka()

    @property
    def place(self) -> str:
        """The address, as messages name it."""
        return f"kafka://{self.servers}/{self.name}"

    @classmethod
    def at(cls, address: str, settings: Kafka) -> Topic:
        """The topic at `kafka://host:port[,host:port]/topic`."""
        servers, _, name = address.removeprefix("kafka://").partition("/")
        return cls(servers, name, settings)


def client_of(topic: Topic, what: str) -> Any:
    """The module `confluent_kafka`, or the part `what` of it. Raises EventLogError when the extra is not installed."""
    try:
        import confluent_kafka
        import confluent_kafka.admin
    except ImportError as error:
        raise EventLogError(
            f"{topic.place}: the client of Kafka is not installed ({error}); pip install 'gtm-dagster[kafka]', or unset event_log"
        ) from error
    return getattr(confluent_kafka.admin if what in ("AdminClient", "NewTopic") else confluent_kafka, what)


def client_settings(topic: Topic, **own: Any) -> dict[str, Any]:
    """The settings of librdkafka: those of the deployment, and `own` (dots written as underscores) over them."""
    settings = topic.settings
    given: dict[str, Any] = dict(settings.client)
    if secrets := [name for name in given if name.endswith(_SECRETS)]:
        raise EventLogError(
            f"{topic.place}: kafka.client holds {secrets[0]}: a secret never stands in settings; kafka.password_env names the "
            "variable with sasl.password, and keys of TLS are files (ssl.key.location)"
        )
    if settings.password_env:
        if settings.password_env not in os.environ:
            raise EventLogError(f"{topic.place}: kafka.password_env names {settings.password_env}, which is not set")
        given["sasl.password"] = os.environ[settings.password_env]
    base = {
        "bootstrap.servers": topic.servers, "client.id": "gtm-dagster", "logger": _client_log,
        "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 1_000, "socket.timeout.ms": 10_000,
    }  # fmt: skip
    return (
        base
        | given
        | {
            name if name.endswith("_cb") or name.startswith("on_") else name.replace("_", "."): value
            for name, value in own.items()
        }
    )


def made(topic: Topic, kind: str, **own: Any) -> Any:
    """A client of `kind`: Producer, Consumer or AdminClient. Raises EventLogError when librdkafka refuses its settings."""
    refusal = client_of(topic, "KafkaException")
    try:
        return client_of(topic, kind)(client_settings(topic, **own))
    except (refusal, ValueError, TypeError) as error:
        raise EventLogError(f"{topic.place}: the client of Kafka refuses its settings ({reason(error)})") from error


def reason(error: BaseException) -> str:
    """What librdkafka says, in one line."""
    cause = error.args[0] if error.args else error
    text = cause.str() if hasattr(cause, "str") else str(cause)
    return " ".join(text.split())


class TopicState(msgspec.Struct, frozen=True):
    """The topic as the broker has it: its id, and its partitions."""

    topic_id: str
    partitions: tuple[int, ...]


def look_up(topic: Topic, admin: AdminClient) -> TopicState | None:
    """The topic at the broker; None when it has none of this name. Raises EventLogError when the broker does not answer."""
    refusal, collection = client_of(topic, "KafkaException"), client_of(topic, "TopicCollection")
    try:
        found = admin.describe_topics(collection([topic.name]), request_timeout=REQUEST_SECONDS)[topic.name].result()
    except refusal as error:
        if error.args[0].code() == client_of(topic, "KafkaError").UNKNOWN_TOPIC_OR_PART:
            return None
        raise EventLogError(f"{topic.place}: the broker does not say what the topic is ({reason(error)})") from error
    return TopicState(str(found.topic_id), tuple(sorted(part.id for part in found.partitions)))


def ensure(topic: Topic, admin: AdminClient, keep_days: int) -> TopicState:
    """The topic, made when there is none; its records stay `keep_days` at most, or `retention_days` where that is less.

    Raises EventLogError, also when the topic was made to keep records for longer than `keep_days` (0: any time is right).
    """
    found = look_up(topic, admin)
    if found is None:
        _make(topic, admin, keep_days)
        until = time.monotonic() + REQUEST_SECONDS
        while (found := look_up(topic, admin)) is None and time.monotonic() < until:
            time.sleep(0.05)  # the broker answers before it knows the topic itself
        if found is None:
            raise EventLogError(f"{topic.place}: the topic was made and is not there yet; it will be tried again")
    elif keep_days:
        _check_retention(topic, admin, keep_days)
    return found


def _make(topic: Topic, admin: AdminClient, keep_days: int) -> None:
    refusal, error_of = client_of(topic, "KafkaException"), client_of(topic, "KafkaError")
    days = min(topic.settings.retention_days, keep_days or topic.settings.retention_days)
    config = {"retention.ms": str(days * 86_400_000), "segment.ms": str(SEGMENT_DAY_MS), "cleanup.policy": "delete"}
    new = client_of(topic, "NewTopic")(topic.name, topic.settings.partitions, -1, config=config)
    try:
        admin.create_topics([new], request_timeout=REQUEST_SECONDS, operation_timeout=REQUEST_SECONDS)[
            topic.name
        ].result()
    except refusal as error:
        if error.args[0].code() != error_of.TOPIC_ALREADY_EXISTS:
            raise EventLogError(f"{topic.place}: the topic cannot be made ({reason(error)})") from error


def _check_retention(topic: Topic, admin: AdminClient, keep_days: int) -> None:
    refusal, resource = client_of(topic, "KafkaException"), _resource(topic)
    try:
        config = admin.describe_configs([resource], request_timeout=REQUEST_SECONDS)[resource].result()
    except refusal as error:
        raise EventLogError(
            f"{topic.place}: the broker does not say how long it keeps records ({reason(error)})"
        ) from error
    kept_ms = int(config["retention.ms"].value)
    if kept_ms < 0 or kept_ms > keep_days * 86_400_000:
        kept = "for ever" if kept_ms < 0 else f"for {kept_ms / 86_400_000:g} days"
        raise TopicRefusedError(
            f"{topic.place}: the topic keeps records {kept}, and with them the sealed originals of refused events, which end after "
            f"quarantine.days = {keep_days}; set retention.ms of the topic to {keep_days * 86_400_000} or less, or quarantine.days to 0"
        )


def _resource(topic: Topic) -> Any:
    from confluent_kafka.admin import ConfigResource, ResourceType

    return ConfigResource(ResourceType.TOPIC, topic.name)
