"""The order of things, one for every runner: which input reaches which rule and person when, over a store of states.

A timer due at T fires between the last record received before T and the first one received at or after it. Records may come
late, twice and in any order of their own times. What is kept where is the store's, what is written down the journal's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.msgpack import encode

from gtm_dagster.triggers.admit import Ledger, admit, merged_ledger, trimmed_ledger
from gtm_dagster.triggers.compiled_rule import Condition, Rule
from gtm_dagster.triggers.heard_keys import watch_of
from gtm_dagster.triggers.heartbeat_watch import ALWAYS_HEARD, Watch, Watches
from gtm_dagster.triggers.outcomes import Action, Hold, NonSend, Reason, Want
from gtm_dagster.triggers.person_profile import NOBODY, Profile, merged_profile, profile_after
from gtm_dagster.triggers.rule_state import EMPTY, RuleState
from gtm_dagster.triggers.state_store import Journal, StateStore
from gtm_dagster.triggers.step import NEVER_US, Edited, Input, Linked, Seen, Stepped, Wake, step
from gtm_dagster.triggers.trigger_event import TriggerEvent, satisfies

_TRIM_ABOVE = 100
_NEVER, _ALWAYS = -1, 0
"""Among the numbers of conditions: what no event fulfils, and what needs no look at it."""


class _Ahead(NamedTuple):
    """What `look_ahead` found of an event, until it is taken."""

    event: TriggerEvent
    concerned: list[tuple[Rule, Seen]]


class RuleEngine:
    """Feeds `step` and `admit`.

    `behind`: wants wait until `caught_up`, since what ends them may stand further on. `warming`: states are filled and
    nothing is decided about sending. `paused`: rules whose wants lead to nothing; `stopped`: rules that are not run at all.
    `watches`: by write key; `senders`: the write keys that were seen to send an event. `settled_us`: no record comes any more
    that was received before this moment; no timer fires that is due later, whatever was read.
    """

    def __init__(self, rules: Sequence[Rule], store: StateStore, journal: Journal) -> None:
        self.clock_us, self.settled_us = -NEVER_US, NEVER_US
        self.behind = self.warming = False
        self.paused: frozenset[str] = frozenset()
        self.stopped: frozenset[str] = frozenset()
        self.watches: dict[str, Watch] = {}
        self.senders: defaultdict[str, set[str]] = defaultdict(set)
        self._store, self._journal = store, journal
        self._set_rules(rules)

    def receive(self, event: TriggerEvent) -> None:
        """Takes the next record of the log; first fires what is due by its receipt."""
        self.advance(event.received_us)
        self._journal.reading(event)
        person = self._person(event)
        known = self._store.profile(person)
        if (profile := profile_after(known, event)) is not known:
            self._store.set_profile(person, profile)
        if event.name in self._cancelling and event.write_key is not None:
            self.senders[event.name].add(event.write_key)
        ahead = self._ahead.pop(id(event), None)
        concerned = ahead.concerned if ahead is not None and ahead.event is event else self._concerned(event)
        if concerned:
            self._store.expect(person, [rule.name for rule, _ in concerned])
            wants: list[Want] = []
            for rule, seen in concerned:
                wants += self._step(rule, person, seen)
            if wants:
                self._admit(person, wants)
            for rule, seen in concerned:
                if seen.ends:
                    self._journal.ended(rule, person, event)
        self._journal.reading(None)

    def look_ahead(self, events: Iterable[TriggerEvent]) -> None:
        """These come next: a store that has to look up what they need does so for all of them at once."""
        wanted: defaultdict[str, set[str]] = defaultdict(set)
        self._ahead.clear()
        for event in events:
            owner = event.user_id or self._store.user_of(event.anonymous_id or "") or event.anonymous_id
            concerned = self._concerned(event)
            self._ahead[id(event)] = _Ahead(event, concerned)
            wanted[owner or ""].update([rule.name for rule, _ in concerned])
        self._store.expect_all(wanted)

    def advance(self, to_us: int) -> None:
        """Moves the clock, which never goes back, and fires what is due and settled, each at its own moment."""
        self.fire(to_us)
        self.clock_us = max(self.clock_us, to_us)

    def fire(self, to_us: int, has_time: Callable[[], bool] = lambda: True) -> bool:
        """Fires what is due up to `to_us` and settled; the clock moves to the last timer that fired. False: `has_time` ended it before."""
        to_us = min(to_us, self.settled_us)
        while (due_us := self._store.next_wake()) is not None and due_us <= to_us:
            if not has_time():
                return False
            self.clock_us = max(due_us, self.clock_us)
            self._wake(self._store.take_due(due_us), at_end=False)
        return True

    def caught_up(self, wall_us: int, has_time: Callable[[], bool] = lambda: True) -> bool:
        """The log is read to its end as it was at `wall_us`: what waited for that goes on, and what is due by now.

        False: `has_time` ended it before all had its turn.
        """
        self.behind = False
        self.clock_us = max(self.clock_us, wall_us)
        while places := self._store.take_waiting(wall_us):
            self._wake(places, at_end=True)
            if not has_time():
                return False
        return True

    def change_rules(self, rules: Sequence[Rule]) -> None:
        """Other rules from now on: an edited one decides what its edit does to open starts; one that is gone drops its own."""
        before = self.rules
        self._set_rules(rules)
        for name, old in before.items():
            if name not in self.rules:
                self.drop(name, "rule_changed", "the rule is gone")
            elif self.rules[name].condition != old.condition:
                for person in list(self._store.waiting_of(name)):
                    self._step(self.rules[name], person, Edited(old))

    def drop(self, name: str, reason: Reason, detail: str) -> None:
        """Forget every state of a rule; its open starts lead to nothing."""
        for person, state in list(self._store.drop_rule(name)):
            for each in state.open:
                gone = NonSend(name, each.trigger_event_id, each.key, reason, self.clock_us, detail)
                self._journal.decided(self.clock_us, person, gone, each.at_us)

    def watch_of(self, rule: Rule) -> Watch | Watches:
        """Whom `rule` waits for."""
        return watch_of(rule, self.watches, self.senders)

    def _set_rules(self, rules: Sequence[Rule]) -> None:
        self.rules = {rule.name: rule for rule in sorted(rules, key=lambda rule: rule.name)}
        self._ahead: dict[int, _Ahead] = {}
        self._by_event: defaultdict[str, list[tuple[Rule, int, int]]] = defaultdict(list)
        self._cancelling = {event for rule in self.rules.values() for event in rule.cancelling}
        numbers = {encode(()): _ALWAYS}  # by their bytes, in which true is not 1
        self._conditions: list[tuple[Condition, ...]] = [()]

        def number(where: tuple[Condition, ...]) -> int:
            found = numbers.setdefault(encode(where), len(numbers))
            if found == len(self._conditions):
                self._conditions.append(where)
            return found

        for rule in self.rules.values():
            for name in rule.events:
                start = number(rule.where) if name == rule.on else _NEVER
                end = _ALWAYS if name in rule.cancel_on else _NEVER
                if end == _NEVER and name == rule.absent_event:
                    end = number(rule.absent_where)
                self._by_event[name].append((rule, start, end))

    def _concerned(self, event: TriggerEvent) -> list[tuple[Rule, Seen]]:
        """The rules whose `step` looks at `event`, and as what; conditions that rules share are looked at once."""
        found: list[tuple[Rule, Seen]] = []
        holds = {_NEVER: False, _ALWAYS: True}
        seen: dict[tuple[bool, bool], Seen] = {}
        for rule, start, end in self._by_event.get(event.name, ()):
            if (does_start := holds.get(start)) is None:
                does_start = holds[start] = satisfies(self._conditions[start], event)
            if (does_end := holds.get(end)) is None:
                does_end = holds[end] = satisfies(self._conditions[end], event)
            if does_start or does_end:
                as_what = does_start, does_end
                if (how := seen.get(as_what)) is None:
                    how = seen[as_what] = Seen(event, does_start, does_end)
                found.append((rule, how))
        return found

    def _person(self, event: TriggerEvent) -> str:
        """The user of an event; an anonymous id belongs to the first user it was seen with, and so does its past."""
        user, anonymous = event.user_id, event.anonymous_id
        owner = self._store.user_of(anonymous) if anonymous else None
        if user and anonymous and owner is None:
            self._store.link(anonymous, user)
            if anonymous != user:
                self.join(anonymous, user, *self._store.take_person(anonymous))
        return user or owner or anonymous or ""

    def join(
        self, anonymous: str, user: str, profile: Profile, ledger: Ledger, states: Mapping[str, RuleState]
    ) -> None:
        """What an anonymous id did and got, as `StateStore.take_person` gave it, is the user's."""
        self._journal.linked(anonymous, user)
        if profile is not NOBODY:
            self._store.set_profile(user, merged_profile(profile, self._store.profile(user)))
        if ledger.entries:
            self._store.set_ledger(merged_ledger(user, ledger, self._store.ledger(user)))
        wants: list[Want] = []
        for name in sorted(states):
            if (rule := self.rules.get(name)) is not None:
                wants += self._step(rule, user, Linked(states[name]))
        self._admit(user, wants)

    def _wake(self, places: Iterable[tuple[str, str]], *, at_end: bool) -> None:
        """Timers of one moment, by rule and person; their wants are admitted together."""
        wants: defaultdict[str, list[Want]] = defaultdict(list)
        for name, person in sorted(places):
            rule = self.rules[name]
            watch = ALWAYS_HEARD if self.behind else self.watch_of(rule)
            wants[person] += self._step(rule, person, Wake(watch, at_end))
        for person in sorted(wants):
            self._admit(person, wants[person])

    def _step(self, rule: Rule, person: str, input: Input) -> tuple[Want, ...]:
        if rule.name in self.stopped:
            return ()
        state = self._store.state(rule.name, person)
        try:
            done = step(rule, state, input, self.clock_us)
        except Exception as error:
            if not self._journal.fault(rule.name, person, error):
                raise
            done = self._without_state(rule, state)
        self._keep(rule, person, state, done)
        if done.non_sends:
            started = {each.event_id: each.at_us for each in done.state.decided}
            for refused in done.non_sends:
                at_us = started.get(refused.trigger_event_id, self.clock_us)
                self._journal.decided(self.clock_us, person, refused, at_us)
        return done.wants

    def _keep(self, rule: Rule, person: str, before: RuleState, done: Stepped) -> None:
        wake = done.timers[0] if done.timers else None
        self._store.set_state(rule.name, person, done.state, wake)
        if done.state.open is not before.open and done.state.open != before.open:
            self._journal.moved(self.clock_us, rule, person, before, done.state)

    def _without_state(self, rule: Rule, state: RuleState) -> Stepped:
        """After a fault nothing is claimed about the person: a cancelling event may have been what raised."""
        gone = tuple(NonSend(rule.name, each.trigger_event_id, each.key, "fault", self.clock_us) for each in state.open)
        return Stepped(EMPTY, (), (), gone)

    def _admit(self, person: str, wants: Sequence[Want]) -> None:
        if self.warming:
            self._refuse(person, wants, "warm_up")
            return
        if self.behind:
            for want in wants:
                self._decide(person, Hold(want, "behind", NEVER_US), want)
            return
        if self.paused:
            self._refuse(person, [want for want in wants if want.rule.name in self.paused], "paused")
            wants = [want for want in wants if want.rule.name not in self.paused]
        if not wants:
            return
        try:
            self._admit_together(person, wants)
        except Exception as error:
            if len(wants) > 1:
                for want in wants:
                    self._admit(person, [want])
                return
            if not self._journal.fault(wants[0].rule.name, person, error):
                raise
            self._refuse(person, wants, "fault")

    def _refuse(self, person: str, wants: Iterable[Want], reason: Reason) -> None:
        for want in wants:
            refused = NonSend(want.rule.name, want.trigger_event_id, want.key, reason, self.clock_us)
            self._decide(person, refused, want)

    def _admit_together(self, person: str, wants: Sequence[Want]) -> None:
        now, ledger = self.clock_us, self._store.ledger(person)
        if len(ledger.entries) > _TRIM_ABOVE:
            ledger = trimmed_ledger(ledger, self.rules.values(), now)
        done = admit(ledger, wants, now, self._store.profile(person))
        if done.ledger.entries:
            self._store.set_ledger(done.ledger)
        of_id = {(want.rule.name, want.trigger_event_id): want for want in wants}
        for action in done.actions:
            self._decide(person, action, of_id[action.rule, action.trigger_event_id])
        for refused in done.non_sends:
            self._decide(person, refused, of_id[refused.rule, refused.trigger_event_id])
        for hold in done.holds:
            self._decide(person, hold, hold.want)

    def _decide(self, person: str, what: Action | Hold | NonSend, want: Want) -> None:
        self._journal.decided(self.clock_us, person, what, want.at_us)
        if isinstance(what, Hold):
            self._step(want.rule, person, what)
