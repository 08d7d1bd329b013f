"""All rules and one person: which wants become actions now, which wait, and which lead to nothing.

Pure, as `step`. Wants of one moment are taken by priority, then by the rule's name, then by time and id of the start, so that
the order in which rules were looked at decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.local_time import quiet_until, zone_of
from gtm_dagster.triggers.outcomes import Action, Hold, NonSend, Reason, Want
from gtm_dagster.triggers.person_profile import Profile


class Entry(Struct, frozen=True, array_like=True, order=True, gc=False):
    """An action of the past, or one that the holdout kept back. `due_us`: when its condition became true."""

    at_us: int
    action_id: str
    rule: str
    key: str
    channel: str
    due_us: int
    sent: bool = True


class Ledger(Struct, frozen=True, gc=False):
    """What a person got; `entries` are sorted."""

    person: str
    entries: tuple[Entry, ...] = ()


class Admitted(NamedTuple):
    """The new ledger, what is sent now, what waits, what is not sent."""

    ledger: Ledger
    actions: tuple[Action, ...]
    holds: tuple[Hold, ...]
    non_sends: tuple[NonSend, ...]


def admit(ledger: Ledger, wants: Iterable[Want], now: int, consent: Profile) -> Admitted:
    """What becomes of `wants` of one person at `now` (microseconds UTC)."""
    actions: list[Action] = []
    holds: list[Hold] = []
    non_sends: list[NonSend] = []
    for want in sorted(wants, key=_precedence):
        refusal = _refusal(ledger, want, now, consent)
        if isinstance(refusal, Hold):
            holds.append(refusal)
            continue
        if refusal is None or refusal.reason == "holdout":
            entry = _entry(want, now, refusal is None)
            ledger = replace(ledger, entries=tuple(sorted((*ledger.entries, entry))))
        if refusal is None:
            actions.append(_action(ledger.person, want, entry))
        else:
            non_sends.append(refusal)
    return Admitted(ledger, tuple(actions), tuple(holds), tuple(non_sends))


def merged_ledger(person: str, one: Ledger, other: Ledger) -> Ledger:
    """What two ids of `person` got together; in any order."""
    entries = {each.action_id: each for each in sorted((*one.entries, *other.entries))}
    return Ledger(person, tuple(sorted(entries.values())))


def trimmed_ledger(ledger: Ledger, rules: Iterable[Rule], now: int) -> Ledger:
    """`ledger` without what no cap, cooldown or repeated start of `rules` reaches any more."""
    rules = tuple(rules)
    once = {rule.name for rule in rules if rule.once}
    longest = max(
        (max(rule.cooldown_us + rule.within_us, rule.cap.per_us if rule.cap else 0) for rule in rules), default=0
    )
    since = now - longest - _KEPT_US
    kept = tuple(each for each in ledger.entries if each.at_us > since or each.rule in once)
    return ledger if len(kept) == len(ledger.entries) else replace(ledger, entries=kept)


_KEPT_US = 32 * 86_400 * 1_000_000


def in_holdout(rule: Rule, person: str) -> bool:
    """Whether `person` is of the share of persons for whom `rule` only records that it would have acted."""
    digest = blake2b(f"{rule.name}\0{person}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % 10_000 < rule.holdout_of_10000


def _precedence(want: Want) -> tuple[int, str, int, str]:
    return -want.rule.priority, want.rule.name, want.at_us, want.trigger_event_id


def _refusal(ledger: Ledger, want: Want, now: int, consent: Profile) -> NonSend | Hold | None:
    rule = want.rule

    def refused(reason: Reason, detail: str = "", next_us: int | None = None) -> NonSend:
        return NonSend(rule.name, want.trigger_event_id, want.key, reason, now, detail, next_us)

    if ledger.entries:
        action_id = want.action_id
        if any(each.action_id == action_id for each in ledger.entries):
            return refused("duplicate")
    if now >= want.due_us + rule.expires_us:
        return refused("expired", f"{(now - want.due_us) // 1_000_000} s after it was due")
    if not consent.consents_to(rule.purpose):
        return refused("no_consent", rule.purpose)
    of_rule = [each for each in ledger.entries if (each.rule, each.key) == (rule.name, want.key)]
    if rule.once and of_rule:
        return refused("once", of_rule[0].action_id)
    near = [each for each in of_rule if abs(want.due_us - each.due_us) < rule.cooldown_us]
    if near:
        return refused("cooldown", near[-1].action_id, max(each.due_us for each in near) + rule.cooldown_us)
    if waiting := _quiet(want, now, consent, refused("no_zone"), refused("held_too_long")):
        return waiting
    if in_holdout(rule, ledger.person):
        return refused("holdout")
    if rule.cap:
        got = [
            each.at_us
            for each in ledger.entries
            if each.sent and each.channel == rule.cap.channel and now - rule.cap.per_us < each.at_us <= now
        ]
        if len(got) >= rule.cap.n:
            detail = f"{len(got)} of {rule.cap.n} {rule.cap.channel}"
            return refused("capped", detail, got[len(got) - rule.cap.n] + rule.cap.per_us)
    return None


def _quiet(want: Want, now: int, consent: Profile, no_zone: NonSend, too_long: NonSend) -> NonSend | Hold | None:
    quiet = want.rule.quiet
    if quiet is None:
        return None
    zone = zone_of(
        quiet, consent.zone.timezone if consent.zone else None, consent.country.country if consent.country else None
    )
    if zone is None:
        return no_zone
    until = quiet_until(now, quiet, zone)
    if until is None:
        return None
    return Hold(want, "quiet", until) if until - now <= quiet.max_hold_us else too_long


def _entry(want: Want, now: int, sent: bool) -> Entry:
    return Entry(now, want.action_id, want.rule.name, want.key, want.rule.channel, want.due_us, sent)


def _action(person: str, want: Want, entry: Entry) -> Action:
    rule = want.rule
    return Action(
        action_id=entry.action_id,
        rule=rule.name,
        person=person,
        channel=rule.channel,
        target=rule.target,
        trigger_event_id=want.trigger_event_id,
        key=want.key,
        due_us=want.due_us,
        at_us=entry.at_us,
        expires_us=want.due_us + rule.expires_us,
    )
