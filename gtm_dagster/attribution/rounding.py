"""Rounding for print: figures in cents that add up to the rounded total."""

import math
from collections.abc import Sequence


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
