"""A rule over the past: the same `step` and `admit`, fed with landed events in the order of receipt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from types import MappingProxyType

from msgspec import Struct

from gtm_dagster.settings import Settings
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.memory_runner import MemoryRunner, Outcome
from gtm_dagster.triggers.outcomes import Action, Hold, NonSend, Reason
from gtm_dagster.triggers.past_events import events_of, read_past
from gtm_dagster.triggers.trigger_event import TriggerEvent, satisfies

DAY_US = 86_400 * 1_000_000
Progress = Callable[..., None]
_TELL_EVERY = 20_000


class DayCounts(Struct):
    """A UTC day: what was sent, to how many persons, what waited, what was capped, what lacked consent, all non-sends."""

    day: date
    sent: int = 0
    persons: int = 0
    held: int = 0
    capped: int = 0
    no_consent: int = 0
    not_sent: int = 0


class TriggerBacktest(Struct, frozen=True):
    """What a rule would have done between `since_us` and `until_us` (microseconds UTC; None without events).

    `days`: one entry a day. `reasons`: why nothing was sent, the most frequent first. `open`: starts that are not decided at
    the end. `events`: those that may start the rule in that time, `matching`: those of them that satisfy its `where`.
    """

    rule: str
    since_us: int | None
    until_us: int | None
    events: int
    matching: int
    days: tuple[DayCounts, ...]
    sent: int
    persons: int
    held: int
    reasons: tuple[tuple[Reason, int], ...]
    open: int
    action_ids: tuple[str, ...] = ()


def backtest_rule(
    settings: Settings,
    rules: Sequence[Rule],
    name: str,
    days: int,
    progress: Progress | None = None,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> TriggerBacktest:
    """Rule `name` of `rules` over the last `days` days of landed events. All rules run, since they share caps.

    What was received before those days fills the state and counts against caps; it is in no figure. Heartbeats are not
    landed: the senders are taken as heard. `aliases`: those of the plan. Raises PastError.
    """
    names = {event for rule in rules for event in rule.events}
    past = read_past(settings, names, progress, aliases)
    if past.last_us is None:
        return TriggerBacktest(name, None, None, 0, 0, (), 0, 0, 0, (), 0)
    since = past.last_us + 1 - days * DAY_US
    runner = MemoryRunner(rules)
    tally = _Tally(next(rule for rule in rules if rule.name == name), since)
    total = past.table.num_rows
    if progress:
        progress("deciding")
    for number, event in enumerate(events_of(past)):
        tally.see(event)
        runner.receive(event)
        if runner.outcomes:
            tally.take(runner.outcomes)
            runner.outcomes.clear()
        if progress and number % _TELL_EVERY == 0:
            progress(number, total)
    runner.advance(past.last_us)
    tally.take(runner.outcomes)
    opened = sum(len(state.open) for (rule, _), state in runner.states.items() if rule == name)
    return tally.result(past.last_us, opened)


class _Tally:
    """Counts outcomes as they come."""

    def __init__(self, rule: Rule, since_us: int) -> None:
        self.rule, self.since_us, self.events, self.matching, self.held = rule, since_us, 0, 0, 0
        self.days: dict[date, DayCounts] = {}
        self.reasons: Counter[Reason] = Counter()
        self.persons: set[str] = set()
        self._persons_of: dict[date, set[str]] = {}
        self.action_ids: list[str] = []

    def see(self, event: TriggerEvent) -> None:
        if event.name == self.rule.on and event.received_us >= self.since_us:
            self.events += 1
            self.matching += satisfies(self.rule.where, event)

    def take(self, outcomes: Sequence[Outcome]) -> None:
        for each in outcomes:
            if each.at_us < self.since_us or _rule_of(each.what) != self.rule.name:
                continue
            day = datetime.fromtimestamp(each.at_us // 1_000_000, UTC).date()
            counts = self.days.setdefault(day, DayCounts(day))
            if isinstance(each.what, Action):
                counts.sent += 1
                self._persons_of.setdefault(day, set()).add(each.person)
                counts.persons = len(self._persons_of[day])
                self.persons.add(each.person)
                self.action_ids.append(each.what.action_id)
            elif isinstance(each.what, Hold):
                counts.held += 1
                self.held += 1
            else:
                counts.not_sent += 1
                counts.capped += each.what.reason == "capped"
                counts.no_consent += each.what.reason == "no_consent"
                self.reasons[each.what.reason] += 1

    def result(self, until_us: int, opened: int) -> TriggerBacktest:
        first, last = (datetime.fromtimestamp(us // 1_000_000, UTC).date() for us in (self.since_us, until_us))
        every = (date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1))
        return TriggerBacktest(
            rule=self.rule.name,
            since_us=self.since_us,
            until_us=until_us,
            events=self.events,
            matching=self.matching,
            days=tuple(self.days.get(day, DayCounts(day)) for day in islice(every, 4000)),
            sent=len(self.action_ids),
            persons=len(self.persons),
            held=self.held,
            reasons=tuple(sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))),
            open=opened,
            action_ids=tuple(self.action_ids),
        )


def _rule_of(what: Action | Hold | NonSend) -> str:
    return what.want.rule.name if isinstance(what, Hold) else what.rule
