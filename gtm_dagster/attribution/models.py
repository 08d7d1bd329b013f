"""The credit models, each a pure function of one conversion's touches, oldest first.

These few lines are the definition; the SQL of the warehouse and the vectorised `attribute` are tested against them.
"""

import math
from collections.abc import Sequence

MODELS: tuple[str, ...] = (
    "first_touch",
    "last_touch",
    "linear",
    "position_based",
    "time_decay",
    "inverse_age",
    "last_non_direct",
)
"""Names of the models, as settings, commands and tables spell them."""

AGE_MODELS: frozenset[str] = frozenset({"time_decay", "inverse_age"})
"""Models whose shares depend on how old each touch is, not only on its place in the path."""

MULTI_TOUCH_MODELS: frozenset[str] = frozenset({"linear", "position_based", "time_decay", "inverse_age"})
"""Models that may give credit to more than one touch of a conversion."""

HALF_LIFE_HOURS = 168.0
"""Default half-life of `time_decay`: 7 days, as Adobe Analytics and Google Ads document theirs."""


def weights(
    model: str,
    ages_hours: Sequence[float],
    half_life: float = HALF_LIFE_HOURS,
    is_direct: Sequence[bool] | None = None,
) -> list[float]:
    """Shares of one conversion for its touches, oldest first; they sum to 1, or are [] where there is no touch.

    `ages_hours`: hours from each touch to the conversion, >= 0, not increasing. `half_life` in hours (time_decay only).
    `is_direct`: whether each touch is direct (last_non_direct only; None means none is).
    Raises ValueError for an unknown model, a negative or misordered age, or a half-life that is not above 0.
    """
    if model not in MODELS:
        raise ValueError(f"{model!r} is not an attribution model; choose one of {', '.join(MODELS)}")
    ages = [float(age) for age in ages_hours]
    n = len(ages)
    for index, age in enumerate(ages):
        if not (age >= 0 and math.isfinite(age)):
            raise ValueError(f"ages_hours[{index}]: {age!r} is not a number of hours of 0 or more")
        if index and age > ages[index - 1]:
            raise ValueError(
                f"ages_hours[{index}]: {age!r} is older than the touch before it; give touches oldest first"
            )
    if n == 0:
        return []
    if model == "first_touch":
        return [1.0] + [0.0] * (n - 1)
    if model == "last_touch":
        return [0.0] * (n - 1) + [1.0]
    if model == "linear":
        return [1.0 / n] * n
    if model == "position_based":
        return position_shares(n)
    if model == "last_non_direct":
        direct = list(is_direct) if is_direct is not None else [False] * n
        if len(direct) != n:
            raise ValueError(f"is_direct has {len(direct)} entries for {n} touches")
        chosen = max((index for index in range(n) if not direct[index]), default=n - 1)
        return [1.0 if index == chosen else 0.0 for index in range(n)]
    if model == "inverse_age":
        raw = [1.0 / (1.0 + age) for age in ages]
    else:
        if not (half_life > 0 and math.isfinite(half_life)):
            raise ValueError(f"half_life: {half_life!r} is not a number of hours above 0")
        # Ages relative to the newest touch: 2^(-age/h) itself underflows to 0 for very old paths, the ratio does not.
        raw = [2.0 ** (-(age - ages[-1]) / half_life) for age in ages]
    total = math.fsum(raw)
    return [share / total for share in raw]


def position_shares(n: int) -> list[float]:
    """The U shape: 40 % first, 40 % last, 20 % shared between; two touches 50/50, one touch all."""
    if n <= 2:
        return [1.0 / n] * n
    return [0.4] + [0.2 / (n - 2)] * (n - 2) + [0.4]


def largest_remainder(values: Sequence[float], digits: int = 2) -> list[float]:
    """`values` rounded to `digits` decimals so that they add up to the rounded total (Hamilton's method).

    Every value goes down to the unit below, the missing units go to the largest remainders; ties to the earlier one.
    Raises ValueError for a value that is not finite.
    """
    numbers = [float(value) for value in values]
    for index, number in enumerate(numbers):
        if not math.isfinite(number):
            raise ValueError(f"values[{index}]: {number!r} cannot be rounded")
    scale = 10**digits
    # 0.29 * 100 is 28.999999999999996: six more digits decide what is noise.
    scaled = [round(number * scale, 6) for number in numbers]
    floors = [math.floor(number) for number in scaled]
    missing = round(round(math.fsum(numbers) * scale, 6)) - sum(floors)
    by_remainder = sorted(range(len(numbers)), key=lambda index: (floors[index] - scaled[index], index))
    for index in by_remainder[:missing]:
        floors[index] += 1
    return [units / scale for units in floors]
