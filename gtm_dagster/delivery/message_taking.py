"""What is taken of the outbox now: what a destination has room for, and what consent, expiry and collapsing leave of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gtm_dagster.delivery.attempt import Attempt, Leased, not_rendered
from gtm_dagster.delivery.feed_items import add_item
from gtm_dagster.delivery.message_endings import Endings
from gtm_dagster.delivery.message_store import MessageStore, Route
from gtm_dagster.delivery.message_templates import MessageTemplateError
from gtm_dagster.delivery.receivers import IN_APP, NoReceiver, destination_of, name_of
from gtm_dagster.delivery.worker_wiring import Lane, Wiring

MOST_AT_ONCE = 500
"""Of alerts that become one message, of messages that lead nowhere."""
MOST_RENDERED = 50
"""Of in-app messages, which are rendered while the transaction is open: some 30 milliseconds."""
Begun = tuple[Lane, Sequence[Leased]]


@dataclass
class Due:
    """What is due, by where it goes: lanes with their room, in-app routes, routes without a destination and why."""

    lanes: list[tuple[Lane, int]] = field(default_factory=list)
    in_app: list[Route] = field(default_factory=list)
    nowhere: list[tuple[Route, str]] = field(default_factory=list)
    disabled: list[tuple[Lane, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lanes or self.in_app or self.nowhere or self.disabled)


class Taking:
    """Takes messages of the outbox. `lanes`: the destinations by name.

    Of the last look at what is due: `is_waiting`: something was; `next_us`: when the first of the others is (microseconds UTC).
    """

    def __init__(self, store: MessageStore, wiring: Wiring, lanes: dict[str, Lane]) -> None:
        self._store, self._wiring, self._lanes = store, wiring, lanes
        self._endings = Endings(store, wiring)
        self.is_waiting = False
        self.next_us: int | None = None

    def due(self, now_us: int) -> Due:
        """What is due now, without a transaction; a destination that has no room for it is left out."""
        found = Due()
        self.is_waiting, self.next_us = False, None
        for lane in self._lanes.values():
            lane.routes = []
        for route in self._store.routes():
            if not self._store.is_due(route, now_us):
                next_us = self._store.next_due(route, now_us)
                if next_us is not None and (self.next_us is None or next_us < self.next_us):
                    self.next_us = next_us
                continue
            self.is_waiting = True
            if route[0] == IN_APP:
                found.in_app.append(route)
                continue
            try:
                destination, _ = destination_of(self._wiring.destinations, *route)
                self._lanes[destination.name].routes.append(route)
            except NoReceiver as error:
                found.nowhere.append((route, str(error)))
        busy = [lane for lane in self._lanes.values() if lane.routes]
        disabled = self._store.disabled() if busy else {}
        for lane in busy:
            if lane.name in disabled:
                found.disabled.append((lane, disabled[lane.name]))
            elif (room := lane.pace.room(now_us)) > 0:
                found.lanes.append((lane, room))
        return found

    def expire(self, now_us: int) -> None:
        """End what it is too late for, also where its destination has no room for it."""
        for message in self._store.expire(now_us):
            name = name_of(self._wiring.destinations, message.channel, message.target)
            self._wiring.observe(name, "expired", message, now_us)

    def has_due(self, now_us: int) -> bool:
        """Whether something is due that a next round deals with: no circuit is open before it, no pause was asked for."""
        disabled = self._store.disabled()
        return any(
            lane.name in disabled or not lane.pace.closed(now_us)
            for lane in self._lanes.values()
            if any(self._store.is_due(route, now_us) for route in lane.routes)
        )

    def take(self, due: Due, now_us: int) -> list[Begun]:
        """Lease messages, in the caller's transaction; those that need no request are dealt with."""
        for route in due.in_app:
            self._show(route, now_us)
        for route, reason in due.nowhere:
            for message, _ in self._store.due([route], now_us, MOST_AT_ONCE):
                self._fail_here(message, Attempt("failed", error=reason, blamed=False), now_us)
        for lane, reason in due.disabled:
            for message, _ in self._store.due(lane.routes, now_us, MOST_AT_ONCE):
                self._endings.dropped(lane.name, message, reason, now_us)
        return [begun for lane, room in due.lanes for begun in self._begun(lane, room, now_us)]

    def _begun(self, lane: Lane, room: int, now_us: int) -> list[Begun]:
        """As many messages as there is room for, alerts of one key as one."""
        groups: dict[str, list[Leased]] = {}
        for message, lost in self._store.due(lane.routes, now_us, MOST_AT_ONCE if lane.collapses else room):
            if lost and self._endings.lost(lane, message, now_us):
                continue
            if self._may_go(lane.name, message, now_us):
                groups.setdefault(message.collapse_key if lane.collapses else message.action_id, []).append(message)
        begun: list[Begun] = []
        for key, messages in groups.items():
            if lane.collapses and self._waits(lane, key, messages, now_us):
                continue
            if len(begun) == room:
                break
            if lane.collapses:
                self._store.begin_window(lane.name, key, now_us)
            begun.append((lane, [self._store.lease(each, now_us + lane.lease_us) for each in messages]))
        return begun

    def _waits(self, lane: Lane, key: str, messages: Sequence[Leased], now_us: int) -> bool:
        """Whether alerts of this key went out a short time before: these wait until the window is over, without an attempt.

        What failed before goes at its time, and takes the others along.
        """
        before = self._store.window_began(lane.name, key)
        until = (before or 0) + round(lane.destination.collapse_seconds * 1e6)
        if before is None or until <= now_us or any(message.attempt for message in messages):
            return False
        for message in messages:
            self._store.postpone(message, min(until, message.expires_us - 1))
        return not any(message.expires_us - 1 <= now_us for message in messages)

    def _may_go(self, name: str, message: Leased, now_us: int) -> bool:
        """Asked before each attempt: whether it is too late, or the message must not go out any more."""
        if message.expires_us <= now_us:
            self._endings.expired(name, message, now_us)
        elif reason := self._wiring.allowed(self._store.con, message):
            self._endings.suppressed(name, message, reason, now_us)
        else:
            return True
        return False

    def _show(self, route: Route, now_us: int) -> None:
        """In-app messages: rendered, and put into the feed in this transaction."""
        for message, _ in self._store.due([route], now_us, MOST_RENDERED):
            if not self._may_go(IN_APP, message, now_us):
                continue
            try:
                content = self._wiring.templates.render(IN_APP, message.target, message.named())
            except MessageTemplateError as error:
                self._fail_here(message, not_rendered(str(error)), now_us)
                continue
            leased = self._store.lease(message, now_us + 1)
            add_item(self._store.con, leased, content, now_us, self._wiring.feed_days)
            self._endings.delivered_here(IN_APP, leased, now_us)

    def _fail_here(self, message: Leased, attempt: Attempt, now_us: int) -> None:
        """An attempt that fails before anything is sent; a deploy may mend it before the next one."""
        leased = self._store.lease(message, now_us + 1)
        self._store.record(leased, attempt, now_us)
        self._endings.failed(message.channel, leased, attempt, now_us)
