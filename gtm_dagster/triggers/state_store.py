"""What an engine of rules needs of whoever keeps states (`StateStore`) and of whoever writes down what it did (`Journal`)."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from gtm_dagster.triggers.admit import Ledger
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.outcomes import Action, Hold, NonSend
from gtm_dagster.triggers.person_profile import NOBODY, Profile
from gtm_dagster.triggers.rule_state import EMPTY, RuleState
from gtm_dagster.triggers.trigger_event import TriggerEvent

Place = tuple[str, str]
"""A rule and a person."""


class StateStore(Protocol):
    """States, timers, ledgers, profiles and links. A (rule, person) has at most one timer."""

    def expect(self, person: str, rules: Sequence[str]) -> None:
        """The states of these rules are asked for next: a store that has to look them up does so at once."""
        ...

    def expect_all(self, wanted: Mapping[str, Collection[str]]) -> None:
        """The same of many persons: the states of these rules, by person, are most likely asked for soon."""
        ...

    def state(self, rule: str, person: str) -> RuleState: ...

    def set_state(self, rule: str, person: str, state: RuleState, wake_us: int | None) -> None:
        """Keep `state` (EMPTY is forgotten) and wake the place at `wake_us`, at no other time."""
        ...

    def ledger(self, person: str) -> Ledger: ...

    def set_ledger(self, ledger: Ledger) -> None: ...

    def profile(self, person: str) -> Profile: ...

    def set_profile(self, person: str, profile: Profile) -> None: ...

    def user_of(self, anonymous: str) -> str | None: ...

    def link(self, anonymous: str, user: str) -> None: ...

    def take_person(self, person: str) -> tuple[Profile, Ledger, dict[str, RuleState]]:
        """What was kept of a person, which is forgotten: its profile, its ledger, its states by rule."""
        ...

    def next_wake(self) -> int | None:
        """When the next timer is due."""
        ...

    def take_due(self, due_us: int) -> Sequence[Place]:
        """Places whose timer is due at exactly `due_us`, all of a person at once; their timers are gone."""
        ...

    def take_waiting(self, wall_us: int) -> Sequence[Place]:
        """Some of the places that wait for the log's end or are due by `wall_us`, all of a person at once; none at last."""
        ...

    def waiting_of(self, rule: str) -> Iterable[str]:
        """The persons with open starts of a rule."""
        ...

    def drop_rule(self, rule: str) -> Iterable[tuple[str, RuleState]]:
        """Forget a rule's states; returns those with open starts, by person."""
        ...


class Journal(Protocol):
    """Is told what happens, in order. Times are microseconds UTC by the log's clock."""

    def reading(self, event: TriggerEvent | None) -> None:
        """`event` is being taken; None: it is done."""
        ...

    def decided(self, at_us: int, person: str, what: Action | Hold | NonSend, started_us: int) -> None:
        """What became of a start, which was at `started_us`."""
        ...

    def moved(self, at_us: int, rule: Rule, person: str, before: RuleState, after: RuleState) -> None:
        """The open starts of a place are others now."""
        ...

    def ended(self, rule: Rule, person: str, event: TriggerEvent) -> None:
        """`event` ends what starts of `rule` led to, as far as the person has not taken notice of it."""
        ...

    def linked(self, anonymous: str, user: str) -> None:
        """What was the anonymous id's is the user's."""
        ...

    def fault(self, rule: str, person: str, error: Exception) -> bool:
        """A rule raised; True: it is recorded, and the others go on."""
        ...


class Outcome(Struct, frozen=True):
    """What became of a start of `person` at `at_us`: an action, a hold or a non-send."""

    at_us: int
    person: str
    what: Action | Hold | NonSend


class MemoryStore:
    """A StateStore in memory."""

    def __init__(self) -> None:
        self.states: dict[Place, RuleState] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.profiles: dict[str, Profile] = {}
        self.users: dict[str, str] = {}
        self._timers: list[tuple[int, Place]] = []
        self._armed: dict[Place, int] = {}

    def expect(self, person: str, rules: Sequence[str]) -> None:
        pass

    def expect_all(self, wanted: Mapping[str, Collection[str]]) -> None:
        pass

    def state(self, rule: str, person: str) -> RuleState:
        return self.states.get((rule, person), EMPTY)

    def set_state(self, rule: str, person: str, state: RuleState, wake_us: int | None) -> None:
        place = rule, person
        if state == EMPTY:
            self.states.pop(place, None)
        else:
            self.states[place] = state
        if wake_us is None:
            self._armed.pop(place, None)
        elif self._armed.get(place) != wake_us:
            self._armed[place] = wake_us
            heapq.heappush(self._timers, (wake_us, place))

    def ledger(self, person: str) -> Ledger:
        return self.ledgers.get(person) or Ledger(person)

    def set_ledger(self, ledger: Ledger) -> None:
        self.ledgers[ledger.person] = ledger

    def profile(self, person: str) -> Profile:
        return self.profiles.get(person, NOBODY)

    def set_profile(self, person: str, profile: Profile) -> None:
        self.profiles[person] = profile

    def user_of(self, anonymous: str) -> str | None:
        return self.users.get(anonymous)

    def link(self, anonymous: str, user: str) -> None:
        self.users[anonymous] = user

    def take_person(self, person: str) -> tuple[Profile, Ledger, dict[str, RuleState]]:
        states = {rule: state for (rule, other), state in self.states.items() if other == person}
        for rule in states:
            self.set_state(rule, person, EMPTY, None)
        return self.profiles.pop(person, NOBODY), self.ledgers.pop(person, Ledger(person)), states

    def next_wake(self) -> int | None:
        while self._timers and self._armed.get(self._timers[0][1]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def take_due(self, due_us: int) -> list[Place]:
        places = []
        while self.next_wake() == due_us:
            _, place = heapq.heappop(self._timers)
            del self._armed[place]
            places.append(place)
        return places

    def take_waiting(self, wall_us: int) -> list[Place]:
        places = {place for place, us in self._armed.items() if us <= wall_us}
        places |= {place for place, state in self.states.items() if any(o.held == "behind" for o in state.open)}
        for place in places:
            self._armed.pop(place, None)
        return list(places)

    def waiting_of(self, rule: str) -> list[str]:
        return [person for (name, person), state in self.states.items() if name == rule and state.open]

    def drop_rule(self, rule: str) -> list[tuple[str, RuleState]]:
        gone = [(person, state) for (name, person), state in self.states.items() if name == rule]
        for person, _ in gone:
            self.set_state(rule, person, EMPTY, None)
        return [(person, state) for person, state in gone if state.open]


class OutcomeList:
    """A Journal that keeps the outcomes and lets faults through."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def reading(self, event: TriggerEvent | None) -> None:
        pass

    def decided(self, at_us: int, person: str, what: Action | Hold | NonSend, started_us: int) -> None:
        self.outcomes.append(Outcome(at_us, person, what))

    def moved(self, at_us: int, rule: Rule, person: str, before: RuleState, after: RuleState) -> None:
        pass

    def ended(self, rule: Rule, person: str, event: TriggerEvent) -> None:
        pass

    def linked(self, anonymous: str, user: str) -> None:
        pass

    def fault(self, rule: str, person: str, error: Exception) -> bool:
        return False
