"""Of a past, the records that do not count, by arm: what was refused, and what came from bots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gtm_dagster.gate.exposures import ARMS, EXPOSED, randomised_exposure, refused_exposure
from gtm_dagster.rollout.guard.blindness import CONVERSIONS, EXPOSURES, REFUSED
from gtm_dagster.rollout.guard.by_arm import BOTS, COUNTED, ByArm, arm_record

if TYPE_CHECKING:
    import pyarrow as pa


def past_by_arm(
    flag: str,
    exposures: Iterable[tuple[str, int, int]],
    converted: pa.Table,
    uncounted: pa.Table,
    visitors: Mapping[str, set[str]],
) -> ByArm:
    """Numbers by arm. `exposures`: (unit, arm, us) that count; `converted`: the conversions that do; `uncounted`: records
    of the two events that were refused or came from bots; `visitors`: anonymous ids of exposed units by user id.
    """
    first: dict[str, tuple[int, int]] = {}
    numbers: Counter[str] = Counter()
    for unit, number, us in exposures:
        first[unit] = min(first.get(unit, (us, number)), (us, number))
        numbers[arm_record(COUNTED, EXPOSURES, ARMS[number])] += 1

    def arm_of(user: str | None, anonymous: str | None) -> str | None:
        units = [user, anonymous, *sorted(visitors.get(user or "", ()))]
        return next((ARMS[first[unit][1]] for unit in units if unit in first), None)

    for arm in map(arm_of, *(converted.column(name).to_pylist() for name in ("user_id", "anonymous_id"))):
        if arm is not None:
            numbers[arm_record(COUNTED, CONVERSIONS, arm)] += 1
    columns = ("event_name", "user_id", "anonymous_id", "properties", "raw", "bot_reason")
    for name, user, anonymous, properties, raw, bot in zip(
        *(uncounted.column(each).to_pylist() for each in columns), strict=True
    ):
        kind = REFUSED if bot is None else BOTS
        if name != EXPOSED:
            numbers[arm_record(kind, CONVERSIONS, arm_of(user, anonymous))] += 1
            continue
        exposure = refused_exposure(raw) if bot is None else randomised_exposure(properties)
        if exposure is not None and exposure.flag == flag and exposure.variant in ARMS:
            numbers[arm_record(kind, EXPOSURES, exposure.variant)] += 1
    return ByArm.of(numbers)
