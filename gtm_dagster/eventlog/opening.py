"""`open_log`: the log a deployment's settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.eventlog.log import EventLog, EventLogError

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings


def open_log(settings: Settings) -> EventLog:
    """The deployment's log, made when there is none; close it, or use it in a `with`.

    Raises EventLogError when it cannot be opened, NewerFormatError when a newer version wrote it.
    """
    if settings.event_log is not None:
        return _topic_log(settings, settings.event_log)
    from gtm_dagster.eventlog.sqlite import SqliteEventLog

    return SqliteEventLog(settings.log_path, dedup_days=settings.dedup_days)


def log_exists(settings: Settings) -> bool:
    """Whether there may be a log: a topic is looked up, and made, by whoever opens it."""
    return settings.event_log is not None or settings.log_path.exists()


def log_place(settings: Settings) -> str:
    """The log's address or file, for messages."""
    return settings.event_log or str(settings.log_path)


def _topic_log(settings: Settings, address: str) -> EventLog:
    from gtm_dagster.eventlog.kafka import LONGEST_EVENT_BYTES, KafkaEventLog
    from gtm_dagster.eventlog.kafka_topic import Topic, client_of

    topic = Topic.at(address, settings.kafka)
    client_of(topic, "Producer")  # said at the start, not with the first event
    if settings.collector.max_event_bytes > LONGEST_EVENT_BYTES:
        raise EventLogError(
            f"collector.max_event_bytes = {settings.collector.max_event_bytes}: with event_log = {address} it is at most "
            f"{LONGEST_EVENT_BYTES}, brokers take messages of 1 MB"
        )
    folder = settings.state_dir / "kafka" / topic.name
    return KafkaEventLog(topic, folder, settings.dedup_days, settings.quarantine.days)
