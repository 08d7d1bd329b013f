"""The state of one shard in memory, and what of it changed, as records of a compacted changelog."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import msgspec

from gtm_dagster.triggers.admit import Ledger
from gtm_dagster.triggers.message_payload import Started
from gtm_dagster.triggers.person_profile import NOBODY, Profile
from gtm_dagster.triggers.rule_state import EMPTY, RuleState, decoded, encoded
from gtm_dagster.triggers.state_store import MemoryStore, Place

Key = tuple[str, ...]
"""("state", rule, person), ("ledger", person), ("profile", person) or ("start", rule, event id)."""
META, RULES = b"meta", b"rules"
"""Keys of what a shard knows beside its persons."""
_pack = msgspec.msgpack.Encoder().encode
_key = msgspec.msgpack.Decoder(Key).decode
_state = msgspec.msgpack.Decoder(tuple[int | None, bytes]).decode
_ledger = msgspec.msgpack.Decoder(Ledger).decode
_profile = msgspec.msgpack.Decoder(Profile).decode
_started = msgspec.msgpack.Decoder(Started).decode


def person_record(key: bytes, value: bytes) -> tuple[str, Profile | Ledger] | None:
    """The person of a changelog record and their profile or ledger; None for any other record."""
    if key in (META, RULES):
        return None
    match _key(key):
        case ("profile", person):
            return person, _profile(value)
        case ("ledger", person):
            return person, _ledger(value)
    return None


class ShardStore(MemoryStore):
    """A StateStore whose changes since the last `changes` are known. `starts`: what is known of open starts, by (rule, event id);
    `open`, `held`: how many wait, by rule.
    """

    def __init__(self) -> None:
        super().__init__()
        self.starts: dict[Place, Started] = {}
        self.open: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self._rules_of: defaultdict[str, set[str]] = defaultdict(set)
        self._changed: set[Key] = set()

    def set_state(self, rule: str, person: str, state: RuleState, wake_us: int | None) -> None:
        if self._armed.get((rule, person)) == wake_us and self.state(rule, person) == state:
            return
        self._count(rule, self.state(rule, person), -1)
        self._count(rule, state, 1)
        super().set_state(rule, person, state, wake_us)
        if state == EMPTY:
            self._rules_of[person].discard(rule)
            if not self._rules_of[person]:
                del self._rules_of[person]
        else:
            self._rules_of[person].add(rule)
        self._changed.add(("state", rule, person))

    def set_ledger(self, ledger: Ledger) -> None:
        super().set_ledger(ledger)
        self._changed.add(("ledger", ledger.person))

    def set_profile(self, person: str, profile: Profile) -> None:
        super().set_profile(person, profile)
        self._changed.add(("profile", person))

    def take_person(self, person: str) -> tuple[Profile, Ledger, dict[str, RuleState]]:
        states = {rule: self.states[rule, person] for rule in sorted(self._rules_of.get(person, ()))}
        for rule in states:
            self.set_state(rule, person, EMPTY, None)
        self._changed |= {("ledger", person), ("profile", person)}
        return self.profiles.pop(person, NOBODY), self.ledgers.pop(person, Ledger(person)), states

    def take_due(self, due_us: int) -> list[Place]:
        places = super().take_due(due_us)
        self._changed |= {("state", *place) for place in places}
        return places

    def take_waiting(self, wall_us: int) -> list[Place]:
        places = super().take_waiting(wall_us)
        self._changed |= {("state", *place) for place in places}
        return places

    def set_start(self, place: Place, started: Started) -> None:
        """Remember what a message may say of the start at `place`."""
        if place not in self.starts:
            self.starts[place] = started
            self._changed.add(("start", *place))

    def take_start(self, place: Place) -> Started | None:
        """What was remembered of a start, which is forgotten."""
        if (started := self.starts.pop(place, None)) is not None:
            self._changed.add(("start", *place))
        return started

    def changes(self) -> dict[bytes, bytes | None]:
        """Changelog records since the last call; None: the key has no value any more."""
        records = {_pack(key): self._value(key) for key in sorted(self._changed)}
        self._changed.clear()
        return records

    def restore(self, key: bytes, value: bytes) -> None:
        """Take a record of the changelog."""
        match _key(key):
            case ("state", rule, person):
                wake_us, state = _state(value)
                self.set_state(rule, person, decoded(state), wake_us)
            case ("ledger", _):
                self.set_ledger(_ledger(value))
            case ("profile", person):
                self.set_profile(person, _profile(value))
            case ("start", rule, event_id):
                self.set_start((rule, event_id), _started(value))
        self._changed.clear()

    @property
    def timers(self) -> int:
        """How many places wait for a time."""
        return len(self._armed)

    def _count(self, rule: str, state: RuleState, sign: int) -> None:
        if state.open:
            held = sum(each.held != "" for each in state.open)
            self.held[rule] += sign * held
            self.open[rule] += sign * (len(state.open) - held)

    def _value(self, key: Key) -> bytes | None:
        kind, *rest = key
        value: Any
        if kind == "state":
            rule, person = rest
            state = self.states.get((rule, person))
            return None if state is None else _pack((self._armed.get((rule, person)), encoded(state)))
        if kind == "start":
            value = self.starts.get((rest[0], rest[1]))
        else:
            value = (self.ledgers if kind == "ledger" else self.profiles).get(rest[0])
        return None if value is None else _pack(value)
