"""What the shards publish, as rows of `triggers.db`: those the live runner would have written, for everybody who reads the file.

The same message twice changes nothing, and messages of different partitions may come in any order: an action's id is the key
of its row, a decided start stays decided, of two words on one that waits the later by the log's clock stays, profiles merge.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping

import msgspec

from gtm_dagster.delivery.feed_items import retract_items
from gtm_dagster.delivery.message_outbox import add_messages
from gtm_dagster.triggers import runner_rows as rows
from gtm_dagster.triggers.admit import Ledger
from gtm_dagster.triggers.erased_persons import Tombstones, erase_rows
from gtm_dagster.triggers.occurrence_journal import MOVE_ITEMS, MOVE_MESSAGES, MOVE_OCCURRENCES, PUT, SHOWN
from gtm_dagster.triggers.person_profile import NOBODY, Profile, merged_profile
from gtm_dagster.triggers.sharded.shard_journal import Refused, ShardAction
from gtm_dagster.triggers.sharded.shard_messages import RuleSet
from gtm_dagster.triggers.sharded.shard_meta import Meta, decoded_meta
from gtm_dagster.triggers.sharded.shard_starts import Ended, ErasedThere, Failed, StartMessage, Waits

_PUT_IN_ORDER = f"{PUT} AND (excluded.outcome NOT IN ('open', 'held') OR excluded.decided_us >= decided_us)"
_pack = msgspec.msgpack.Encoder().encode
_profile = msgspec.msgpack.Decoder(Profile).decode


def shard_metas(con: sqlite3.Connection) -> dict[int, Meta]:
    """How each shard stood at its last commit, by number."""
    return {
        number: decoded_meta(data) for number, data in con.execute("SELECT number, standing FROM shards ORDER BY 1")
    }


class ShardLedger:
    """Writes on `con`, in the caller's transaction; `begin` is called first in each. Times are microseconds UTC."""

    def __init__(self, con: sqlite3.Connection) -> None:
        self._con = con
        self._tombstones = Tombstones()
        self._now_us = 0
        self.erased = False
        """Whether a person was erased in this transaction."""

    def begin(self, now_us: int) -> None:
        """`now_us`: the machine's clock, from which on readers see the rows."""
        self._now_us, self.erased = now_us, False
        self._tombstones.look(self._con)

    def action(self, each: ShardAction) -> None:
        """A message: into the outbox, with its start and what was known of the person."""
        if self._is_erased(each.person):
            return
        self._merge_profile(each.person, each.profile)
        add_messages(self._con, [msgspec.structs.replace(each, person=self._user(each.person))])
        if not each.trigger_event_id:
            return
        self._put(
            each.rule, each.trigger_event_id, each.person, each.key, "sent", None, None, each.action_id, each.started_us,
            each.due_us, each.record_us, each.decided_us, None,
        )  # fmt: skip

    def refused(self, each: Refused) -> None:
        """A start that led to nothing."""
        self._put(
            each.rule, each.trigger_event_id, each.person, each.key, "not_sent", each.reason, each.detail or None, None,
            each.started_us, None, each.received_us, each.at_us, each.next_us,
        )  # fmt: skip

    def start(self, each: StartMessage) -> None:
        """A message of the topic `starts`."""
        con = self._con
        match each:
            case Waits():
                self._put(
                    each.rule, each.trigger_event_id, each.person, each.key, each.outcome, each.reason, None, None,
                    each.started_us, each.due_us, each.received_us, each.at_us, each.next_us,
                )  # fmt: skip
            case Ended():
                ends = (self._user(each.person), each.rule, each.key, each.at_us)
                retract_items(con, [row[0] for row in con.execute(SHOWN, ends)])
            case Failed():
                fault = (each.rule, each.person, each.event_id, each.at_us, each.error)
                known = con.execute(
                    "SELECT 1 FROM faults WHERE (rule, person, event_id, at_us, error) = (?, ?, ?, ?, ?)", fault
                )
                if known.fetchone() is None and not self._is_erased(each.person):
                    con.execute("INSERT INTO faults VALUES (?, ?, ?, ?, ?)", fault)
            case ErasedThere():
                erase_rows(con, {each.person}, each.at_us)
                self.erased = self._tombstones.look(con) or self.erased

    def person(self, person: str, found: Profile | Ledger) -> None:
        """What a shard knows of a person."""
        if self._is_erased(person):
            return
        if isinstance(found, Profile):
            self._merge_profile(person, found)
        else:
            self._con.execute(
                "INSERT INTO persons (person, ledger) VALUES (?, ?) ON CONFLICT (person) DO UPDATE SET ledger = excluded.ledger",
                (person, _pack(found)),
            )

    def link(self, anonymous: str, user: str) -> None:
        """An anonymous id is a user's, and so is what it did and got."""
        if self._is_erased(anonymous) or self._is_erased(user):
            return
        if self._con.execute("INSERT OR IGNORE INTO links VALUES (?, ?)", (anonymous, user)).rowcount:
            for statement in (MOVE_OCCURRENCES, MOVE_MESSAGES, MOVE_ITEMS):
                self._con.execute(statement, (user, anonymous))

    def rules(self, found: RuleSet) -> None:
        """The rules that the resolver gave the shards last."""
        rows.store_rules(self._con, found.rules)

    def standing(self, metas: Mapping[int, Meta]) -> None:
        """How shards stand, by number."""
        con = self._con
        con.executemany("INSERT OR REPLACE INTO shards VALUES (?, ?)", [(n, _pack(meta)) for n, meta in metas.items()])
        newest = max(metas.values(), key=lambda meta: meta.clock_us)  # all shards hear the same
        rows.store_watches(con, newest.watches)
        rows.store_senders(con, newest.senders)
        self._set_statuses()

    def _set_statuses(self) -> None:
        """A rule is degraded where one shard has stopped it, and paused where one has taken it."""
        metas = shard_metas(self._con).values()
        faults: Counter[str] = Counter()
        for meta in metas:
            faults.update(meta.faults)
        for name, before in rows.rule_statuses(self._con).items():
            found = {meta.status(name) for meta in metas}
            status = next((each for each in ("degraded", "paused") if each in found), "active")
            if (status, faults[name]) != before:
                self._con.execute(
                    "UPDATE rules SET status = ?, faults = ? WHERE name = ?", (status, faults[name], name)
                )

    def _put(self, rule: str, event_id: str, person: str, *columns: object) -> None:
        """`columns`: as `occurrences` has them, without `wall_us` and `start`."""
        if self._is_erased(person):
            return
        *others, next_us = columns
        values = (rule, event_id, self._user(person), *others, self._now_us, next_us, None)
        self._con.execute(_PUT_IN_ORDER, values)

    def _user(self, person: str) -> str:
        row = self._con.execute("SELECT user FROM links WHERE anonymous = ?", (person,)).fetchone()
        return person if row is None else str(row[0])

    def _is_erased(self, person: str) -> bool:
        return self._tombstones.has(person)

    def _merge_profile(self, person: str, profile: Profile) -> None:
        row = self._con.execute("SELECT profile FROM persons WHERE person = ?", (person,)).fetchone()
        known = NOBODY if row is None or row[0] is None else _profile(row[0])
        if (merged := merged_profile(known, profile)) != known:
            self._con.execute(
                "INSERT INTO persons (person, profile) VALUES (?, ?) ON CONFLICT (person) DO UPDATE SET profile = excluded.profile",
                (person, _pack(merged)),
            )
