"""Rules over events in memory, in the order of the log's clock: for tests of rules, and for the past.

A timer due at T fires between the last record received before T and the first one received at or after it. Records may come
late, twice and in any order of their own times.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from gtm_dagster.triggers.admit import Ledger, admit, merged_ledger, trimmed_ledger
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.heartbeat_watch import Watch
from gtm_dagster.triggers.outcomes import Action, Hold, NonSend, Want
from gtm_dagster.triggers.person_profile import NOBODY, Profile, merged_profile, profile_after
from gtm_dagster.triggers.rule_state import EMPTY, RuleState
from gtm_dagster.triggers.step import NEVER_US, Edited, Input, Linked, Wake, step
from gtm_dagster.triggers.trigger_event import TriggerEvent

_TRIM_ABOVE = 100


class Outcome(Struct, frozen=True):
    """What became of a start of `person` at `at_us`: an action, a hold or a non-send."""

    at_us: int
    person: str
    what: Action | Hold | NonSend


class MemoryRunner:
    """Feeds `step` and `admit`. `outcomes` grows in the order of decisions; take them and clear it when it is long."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.clock_us = -NEVER_US
        self.watch = Watch()
        self.outcomes: list[Outcome] = []
        self.states: dict[tuple[str, str], RuleState] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.profiles: dict[str, Profile] = {}
        self.users: dict[str, str] = {}
        self._timers: list[tuple[int, str, str]] = []
        self._armed: dict[tuple[str, str], int] = {}
        self._behind = False
        self._set_rules(rules)

    def receive(self, event: TriggerEvent) -> None:
        """Takes the next record of the log; first fires what is due by its receipt."""
        self.advance(event.received_us)
        person = self._person(event)
        if (profile := profile_after(self.profiles.get(person, NOBODY), event)) is not NOBODY:
            self.profiles[person] = profile
        wants = [want for rule in self._by_event.get(event.name, ()) for want in self._step(rule, person, event)]
        self._admit(person, wants, self.clock_us)

    def advance(self, to_us: int) -> None:
        """Moves the clock, which never goes back, and fires what is due, each at its own moment."""
        while self._timers and self._timers[0][0] <= to_us:
            self._fire(self._timers[0][0], max(self._timers[0][0], self.clock_us))
        self.clock_us = max(self.clock_us, to_us)

    def finish(self) -> None:
        """Moves the clock until nothing waits for it any more."""
        while self._timers:
            self.advance(self._timers[0][0])

    def heartbeat(self, at_us: int) -> None:
        """A sender of cancelling events was heard."""
        self.advance(at_us)
        self.watch = self.watch.heard(at_us)

    def resume(self, records: Iterable[TriggerEvent], wall_us: int) -> None:
        """Reads what came while nobody read, then goes on at `wall_us`: nothing goes out before the log's end is reached."""
        self._behind = True
        for record in records:
            self.receive(record)
        self._behind = False
        self.clock_us = max(self.clock_us, wall_us)
        waiting = {
            (rule, person)
            for (rule, person), state in self.states.items()
            if any(o.held == "behind" for o in state.open)
        }
        wants: defaultdict[str, list[Want]] = defaultdict(list)
        due = {place for place, us in self._armed.items() if us <= wall_us}
        for rule, person in sorted(waiting | due):
            self._armed.pop((rule, person), None)
            wants[person] += self._step(self.rules[rule], person, Wake(self.watch, at_end=True))
        for person in sorted(wants):
            self._admit(person, wants[person], self.clock_us)

    def change_rules(self, rules: Sequence[Rule]) -> None:
        """Other rules from now on: an edited one decides what its edit does to open starts; one that is gone drops its own."""
        before = self.rules
        self._set_rules(rules)
        for name, person in list(self.states):
            if name not in self.rules:
                for each in self.states.pop((name, person)).open:
                    gone = NonSend(
                        name, each.trigger_event_id, each.key, "rule_changed", self.clock_us, "the rule is gone"
                    )
                    self.outcomes.append(Outcome(self.clock_us, person, gone))
                self._armed.pop((name, person), None)
            elif self.rules[name] != before[name]:
                self._step(self.rules[name], person, Edited(before[name]))

    def _set_rules(self, rules: Sequence[Rule]) -> None:
        self.rules = {rule.name: rule for rule in sorted(rules, key=lambda rule: rule.name)}
        self._by_event: defaultdict[str, list[Rule]] = defaultdict(list)
        for rule in self.rules.values():
            for name in rule.events:
                self._by_event[name].append(rule)

    def _person(self, event: TriggerEvent) -> str:
        """The user of an event; an anonymous id belongs to the first user it was seen with, and so does its past."""
        user, anonymous = event.user_id, event.anonymous_id
        if user and anonymous and anonymous not in self.users:
            self.users[anonymous] = user
            if anonymous != user:
                self._link(anonymous, user)
        return user or self.users.get(anonymous or "", anonymous or "")

    def _link(self, anonymous: str, user: str) -> None:
        if (profile := self.profiles.pop(anonymous, None)) is not None:
            self.profiles[user] = merged_profile(profile, self.profiles.get(user, NOBODY))
        if (ledger := self.ledgers.pop(anonymous, None)) is not None:
            self.ledgers[user] = merged_ledger(user, ledger, self.ledgers.get(user, Ledger(user)))
        wants: list[Want] = []
        for rule in self.rules.values():
            if (state := self.states.pop((rule.name, anonymous), None)) is not None:
                self._armed.pop((rule.name, anonymous), None)
                wants += self._step(rule, user, Linked(state))
        self._admit(user, wants, self.clock_us)

    def _fire(self, due_us: int, now_us: int) -> None:
        """All timers of one moment, by rule and person; their wants are admitted together."""
        wants: defaultdict[str, list[Want]] = defaultdict(list)
        self.clock_us = now_us
        while self._timers and self._timers[0][0] == due_us:
            _, name, person = heapq.heappop(self._timers)
            if self._armed.get((name, person)) == due_us:
                del self._armed[name, person]
                wants[person] += self._step(self.rules[name], person, Wake(self.watch))
        for person in sorted(wants):
            self._admit(person, wants[person], now_us)

    def _step(self, rule: Rule, person: str, input: Input) -> tuple[Want, ...]:
        place = (rule.name, person)
        done = step(rule, self.states.get(place, EMPTY), input, self.clock_us)
        if done.state == EMPTY:
            self.states.pop(place, None)
        else:
            self.states[place] = done.state
        wake = done.timers[0] if done.timers else None
        if wake is None:
            self._armed.pop(place, None)
        elif self._armed.get(place) != wake:
            self._armed[place] = wake
            heapq.heappush(self._timers, (wake, *place))
        self.outcomes += [Outcome(each.at_us, person, each) for each in done.non_sends]
        return done.wants

    def _admit(self, person: str, wants: Sequence[Want], now_us: int) -> None:
        if not wants:
            return
        if self._behind:
            holds: Iterable[Hold] = [Hold(want, "behind", NEVER_US) for want in wants]
        else:
            ledger = self.ledgers.get(person, Ledger(person))
            if len(ledger.entries) > _TRIM_ABOVE:
                ledger = trimmed_ledger(ledger, self.rules.values(), now_us)
            done = admit(ledger, wants, now_us, self.profiles.get(person, NOBODY))
            if done.ledger.entries:
                self.ledgers[person] = done.ledger
            holds = done.holds
            self.outcomes += [Outcome(now_us, person, action) for action in done.actions]
            self.outcomes += [Outcome(now_us, person, refused) for refused in done.non_sends]
        for hold in holds:
            self.outcomes.append(Outcome(now_us, person, hold))
            self._step(hold.want.rule, person, hold)
