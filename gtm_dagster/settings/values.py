"""Kinds of values that settings share: numbers with limits, names, properties."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Positive = Annotated[float, Meta(gt=0, le=1_000_000)]
NotNegative = Annotated[float, Meta(ge=0, le=1_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(min_length=1)]
HalfLife = Annotated[float, Meta(gt=0.01, le=1_000_000)]
"""Hours; less than half a minute would round to no time at all, and every credit but the last to nothing."""
PropertyName = Annotated[
    str,
    Meta(
        min_length=1, max_length=128, pattern=r'^[^"\\\x00-\x1f\x7f]+$',
        description="the name of a property: 1 to 128 characters, no double quote, backslash or control character",
    ),
]  # fmt: skip
"""The name of an event's property as it can stand in a JSON path."""
