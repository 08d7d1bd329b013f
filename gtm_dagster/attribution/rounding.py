"""Rounding for print: figures in cents that add up to the rounded total."""

import math
from collections.abc import Sequence
from fractions import Fraction


def largest_remainder(values: Sequence[float], digits: int = 2) -> list[float]:
    """`values` rounded to `digits` decimals so that they add up to the rounded total (Hamilton's method).

    Every value goes down to the unit below, the missing units go to the largest remainders; ties to the earlier one.
    Raises ValueError for a value that is not finite.
    """
    numbers = [float(value) for value in values]
    for index, number in enumerate(numbers):
        if not math.isfinite(number):
            raise ValueError(f"values[{index}]: {number!r} cannot be rounded")
    # Exact: 30 trillion times 100 and the sum of seven of them do not fit the 53 bits of a double.
    scale = 10**digits
    exact = [Fraction(number) * scale for number in numbers]
    # 0.29 * 100 is 28.999999999999996: six more digits decide what is noise.
    scaled = [round(number, 6) for number in exact]
    floors = [math.floor(number) for number in scaled]
    missing = round(round(sum(exact, Fraction()), 6)) - sum(floors)
    if missing >= 0:
        for index in sorted(range(len(numbers)), key=lambda index: (floors[index] - scaled[index], index))[:missing]:
            floors[index] += 1
    else:  # noise of many values that was rounded up
        for index in sorted(range(len(numbers)), key=lambda index: (exact[index] - floors[index], index))[:-missing]:
            floors[index] -= 1
    return [units / scale for units in floors]
