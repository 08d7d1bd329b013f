"""What rules decide, by their definition alone: after every record and at every due moment the whole history is looked at anew.

It shares nothing with the engine but the events: rules are dictionaries (microseconds), and what was decided before is the
only thing that is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from gtm_dagster.triggers.trigger_event import TriggerEvent

HOUR = 3_600_000_000
ORDINARY: dict[str, Any] = {
    "where": {}, "count": None, "absent": None, "key": None, "cancel_on": (), "reentry": "always", "purpose": "service",
    "quiet": None, "cap": None, "priority": 50, "expires": 24 * HOUR, "held_out": lambda person: False, "servers": False,
}  # fmt: skip


class Decision(NamedTuple):
    """What became of a start: `outcome` is `sent` or a reason."""

    rule: str
    start: str
    person: str
    outcome: str
    at_us: int


class Due(NamedTuple):
    """A condition that became true at `due`, for the start."""

    rule: dict[str, Any]
    start: TriggerEvent
    due: int


def local_instant(day: date, at: time, zone: ZoneInfo) -> int:
    """Microseconds of a local time: the first of two, and the first after a gap."""
    naive = datetime.combine(day, at)
    if naive.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == naive:
        return round(naive.replace(tzinfo=zone).timestamp()) * 1_000_000
    while naive.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != naive:
        naive += timedelta(minutes=1)
    return round(naive.replace(tzinfo=zone).timestamp()) * 1_000_000


class HistoryOracle:
    """Takes records in the order of the log; `decisions` grows."""

    def __init__(self, rules: Sequence[dict[str, Any]]) -> None:
        self.rules = [{**ORDINARY, **rule} for rule in rules]
        self.log: list[TriggerEvent] = []
        self.decisions: list[Decision] = []
        self.held: dict[tuple[str, str], tuple[Due, int]] = {}

    def receive(self, record: TriggerEvent) -> None:
        self.advance(record.received_us)
        if record.event_id not in {each.event_id for each in self.log}:
            if record.user_id and record.anonymous_id:  # first it says who somebody is, then what happened
                self.log.append(replace(record, name="", consent={}, timezone=None))
                self.look(self.now)
                self.log.pop()
            self.log.append(record)
        self.look(self.now)

    def advance(self, to_us: int) -> None:
        while (moment := self.next_moment()) is not None and moment <= to_us:
            self.look(moment)
        self.now = max(to_us, getattr(self, "now", 0))

    def finish(self) -> None:
        while (moment := self.next_moment()) is not None:
            self.look(moment)

    # --- who, what and when, out of the whole log ---

    def person(self, event: TriggerEvent) -> str:
        if event.user_id:
            return event.user_id
        users = [each.user_id for each in self.log if each.anonymous_id == event.anonymous_id and each.user_id]
        return users[0] if users else str(event.anonymous_id)

    def of(self, person: str) -> list[TriggerEvent]:
        return sorted((e for e in self.log if self.person(e) == person), key=lambda e: (e.at_us, e.event_id))

    def ended(self, rule: dict[str, Any], start: TriggerEvent) -> bool:
        return any((each.rule, each.start) == (rule["name"], start.event_id) for each in self.decisions)

    def cancels(self, rule: dict[str, Any], start: TriggerEvent) -> TriggerEvent | None:
        names = {*rule["cancel_on"], *([rule["absent"]["event"]] if rule["absent"] else [])}
        for each in self.of(self.person(start)):
            if each.name in names and each.at_us >= start.at_us and each.event_id != start.event_id:
                theirs = each.properties.get(rule["key"]) if rule["key"] else None
                if theirs is None or theirs == start.properties.get(rule["key"]):
                    return each
        return None

    def starts(self, rule: dict[str, Any], person: str) -> list[TriggerEvent]:
        return [
            e for e in self.of(person)
            if e.name == rule["on"] and not e.bot
            and all(e.properties.get(name) in allowed for name, allowed in rule["where"].items())
            and (not rule["key"] or e.properties.get(rule["key"]) is not None)
        ]  # fmt: skip

    def open_starts(self, rule: dict[str, Any], person: str) -> list[TriggerEvent]:
        """Of a rule of absence: those that nothing earlier covers, that nothing ended and that arrived in time."""
        within, covered, found = rule["absent"]["within"], {}, []
        for start in self.starts(rule, person):
            key = start.properties.get(rule["key"]) if rule["key"] else None
            outcome = next(
                (d.outcome for d in self.decisions if (d.rule, d.start) == (rule["name"], start.event_id)), None
            )
            if outcome in ("stale_start", "cancelled", "already_open"):
                continue
            if outcome is None and (rule["name"], start.event_id) not in self.held:
                if start.received_us >= start.at_us + within or start.at_us < covered.get(key, -1):
                    continue
                if self.cancels(rule, start):
                    continue
                found.append(start)
            covered[key] = start.at_us + within
        return found

    def next_moment(self) -> int | None:
        moments = [until for _, until in self.held.values()]
        for rule in self.rules:
            for person in {self.person(e) for e in self.log} if rule["absent"] else ():
                wait = rule["absent"]["within"] + rule["absent"]["grace"]
                moments += [start.at_us + wait for start in self.open_starts(rule, person)]
        return min(moments, default=None)

    # --- decisions ---

    def look(self, now: int) -> None:
        """Everything that is true and undecided at `now`."""
        for (name, _), (due, _) in list(self.held.items()):
            if self.cancels(due.rule, due.start):
                del self.held[name, due.start.event_id]
                self.end(due, "died_while_held", now)
        for person in sorted({self.person(e) for e in self.log}):
            wants = [due for rule in self.rules for due in self.true_now(rule, person, now)]
            for due in sorted(
                wants, key=lambda d: (-d.rule["priority"], d.rule["name"], d.start.at_us, d.start.event_id)
            ):
                self.held.pop((due.rule["name"], due.start.event_id), None)
                self.admit(due, person, now)

    def true_now(self, rule: dict[str, Any], person: str, now: int) -> list[Due]:
        waiting = [
            due for due, until in self.held.values()
            if due.rule is rule and self.person(due.start) == person and until <= now
        ]  # fmt: skip
        if rule["absent"]:
            wait = rule["absent"]["within"]
            due = [s for s in self.open_starts(rule, person) if s.at_us + wait + rule["absent"]["grace"] <= now]
            return waiting + [Due(rule, start, start.at_us + wait) for start in due]
        found = self.starts(rule, person)
        if rule["count"]:
            n, within = rule["count"]["n"], rule["count"]["within"]
            by_key: dict[Any, list[TriggerEvent]] = {}
            for each in found:
                by_key.setdefault(each.properties.get(rule["key"]) if rule["key"] else None, []).append(each)
            found = [
                last for same in by_key.values() for first, last in zip(same, same[n - 1 :], strict=False)
                if first.at_us > last.at_us - within
            ]  # fmt: skip
        for start in found:
            if (
                not self.ended(rule, start)
                and (rule["name"], start.event_id) not in self.held
                and self.cancels(rule, start)
            ):
                self.end(Due(rule, start, start.at_us), "cancelled", now)
        fresh = [s for s in found if not self.ended(rule, s) and (rule["name"], s.event_id) not in self.held]
        return waiting + [Due(rule, start, start.at_us) for start in fresh]

    def end(self, due: Due, outcome: str, now: int) -> None:
        self.decisions.append(
            Decision(due.rule["name"], due.start.event_id, self.person(due.start), outcome, now)
        )  # fmt: skip

    def admit(self, due: Due, person: str, now: int) -> None:
        rule = due.rule
        if now >= due.due + rule["expires"]:
            return self.end(due, "expired", now)
        if rule["purpose"] != "service" and not self.consents(person, rule["purpose"]):
            return self.end(due, "no_consent", now)
        owner = {each.event_id: self.person(each) for each in self.log}
        mine = [d for d in self.decisions if owner[d.start] == person and d.outcome in ("sent", "holdout")]
        if rule["reentry"] != "always":
            key = due.start.properties.get(rule["key"]) if rule["key"] else None
            by_id = {each.event_id: each for each in self.log}
            wait = rule["absent"]["within"] if rule["absent"] else 0
            before = [
                by_id[d.start].at_us + wait for d in mine
                if d.rule == rule["name"] and (not rule["key"] or by_id[d.start].properties.get(rule["key"]) == key)
            ]  # fmt: skip
            if before and rule["reentry"] == "never":
                return self.end(due, "once", now)
            if rule["reentry"] != "never" and any(abs(due.due - each) < rule["reentry"] for each in before):
                return self.end(due, "cooldown", now)
        if rule["quiet"] and (until := self.quiet_until(rule["quiet"], person, now)) is not None:
            if until - now > rule["quiet"]["max_hold"]:
                return self.end(due, "held_too_long", now)
            self.held[rule["name"], due.start.event_id] = (due, until)
            return None
        if rule["held_out"](person):
            return self.end(due, "holdout", now)
        if rule["cap"]:
            channels = {each["name"]: each["channel"] for each in self.rules}
            recent = [
                d
                for d in mine
                if d.outcome == "sent"
                and channels[d.rule] == rule["channel"]
                and now - rule["cap"]["per"] < d.at_us <= now
            ]
            if len(recent) >= rule["cap"]["n"]:
                return self.end(due, "capped", now)
        return self.end(due, "sent", now)

    def consents(self, person: str, purpose: str) -> bool:
        words = [
            (each.at_us, not word) for each in self.of(person)
            if (word := each.properties.get(purpose) if each.name == "consent_updated" else (each.consent or {}).get(purpose)) is not None
        ]  # fmt: skip
        return bool(words) and not max(words)[1]  # of two words of one moment the refusal counts

    def quiet_until(self, quiet: dict[str, Any], person: str, now: int) -> int | None:
        zones = [(each.at_us, each.timezone) for each in self.of(person) if each.timezone]
        _, newest = max(zones, default=(0, quiet["default_zone"]))
        zone = ZoneInfo(newest if quiet["zone"] == "person" else quiet["zone"])
        today = datetime.fromtimestamp(now / 1_000_000, UTC).astimezone(zone).date()
        for shift in (-1, 0, 1):
            day = today + timedelta(days=shift)
            last = day + timedelta(days=quiet["to"] < quiet["from"])
            begin, end = local_instant(day, quiet["from"], zone), local_instant(last, quiet["to"], zone)
            if begin <= now < end:
                return end
        return None
