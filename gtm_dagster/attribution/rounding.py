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
    floors = [math.floor(number) for number in exact]
    # 0.29 * 100 is 28.999999999999996: six more digits decide what is noise.
    missing = round(round(sum(exact, Fraction()), 6)) - sum(floors)
    remainders = [round(number - floor, 6) for number, floor in zip(exact, floors, strict=True)]
    for index in sorted(range(len(numbers)), key=lambda index: (-remainders[index], index))[:missing]:
        floors[index] += 1
    return [units / scale for units in floors]
