"""From the topic `actions` into the outbox of `triggers.db`, where `gtm deliver` finds messages, with the consent it asks again.

Reading twice adds nothing: an action's id is the key of its row, and profiles merge in any order.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.delivery.message_outbox import add_messages
from gtm_dagster.eventlog.kafka_topic import client_of
from gtm_dagster.triggers.person_profile import NOBODY, Profile, merged_profile
from gtm_dagster.triggers.sharded.resolver_process import LINK
from gtm_dagster.triggers.sharded.shard_journal import ShardAction
from gtm_dagster.triggers.sharded.shard_messages import decoded_profile
from gtm_dagster.triggers.sharded.shard_store import profile_record
from gtm_dagster.triggers.sharded.shard_topics import ShardTopics
from gtm_dagster.triggers.trigger_db import open_trigger_db

POLL_SECONDS = 0.1
_action = msgspec.json.Decoder(ShardAction).decode
_pack = msgspec.msgpack.Encoder().encode
_profile = msgspec.msgpack.Decoder(Profile).decode


class OutboxProcess:
    """Fills the outbox of `path`; one for each `triggers.db`, since all of a group share the topics."""

    def __init__(self, topics: ShardTopics, path: Path) -> None:
        self._topics = topics
        self._con = open_trigger_db(path)
        self._consumer = topics.client(
            "Consumer", group_id=f"{topics.prefix}.outbox", enable_auto_commit=False, isolation_level="read_committed",
            auto_offset_reset="earliest", fetch_wait_max_ms=20, session_timeout_ms=10_000,
        )  # fmt: skip
        self._consumer.subscribe([topics.actions, topics.changelog, topics.profiles, topics.resolver])

    def round(self) -> int:
        """What the topics hold now, up to 1,000 messages, in one transaction; how many messages it took."""
        found = self._consumer.consume(1000, timeout=POLL_SECONDS)
        for message in found:
            if (error := message.error()) is not None and error.fatal():
                raise client_of(self._topics.topic(self._topics.prefix), "KafkaException")(error)
        messages = [message for message in found if message.error() is None]
        if messages:
            self._store(messages)
            self._consumer.commit(asynchronous=False)
        return len(messages)

    def close(self) -> None:
        self._consumer.close()
        self._con.close()

    def _store(self, messages: list[Any]) -> None:
        con, topics = self._con, self._topics
        con.execute("BEGIN IMMEDIATE")
        try:
            for message in messages:
                topic, key, value = message.topic(), message.key(), message.value()
                if topic == topics.actions:
                    action = _action(value)
                    _merge_profile(con, action.person, action.profile)
                    add_messages(con, [action])
                elif topic == topics.changelog and value is not None and (profile := profile_record(key, value)):
                    _merge_profile(con, *profile)
                elif topic == topics.profiles:
                    update = decoded_profile(value)
                    _merge_profile(con, update.person, update.profile)
                elif topic == topics.resolver and key.startswith(LINK):
                    anonymous = key.removeprefix(LINK).decode()
                    con.execute("INSERT OR IGNORE INTO links VALUES (?, ?)", (anonymous, value.decode()))
            con.execute("COMMIT")
        finally:
            if con.in_transaction:
                con.execute("ROLLBACK")


def _merge_profile(con: sqlite3.Connection, person: str, profile: Profile) -> None:
    row = con.execute("SELECT profile FROM persons WHERE person = ?", (person,)).fetchone()
    known = NOBODY if row is None or row[0] is None else _profile(row[0])
    if (merged := merged_profile(known, profile)) != known:
        con.execute(
            "INSERT INTO persons (person, profile) VALUES (?, ?) ON CONFLICT (person) DO UPDATE SET profile = excluded.profile",
            (person, _pack(merged)),
        )
