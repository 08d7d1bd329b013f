"""What a guard is evaluated on: exposures and conversions of both arms by cohort slot and age."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.gate.exposures import ARMS
from gtm_dagster.rollout.guard.packed_outcomes import packed, unpacked

SLOT_US = 15_000_000
"""Length of a cohort slot in microseconds (15 s)."""
EXPOSURES = -1
"""The age that marks a row of exposures."""

Ints = NDArray[np.int64]


class Folded(NamedTuple):
    """Totals of an arm (0 control, 1 treatment) over the cohorts of the slots `first_slot` to `last_slot`, both included.

    `age_slots`: the ages of its conversions added up, in slots.
    """

    first_slot: int
    last_slot: int
    arm: int
    exposed: int
    converted: int
    age_slots: int


class Outcomes(NamedTuple):
    """Units of a further metric by slot of first exposure, age, and arm, for those that have an outcome.

    `age`: of a share, slots from exposure to the event; of a mean, the unit's value in steps of the metric's cap, known
    once its window is over (see `value_levels`). Of the slots that are not folded alone.
    """

    slot: Ints
    age: Ints
    arm: Ints
    n: Ints


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of one guard and epoch up to a watermark.

    `exposed`: units by arm (0 control, 1 treatment) and slot of first exposure, from slot number `slot0` (event time in
    microseconds UTC // SLOT_US). `conv_*`: converted units by that slot, age at conversion in slots, and arm. `folded`:
    cohorts that are older than a verdict looks at one by one; they lie before `slot0`. `metrics`: outcomes of the guard's
    further metrics by name.
    """

    slot0: int
    exposed: Ints
    conv_slot: Ints
    conv_age: Ints
    conv_arm: Ints
    conv_n: Ints
    watermark_us: int
    folded: tuple[Folded, ...] = ()
    metrics: Mapping[str, Outcomes] = field(default_factory=dict)

    @classmethod
    def from_rows(
        cls, rows: Iterable[tuple[int, str, int, int]], watermark_us: int, folded: Iterable[Folded] = ()
    ) -> Counts:
        """From (slot, arm, age, n); age -1 is exposures. Rows may come in any order and more than once."""
        return cls.from_table(_table(rows), watermark_us, folded)

    @classmethod
    def from_table(cls, table: Ints, watermark_us: int, folded: Iterable[Folded] = ()) -> Counts:
        """From an array with the columns slot, arm (0 control, 1 treatment), age, n. Rows as in `from_rows`."""
        table = table[table[:, 3] != 0]
        ended = tuple(folded)
        if not len(table):
            slot0 = watermark_us // SLOT_US
            return cls(slot0, np.zeros((2, 0), np.int64), _NONE, _NONE, _NONE, _NONE, watermark_us, ended)
        slot0, last = int(table[:, 0].min()), int(table[:, 0].max())
        exposed = np.zeros((2, last - slot0 + 1), np.int64)
        shown = table[table[:, 2] == EXPOSURES]
        np.add.at(exposed, (shown[:, 1], shown[:, 0] - slot0), shown[:, 3])
        converted = table[table[:, 2] != EXPOSURES]
        slot, arm, age, n = converted.T
        return cls(slot0, exposed, slot, age, arm, n, watermark_us, ended)

    def of_metric(self, name: str) -> Counts:
        """The units of all and the outcomes of one further metric."""
        slot, age, arm, n = self.metrics.get(name, _NO_OUTCOMES)
        folded = tuple(each._replace(converted=0, age_slots=0) for each in self.folded)
        return replace(self, conv_slot=slot, conv_age=age, conv_arm=arm, conv_n=n, folded=folded, metrics={})

    def exchanged(self) -> Counts:
        """With the arms exchanged: a rise of one is a loss of the other."""
        folded = tuple(each._replace(arm=1 - each.arm) for each in self.folded)
        return replace(self, exposed=self.exposed[::-1], conv_arm=1 - self.conv_arm, folded=folded)

    @property
    def first_slot(self) -> int:
        """The slot of the first exposures, folded ones among them."""
        return min((each.first_slot for each in self.folded), default=self.slot0)

    def exposed_by_arm(self) -> tuple[int, int]:
        """Units of control and treatment, folded ones among them."""
        control, treated = (int(n) for n in self.exposed.sum(axis=1))
        return control + _sum(self.folded, 0, "exposed"), treated + _sum(self.folded, 1, "exposed")

    def converted_by_arm(self) -> tuple[int, int]:
        """Converted units of control and treatment, folded ones among them."""
        control, treated = (int(self.conv_n[self.conv_arm == arm].sum()) for arm in (0, 1))
        return control + _sum(self.folded, 0, "converted"), treated + _sum(self.folded, 1, "converted")

    def exposed_between(self, since_us: int, until_us: int | None) -> tuple[int, int]:
        """Units of control and treatment in the slots that lie wholly in [since_us, until_us); until None: to the end."""
        slots = self.slot0 + np.arange(self.exposed.shape[1])
        inside = slots * SLOT_US >= since_us
        if until_us is not None:
            inside &= (slots + 1) * SLOT_US <= until_us
        control, treated = (int(n) for n in self.exposed[:, inside].sum(axis=1))
        past = [
            each
            for each in self.folded
            if each.first_slot * SLOT_US >= since_us
            and (until_us is None or (each.last_slot + 1) * SLOT_US <= until_us)
        ]
        return control + _sum(past, 0, "exposed"), treated + _sum(past, 1, "exposed")

    def rows(self) -> list[tuple[int, str, int, int]]:
        """As (slot, arm, age, n), sorted."""
        arms, slots = np.nonzero(self.exposed)
        shown = [
            (int(s) + self.slot0, ARMS[a], EXPOSURES, int(self.exposed[a, s])) for a, s in zip(arms, slots, strict=True)
        ]
        return sorted(shown + _outcome_rows(Outcomes(self.conv_slot, self.conv_age, self.conv_arm, self.conv_n)))

    def to_json(self) -> dict[str, Any]:
        """A JSON document that `from_json` reads; `folded` stands in it when something is folded.

        `exposed` has the units of each slot from `first_slot` on, by arm; for `converted` see `packed_outcomes`.
        """
        document: dict[str, Any] = {
            "slot_us": SLOT_US,
            "watermark_us": self.watermark_us,
            "first_slot": self.slot0,
            "exposed": dict(zip(ARMS, self.exposed.tolist(), strict=True)),
            "converted": packed(self.conv_slot, self.conv_age, self.conv_arm, self.conv_n),
        }
        document |= {"folded": [list(each) for each in self.folded]} if self.folded else {}
        metrics = {name: packed(*each) for name, each in self.metrics.items()}
        return document | ({"metrics": metrics} if metrics else {})

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Counts:
        """The counts of a document, also of one with a list a cell (`rows`), as evidence had before format 5.

        ValueError for an unknown field, and when its slots are of another length.
        """
        cells = {"rows"} if "rows" in document else {"first_slot", "exposed", "converted"}
        for name in sorted(document.keys() - {"slot_us", "watermark_us", "folded", "metrics"} - cells):
            raise ValueError(f"counts.{name}: there is no such field")
        if document["slot_us"] != SLOT_US:
            raise ValueError(f"slot_us: {document['slot_us']} is not {SLOT_US}; the counts are of another version")
        folded = [Folded(*(int(n) for n in each)) for each in document.get("folded", ())]
        watermark_us = int(document["watermark_us"])
        if "rows" in document:
            counts = cls.from_rows((tuple(row) for row in document["rows"]), watermark_us, folded)
            metrics = {str(name): outcomes_of(rows) for name, rows in document.get("metrics", {}).items()}
            return replace(counts, metrics=metrics)
        exposed = np.array([document["exposed"][arm] for arm in ARMS], np.int64)
        slot, age, arm, n = unpacked(document["converted"])
        metrics = {str(name): Outcomes(*unpacked(each)) for name, each in document.get("metrics", {}).items()}
        first = int(document["first_slot"])
        return cls(first, exposed, slot, age, arm, n, watermark_us, tuple(folded), metrics)


_NONE = np.zeros(0, np.int64)
_NO_OUTCOMES = Outcomes(_NONE, _NONE, _NONE, _NONE)
_NUMBER_OF_ARM = {arm: number for number, arm in enumerate(ARMS)}


def outcomes_of(rows: Iterable[Sequence[Any]]) -> Outcomes:
    """From (slot, arm, age, n) in any order."""
    slot, arm, age, n = _table(rows).T
    return Outcomes(slot, age, arm, n)


def _outcome_rows(outcomes: Outcomes) -> list[tuple[int, str, int, int]]:
    columns = (outcomes.slot, outcomes.arm, outcomes.age, outcomes.n)
    return [(int(slot), ARMS[arm], int(age), int(n)) for slot, arm, age, n in zip(*columns, strict=True)]


def _table(rows: Iterable[Sequence[Any]]) -> Ints:
    columns = tuple(zip(*rows, strict=True))
    if not columns:
        return np.zeros((0, 4), np.int64)
    slot, arm, age, n = columns
    table = np.empty((len(slot), 4), np.int64)
    for at, column in enumerate((slot, map(_NUMBER_OF_ARM.__getitem__, arm), age, n)):
        table[:, at] = np.fromiter(column, np.int64, len(slot))
    return table


def _sum(folded: Sequence[Folded], arm: int, name: str) -> int:
    return sum(getattr(each, name) for each in folded if each.arm == arm)


def plan_slots(shares: Iterable[tuple[int, float]]) -> list[int]:
    """Slots at which a step of a plan begins or ends, ascending; a slot in which the plan changed belongs to no step."""
    return sorted({slot for since_us, _ in shares for slot in (since_us // SLOT_US, -(-since_us // SLOT_US))})


def age_in_slots(exposed_us: int, converted_us: int, window_us: int) -> int | None:
    """Age at conversion in slots; None before the exposure or after the window. Exactly the window still counts."""
    age_us = converted_us - exposed_us
    if not 0 <= age_us <= window_us:
        return None
    return min(age_us // SLOT_US, max(-(-window_us // SLOT_US) - 1, 0))


def first_exposures(exposures: Iterable[tuple[Any, int, int]]) -> dict[Any, tuple[int, int]]:
    """By unit its first exposure by event time as (us, arm), from (unit, arm, us); a tie: control."""
    first: dict[Any, tuple[int, int]] = {}
    for unit, arm, us in exposures:
        shown = (us, arm)
        if unit not in first or shown < first[unit]:
            first[unit] = shown
    return first


def early_conversions(
    exposures: Iterable[tuple[Any, int, int]], conversions: Iterable[tuple[Any, int]], window_us: int
) -> dict[str, int]:
    """Units by arm that converted only before their exposure, at most `window_us` before it; arms without one are absent.

    A few are visitors who came back; many in one arm are a clock that is behind.
    """
    first = first_exposures(exposures)
    ages: dict[Any, list[int]] = {}
    for unit, us in conversions:
        if unit in first:
            ages.setdefault(unit, []).append(us - first[unit][0])
    early = Counter(
        ARMS[first[unit][1]]
        for unit, each in ages.items()
        if not any(0 <= age <= window_us for age in each) and any(-window_us <= age < 0 for age in each)
    )
    return dict(early)


def count_units(
    exposures: Iterable[tuple[Any, int, int]],
    conversions: Iterable[tuple[Any, int]],
    window_us: int,
    watermark_us: int,
) -> Counts:
    """Count a whole history: exposures (unit, arm 0 or 1, us) and conversions (unit, us), in any order.

    A unit counts once, in the arm of its first exposure by event time (a tie: control); its outcome is its first
    conversion within `window_us` of that exposure.
    """
    first = first_exposures(exposures)
    earliest: dict[Any, int] = {}
    for unit, us in conversions:
        exposure = first.get(unit)
        if exposure is not None and 0 <= us - exposure[0] <= window_us and us < earliest.get(unit, us + 1):
            earliest[unit] = us
    cells: dict[tuple[int, str, int], int] = {}
    for unit, (us, arm) in first.items():
        slot = us // SLOT_US
        cells[slot, ARMS[arm], EXPOSURES] = cells.get((slot, ARMS[arm], EXPOSURES), 0) + 1
        if unit in earliest:
            age = age_in_slots(us, earliest[unit], window_us)
            assert age is not None  # noqa: S101 - it lies within the window, see above
            cells[slot, ARMS[arm], age] = cells.get((slot, ARMS[arm], age), 0) + 1
    return Counts.from_rows(((*cell, n) for cell, n in cells.items()), watermark_us)
