"""Who a person is, decided once and in the order of the log, so that each partition sees its persons' events under one id."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from gtm_dagster.triggers.sharded.shard_messages import (
    Arrives,
    Erase,
    Happened,
    Leaves,
    Linked,
    Message,
    Sends,
    shard_of,
)
from gtm_dagster.triggers.trigger_event import TriggerEvent

Addressed = tuple[int, Message]
"""A partition and what it is messages."""


class PersonResolver:
    """`users`: of each anonymous id that belongs to one. `senders`: (event, write key) that were seen. Both only grow.

    `new_users`: the anonymous ids among `users` that whoever keeps them has not stored yet.
    """

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.users: dict[str, str] = {}
        self.senders: set[tuple[str, str]] = set()
        self.new_users: list[str] = []

    def erase(self, persons: Iterable[str], at_us: int) -> tuple[list[Addressed], list[str]]:
        """Persons and the anonymous ids that belong to them are to be erased: what the partitions get, and the ids, whose
        links are gone.
        """
        wanted = set(persons)
        names = sorted(wanted | {anonymous for anonymous, user in self.users.items() if user in wanted})
        for name in names:
            self.users.pop(name, None)
        self.new_users = [name for name in self.new_users if name in self.users]
        return [(shard_of(name, self.shards), Erase(name, at_us)) for name in names], names

    def take(self, seq: int, event: TriggerEvent, cancelling: Collection[str]) -> list[Addressed]:
        """What the record at offset `seq` means to the partitions. `cancelling`: the events that end what is open."""
        messages: list[Addressed] = []
        if event.name in cancelling and event.write_key is not None:
            sender = event.name, event.write_key
            if sender not in self.senders:
                self.senders.add(sender)
                messages += self.to_all(Sends(event.received_us, *sender))
        user, anonymous = event.user_id, event.anonymous_id
        owner = self.users.get(anonymous) if anonymous else None
        if user and anonymous and owner is None:
            self.users[anonymous] = user
            self.new_users.append(anonymous)
            if anonymous != user:
                messages += self._link(seq, event.received_us, anonymous, user)
        if person := user or owner:
            event = replace(event, user_id=person, anonymous_id=None)
        else:
            person = anonymous or ""
        messages.append((shard_of(person, self.shards), Happened(seq, event)))
        return messages

    def to_all(self, message: Message) -> list[Addressed]:
        """`message` to every partition."""
        return [(shard, message) for shard in range(self.shards)]

    def _link(self, seq: int, received_us: int, anonymous: str, user: str) -> list[Addressed]:
        source, target = shard_of(anonymous, self.shards), shard_of(user, self.shards)
        if source == target:
            return [(source, Linked(seq, received_us, anonymous, user))]
        return [
            (source, Leaves(seq, received_us, anonymous, user, target)),
            (target, Arrives(seq, received_us, anonymous, user)),
        ]
