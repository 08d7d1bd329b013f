"""One rule and one person: what an event, a timer, a link of two ids or an edit changes, and what the rule then wants.

Pure: no clock, no files, no chance. `now` is the log's clock in microseconds UTC.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from gtm_dagster.triggers.compiled_rule import Rule, drains, rebases
from gtm_dagster.triggers.counting import full_windows
from gtm_dagster.triggers.heartbeat_watch import ALWAYS_HEARD, Watch, Watches
from gtm_dagster.triggers.outcomes import Hold, NonSend, Reason, Want
from gtm_dagster.triggers.rule_state import (
    FORMAT,
    MOST_OPEN,
    Cancelled,
    Counted,
    Decided,
    Occurrence,
    RuleState,
    merged,
    newest_cancels,
    trimmed,
    with_one,
)
from gtm_dagster.triggers.trigger_event import TriggerEvent, satisfies

NEVER_US = 2**62
"""The wake time of what waits for something else than the clock."""


class Wake(Struct, frozen=True):
    """A timer. `watch`: who was heard; `at_end`: the log is read to its end, so that what waited for it goes on."""

    watch: Watch | Watches = ALWAYS_HEARD
    at_end: bool = False


class Linked(Struct, frozen=True):
    """Another id turned out to be this person; its state."""

    state: RuleState


class Edited(Struct, frozen=True):
    """The rule is another one now; `before` is what it was."""

    before: Rule


class Seen(Struct, frozen=True, gc=False):
    """An event, of which it is known already whether it starts the rule and whether it ends what is open."""

    event: TriggerEvent
    starts: bool
    ends: bool


Input = Seen | TriggerEvent | Wake | Linked | Edited | Hold


class Stepped(NamedTuple):
    """The new state, what the rule wants, when it has to be woken, and which starts lead to nothing."""

    state: RuleState
    wants: tuple[Want, ...]
    timers: tuple[int, ...]
    non_sends: tuple[NonSend, ...]


def step(rule: Rule, state: RuleState, input: Input, now: int) -> Stepped:
    """`state` of (rule, person) after `input`."""
    if isinstance(input, TriggerEvent):
        input = Seen(input, starts(rule, input), ends(rule, input))
    if isinstance(input, Seen) and input.ends and not (input.starts or state.open):
        return Stepped(trimmed(_with_cancel(rule, state, input.event), now, rule.within_us), (), (), ())
    work = _Work(rule, state, now)
    match input:
        case Seen():
            work.take_event(input)
        case Wake():
            work.wake(input)
        case Linked():
            work.state = merged(state, input.state)
            work.apply_cancels()
            work.count(0)
        case Edited():
            work.edit(input.before)
        case Hold():
            work.hold(input)
    state = trimmed(work.state, now, rule.within_us)
    wake_us = NEVER_US
    for each in state.open:
        wake_us = min(wake_us, each.until_us if each.held else each.due_us + rule.grace_us)
    timers = (wake_us,) if wake_us < NEVER_US else ()
    return Stepped(state, tuple(work.wants), timers, tuple(work.non_sends))


def starts(rule: Rule, event: TriggerEvent) -> bool:
    """Whether `event` starts the rule or is counted."""
    return event.name == rule.on and (not rule.where or satisfies(rule.where, event))


def ends(rule: Rule, event: TriggerEvent) -> bool:
    """Whether `event` ends what is open."""
    if event.name == rule.absent_event and (not rule.absent_where or satisfies(rule.absent_where, event)):
        return True
    return event.name in rule.cancel_on


def _with_cancel(rule: Rule, state: RuleState, event: TriggerEvent) -> RuleState:
    """`state` with an event that ends what is open."""
    cancel = Cancelled(event.at_us, event.event_id, event.key(rule.key))
    cancelled = newest_cancels((*state.cancelled, cancel)) if state.cancelled else (cancel,)
    return RuleState(FORMAT, state.open, state.counted, cancelled, state.decided)


class _Work:
    """One call of `step`: the state as it changes, and what comes out."""

    __slots__ = ("non_sends", "now", "rule", "state", "wants")

    def __init__(self, rule: Rule, state: RuleState, now: int) -> None:
        self.rule, self.state, self.now = rule, state, now
        self.wants: list[Want] = []
        self.non_sends: list[NonSend] = []

    def take_event(self, seen: Seen) -> None:
        if seen.ends:
            self.state = _with_cancel(self.rule, self.state, seen.event)
            self.apply_cancels()
        if seen.starts:
            self._start(seen.event)

    def wake(self, wake: Wake) -> None:
        """Decides what is due, the earliest first: it covers the starts within its time."""
        for occurrence in self.state.open:
            at_end = wake.at_end and occurrence.held == "behind"
            due = occurrence.until_us if occurrence.held else occurrence.due_us + self.rule.grace_us
            if occurrence in self.state.open and (at_end or due <= self.now):
                self._due(occurrence, wake.watch)

    def edit(self, before: Rule) -> None:
        """An edit of the condition moves, keeps or ends what is open; any other edit leaves it alone."""
        rule = self.rule
        if rule.condition == before.condition or drains(before, rule):
            return
        if not rebases(before, rule):
            for occurrence in self.state.open:
                self._end(occurrence, "rule_changed")
            return
        if rule.kind == "absent":
            moved = (
                each if each.held else replace(each, due_us=each.at_us + rule.within_us) for each in self.state.open
            )
            self.state = replace(self.state, open=tuple(sorted(moved)))

    def hold(self, hold: Hold) -> None:
        want = hold.want
        waiting = Occurrence(want.at_us, want.trigger_event_id, want.due_us, want.key, hold.reason, hold.until_us)
        others = tuple(each for each in self.state.open if each.trigger_event_id != want.trigger_event_id)
        if len(others) >= MOST_OPEN:
            self._say(want.trigger_event_id, want.key, "too_many_open")
            return
        self.state = replace(self.state, open=tuple(sorted((*others, waiting))))
        self.apply_cancels()

    def count(self, from_us: int) -> None:
        """Wants for the windows that are full and end at `from_us` or later."""
        if self.rule.kind != "count" or len(self.state.counted) < self.rule.n:
            return
        for last in full_windows(self.state.counted, self.rule.n, self.rule.within_us, from_us):
            if not self.state.has_decided(last.event_id) and not self._is_cancelled(
                last.at_us, last.event_id, last.key
            ):
                self._want(last.event_id, last.at_us, last.at_us, last.key)

    def apply_cancels(self) -> None:
        for occurrence in self.state.open:
            cancel = self._cancel_of(occurrence.at_us, occurrence.key)
            if cancel is None:
                continue
            reason: Reason = "cancelled"
            if occurrence.held == "behind":
                reason = "died_while_behind"
            elif occurrence.held == "quiet" or (occurrence.held and cancel.at_us >= occurrence.due_us):
                reason = "died_while_held"
            self._end(occurrence, reason, cancel.event_id)

    def _start(self, event: TriggerEvent) -> None:
        rule, state = self.rule, self.state
        key = event.key(rule.key)
        if state.knows(event.event_id):
            return
        if event.bot and not rule.bots:
            self._refuse(event, key or "", "bot")
        elif rule.purpose == "marketing" and event.context.get("device_type") == "api" and not rule.servers:
            self._refuse(event, key or "", "server_event")
        elif key is None:
            self._refuse(event, "", "no_key", f"{event.name} without {rule.key}")
        elif rule.kind == "count":
            if not state.has_counted(event.event_id):
                self.state = replace(state, counted=with_one(state.counted, Counted(event.at_us, event.event_id, key)))
                self.count(event.at_us)
        elif rule.kind == "absent":
            self._open(event, key)
        elif not self._is_cancelled(event.at_us, event.event_id, key):
            self._want(event.event_id, event.at_us, event.at_us, key)

    def _open(self, event: TriggerEvent, key: str) -> None:
        due = event.at_us + self.rule.within_us
        decided = self.state.decided
        if decided and any(each.key == key and each.at_us <= event.at_us < each.until_us for each in decided):
            self._refuse(event, key, "already_open")
        elif event.received_us >= due:
            self._refuse(event, key, "stale_start", f"due {(event.received_us - due) // 1_000_000} s before it arrived")
        elif len(self.state.open) >= MOST_OPEN:
            self._refuse(event, key, "too_many_open")
        else:
            opened = Occurrence(event.at_us, event.event_id, due, key)
            self.state = replace(self.state, open=with_one(self.state.open, opened))
            if self.state.cancelled:
                self.apply_cancels()

    def _due(self, occurrence: Occurrence, watch: Watch | Watches) -> None:
        rule, start = self.rule, occurrence
        if rule.kind == "absent" and start.held != "quiet":
            wait = watch.wait_until(start.at_us, start.due_us, rule.grace_us, self.now)
            expires = start.due_us + rule.expires_us
            if wait is not None and (not rule.hold_while_blind or self.now >= expires):
                self._end(start, "blind")
                return
            if wait is not None:
                waiting = replace(start, held="blind", until_us=min(wait, expires))
                self.state = replace(self.state, open=tuple(sorted((*self._without(start), waiting))))
                return
        self.state = replace(self.state, open=self._without(start))
        if rule.kind == "absent" and start.held in ("", "blind"):
            for each in self.state.open:
                if each.key == start.key and each.held in ("", "blind") and start.at_us <= each.at_us < start.due_us:
                    self._end(each, "already_open", start.trigger_event_id)
        self._want(start.trigger_event_id, start.at_us, start.due_us, start.key)

    def _want(self, event_id: str, at_us: int, due_us: int, key: str) -> None:
        self.wants.append(Want(self.rule, event_id, at_us, due_us, key))
        self._decide(event_id, at_us, key, due_us if self.rule.kind == "absent" else 0)

    def _end(self, occurrence: Occurrence, reason: Reason, detail: str = "") -> None:
        self.state = replace(self.state, open=self._without(occurrence))
        self._decide(occurrence.trigger_event_id, occurrence.at_us, occurrence.key, 0)
        self._say(occurrence.trigger_event_id, occurrence.key, reason, detail)

    def _refuse(self, event: TriggerEvent, key: str, reason: Reason, detail: str = "") -> None:
        self._decide(event.event_id, event.at_us, key, 0)
        self._say(event.event_id, key, reason, detail)

    def _say(self, event_id: str, key: str, reason: Reason, detail: str = "") -> None:
        self.non_sends.append(NonSend(self.rule.name, event_id, key, reason, self.now, detail))

    def _decide(self, event_id: str, at_us: int, key: str, until_us: int) -> None:
        decided = self.state.decided
        if self.state.has_decided(event_id):
            until_us = max(until_us, next(each.until_us for each in decided if each.event_id == event_id))
            decided = tuple(each for each in decided if each.event_id != event_id)
        self.state = replace(self.state, decided=with_one(decided, Decided(at_us, event_id, key, until_us)))

    def _without(self, occurrence: Occurrence) -> tuple[Occurrence, ...]:
        return tuple(each for each in self.state.open if each.trigger_event_id != occurrence.trigger_event_id)

    def _cancel_of(self, at_us: int, key: str) -> Cancelled | None:
        """The cancelling event at or after a start of `key`. One without a key ends all of them."""
        for each in reversed(self.state.cancelled):
            if each.at_us < at_us:
                return None
            if each.key == key or each.key is None:
                return each
        return None

    def _is_cancelled(self, at_us: int, event_id: str, key: str) -> bool:
        cancel = self._cancel_of(at_us, key)
        if cancel is not None:
            self._decide(event_id, at_us, key, 0)
            self._say(event_id, key, "cancelled", cancel.event_id)
        return cancel is not None
