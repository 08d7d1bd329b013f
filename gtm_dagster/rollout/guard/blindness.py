"""When a guard sees too little to conclude anything from: no data is not zero. Pure; the numbers come from its caller.

A guard that is blind never acts. Each reason names the numbers and the way out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gtm_dagster.rollout.guard.counts import Counts

CONVERSIONS, EXPOSURES, MATCHED = "conversions", "exposures", "matched"
REFUSED, SUPPRESSED = "refused", "suppressed"
MATURE_UNITS = 200
"""Units of each arm with their window over, from which on a conversion that matches nobody is a fault of the ids."""
MANY_CONVERSIONS = 20
"""Conversions of the guard's name, whoever they are of, that are many."""
MATCHED_SHARE = 0.05
"""Of many conversions, a smaller share that matches exposed units is a fault of the ids, when the control hardly converts."""
LEAST_RATE = 0.005
"""A flow whose control converts less often than this (0.5 %) is thought to be unseen rather than bad."""
EXPECTED = 10
"""Control conversions that the least rate would have given: none instead has a chance of e^-10."""
REFUSED_SHARE = 0.05
"""Of the conversions sent; from more refused ones on, a drop may be one of the tracking."""
LEAST_REFUSED = 10
"""Fewer refused conversions than this hold nothing."""
_REASON_LETTERS = 80


def metric_records(name: str) -> str:
    """What events of a further metric are counted as."""
    return f"metric {name}"


def record_name(verdict: str, what: str, reasons: str | None) -> str:
    """What a record is counted as that is not accepted; `what`: CONVERSIONS, EXPOSURES or `metric_records`."""
    kind = REFUSED if verdict == "quarantined" else SUPPRESSED
    return f"{kind} {what}/{(reasons or 'unknown')[:_REASON_LETTERS]}"


@dataclass(frozen=True)
class Seen:
    """Records of a guard's two events over some time. `exposures`: of any flag; `matched`: conversions of exposed units.

    `refused` and `suppressed`: conversions by reason; `refused_exposures`, `suppressed_exposures` all together.
    """

    conversions: int = 0
    matched: int = 0
    exposures: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    suppressed: Mapping[str, int] = field(default_factory=dict)
    refused_exposures: int = 0
    suppressed_exposures: int = 0

    @classmethod
    def of(cls, records: Mapping[str, int], what: str = CONVERSIONS) -> Seen:
        """From numbers by name, as the stream worker stores them; `what`: the events that stand for conversions."""

        def reasons(kind: str, what: str) -> dict[str, int]:
            prefix = f"{kind} {what}/"
            return {name.removeprefix(prefix): n for name, n in sorted(records.items()) if name.startswith(prefix)}

        return cls(
            records.get(what, 0),
            records.get(MATCHED, 0),
            records.get(EXPOSURES, 0),
            reasons(REFUSED, what),
            reasons(SUPPRESSED, what),
            sum(reasons(REFUSED, EXPOSURES).values()),
            sum(reasons(SUPPRESSED, EXPOSURES).values()),
        )

    @property
    def refused_share(self) -> float:
        """Of the conversions sent, those refused, and those suppressed beyond the share of suppressed exposures.

        Who refuses consent is suppressed in exposures and conversions alike, and in neither arm: that hides no drop.
        """
        refused, suppressed = sum(self.refused.values()), sum(self.suppressed.values())
        sent = self.conversions + refused + suppressed
        shown = self.exposures + self.suppressed_exposures
        usual = self.suppressed_exposures / shown if shown else 0.0
        lost = refused + max(suppressed - usual * sent, 0.0)
        return lost / sent if sent and lost >= LEAST_REFUSED else 0.0


def unmatched(event: str, counts: Counts, window_us: int, seen: Seen) -> str:
    """Why the conversions seen cannot be those of the exposed units; empty when they can.

    Asked of units whose window is over. Less than all unmatched counts only when the control's own rate is below
    LEAST_RATE: a flag of few visitors matches few of everybody's conversions, and its control converts all the same.
    """
    control, treated = counts.exposed_between(0, counts.watermark_us - window_us)
    converted = counts.converted_by_arm()
    matched = max(seen.matched, sum(converted))
    if min(control, treated) < MATURE_UNITS or seen.conversions < MANY_CONVERSIONS:
        return ""
    if matched == 0:
        return (
            f"{seen.conversions:,} {event} seen, none carries the id of an exposed visitor ({control:,} control and "
            f"{treated:,} treated): {_way_out(event)}"
        )
    if sum(converted) == 0:
        return (
            f"{seen.conversions:,} {event} seen, {seen.matched:,} of exposed visitors, and none within "
            f"{window_us / 60_000_000:g} minutes after the first exposure of its visitor: look at the clocks of who sends "
            "them, or give a longer conversion_window_minutes"
        )
    if matched < MATCHED_SHARE * seen.conversions and converted[0] < LEAST_RATE * control:
        return (
            f"{seen.conversions:,} {event} seen, {matched:,} carry the id of an exposed visitor ({control:,} control and "
            f"{treated:,} treated): {_way_out(event)}"
        )
    return ""


def _way_out(event: str) -> str:
    return (
        f"send both ids, user_id and anonymous_id, with {event}, or expose after login by the user_id; "
        "the unit of an exposure is its user_id, without one its anonymous_id"
    )


def silent_control(event: str, counts: Counts, window_us: int) -> str:
    """Why no control conversion after so many exposures says that conversions are not seen; empty before."""
    control, _ = counts.exposed_between(0, counts.watermark_us - window_us)
    if counts.converted_by_arm()[0] or control * LEAST_RATE < EXPECTED:
        return ""
    return (
        f"no {event} of {control:,} control visitors whose window is over, where a rate of {LEAST_RATE:.1%} gives "
        f"{control * LEAST_RATE:.0f}: is {event} sent at all, by a server key or one of write_keys, and is it the event "
        "this flow ends in?"
    )


def lost_conversions(event: str, spans: Mapping[str, Seen]) -> str:
    """Why too many conversions were refused in one of the spans (by what it is called); empty when in none."""
    for span, seen in spans.items():
        if seen.refused_share > REFUSED_SHARE:
            return (
                f"{seen.refused_share:.0%} of the {event} {span} never counted ({refused_text(event, seen)}): a drop may be "
                "one of the tracking; `gtm quarantine` shows what is wrong with them"
            )
    return ""


def refused_text(event: str, seen: Seen) -> str:
    """How many of the guard's events were refused and suppressed, with the reasons; empty when none was."""
    parts = [
        f"{sum(by_reason.values()):,} {event} {kind} ({', '.join(f'{reason} {n:,}' for reason, n in by_reason.items())})"
        for kind, by_reason in ((REFUSED, seen.refused), (SUPPRESSED, seen.suppressed))
        if by_reason
    ]
    if seen.refused_exposures:
        parts.append(f"{seen.refused_exposures:,} exposures refused")
    return ", ".join(parts)
