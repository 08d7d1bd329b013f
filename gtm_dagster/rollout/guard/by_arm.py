"""Records of a guard's two events by arm: those that count, those that were refused, and those of bots. Pure.

An exposure names its arm, and a conversion is of the arm that one of its ids was exposed to in the guard's epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gtm_dagster.gate.exposures import ARMS
from gtm_dagster.rollout.guard.blindness import CONVERSIONS, EXPOSURES, LEAST_REFUSED, REFUSED, REFUSED_SHARE

COUNTED, BOTS = "counted", "bots"
_PREFIX = "arm/"


def arm_record(kind: str, what: str, arm: str | None) -> str:
    """What a record is counted as; `kind`: COUNTED, REFUSED or BOTS, `what`: CONVERSIONS or EXPOSURES, `arm`: None where
    nobody knows it."""
    return f"{_PREFIX}{arm or ''}/{kind} {what}"


@dataclass(frozen=True)
class ByArm:
    """Numbers of records over some time, by (kind, what) and arm."""

    records: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Mapping[str, int]) -> ByArm:
        """From numbers by name, as the stream worker stores them; other names are left out."""
        return cls({name: n for name, n in records.items() if name.startswith(_PREFIX)})

    def pair(self, kind: str, what: str) -> tuple[int, int]:
        """Of control and treatment."""
        control, treated = (self.records.get(arm_record(kind, what, arm), 0) for arm in ARMS)
        return control, treated

    def total(self, kind: str, what: str) -> int:
        """Of both arms and of none."""
        return sum(self.pair(kind, what)) + self.records.get(arm_record(kind, what, None), 0)


def lopsided(event: str, spans: Mapping[str, ByArm], threshold: float) -> str:
    """Why the arms cannot be compared in one of the spans (by what it is called): refusals fall on one of them. Else empty.

    Refused conversions of the treated arm look like a drop of 1 - (1 - r_t) / (1 - r_c), r the refused share of an arm's
    conversions: from half of the threshold on, and LEAST_REFUSED of them, the loss may be one of the tracking. Those of the
    control alone hide a loss and invent none, so they hold nothing. Refused exposures hold when their share differs
    between the arms by more than REFUSED_SHARE: who is counted then differs too.
    """
    for span, seen in spans.items():
        refused, counted = seen.pair(REFUSED, CONVERSIONS), seen.pair(COUNTED, CONVERSIONS)
        control, treated = (_share(*each) for each in zip(refused, counted, strict=True))
        drop = 1 - (1 - treated) / (1 - control) if control < 1 else 0.0
        if refused[1] >= LEAST_REFUSED and drop >= threshold / 2:
            return (
                f"of the {event} {span} {treated:.0%} of the treated arm were refused and {control:.0%} of the control's "
                f"({refused[1]:,} and {refused[0]:,}), which alone looks like a drop of {drop:.0%}: `gtm quarantine` shows "
                "what is wrong with them"
            )
        refused, counted = seen.pair(REFUSED, EXPOSURES), seen.pair(COUNTED, EXPOSURES)
        control, treated = (_share(*each) for each in zip(refused, counted, strict=True))
        if sum(refused) >= LEAST_REFUSED and abs(treated - control) > REFUSED_SHARE:
            return (
                f"of the exposures {span} {treated:.0%} of the treated arm were refused and {control:.0%} of the control's "
                f"({refused[1]:,} and {refused[0]:,}): the arms are not counted alike; `gtm quarantine` shows what is wrong "
                "with them"
            )
    return ""


def refused_by_arm(event: str, seen: ByArm) -> str:
    """How many refused records are of which arm; empty when nobody knows it of any."""
    parts = [
        f"{name} refused: control {control:,}, treated {treated:,}"
        for name, (control, treated) in (
            (event, seen.pair(REFUSED, CONVERSIONS)), ("exposures", seen.pair(REFUSED, EXPOSURES)),
        )
        if control or treated
    ]  # fmt: skip
    return ", ".join(parts)


def bots_text(event: str, seen: ByArm) -> str:
    """How many records of bots were left out; empty when none was."""
    shown, paid = seen.total(BOTS, EXPOSURES), seen.total(BOTS, CONVERSIONS)
    if not shown and not paid:
        return ""
    control, treated = seen.pair(BOTS, EXPOSURES)
    return f"{shown:,} exposures (control {control:,}, treated {treated:,}) and {paid:,} {event} of bots left out"


def _share(refused: int, counted: int) -> float:
    return refused / (refused + counted) if refused else 0.0
