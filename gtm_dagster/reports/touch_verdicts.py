"""Whether a touch counts under a window of the settings, and why not; the rules are those of `attribution.TouchFilter`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from gtm_dagster.reports.number_text import window_text

if TYPE_CHECKING:
    import numpy as np

    from gtm_dagster.attribution.path_table import PathTable
    from gtm_dagster.settings import Window

HOUR_US = 3_600_000_000
AFTER = "after the conversion"


@dataclass(frozen=True)
class Touch:
    """A session of the person, or one of its events where events are touches.

    `key`: its session. `age_us`: microseconds to the conversion, below 0 behind it. `source`, `medium`, `campaign`,
    `channel`: as known at the conversion. `rule`: what gave the channel, None where that is not known. `note`: what else
    there is to say. `kept`: it is in core.touchpoints. `is_followed`: a later touch is one of the same session.
    """

    key: str
    at: datetime
    age_us: int
    source: str | None
    medium: str | None
    campaign: str | None
    channel: str
    rule: str | None
    note: str | None
    kept: bool
    is_followed: bool = False

    @property
    def age_hours(self) -> float:
        """Hours to the conversion."""
        return self.age_us / HOUR_US


def verdicts(window: Window, touches: Sequence[Touch], max_touches: int) -> list[str | None]:
    """Why each of `touches` (oldest first) does not count under `window`; None for one that does."""
    found = [_plain(window, touch, max_touches) for touch in touches]
    for transform in window.transforms:
        rest = [number for number, why in enumerate(found) if why is None]
        for number, stays in zip(rest, _kept(transform, [touches[number].channel for number in rest]), strict=True):
            if not stays:
                found[number] = f"left out by {transform}"
    return found


def _plain(window: Window, touch: Touch, max_touches: int) -> str | None:
    hours = window.channel_hours.get(touch.channel, window.lookback_hours)
    if touch.age_us < 0:
        return AFTER
    if touch.age_us > round(hours * HOUR_US):
        return f"older than {window_text(hours)}"
    if not touch.kept:
        return f"not among the {max_touches} newest"
    if (window.only and touch.channel not in window.only) or touch.channel in window.without:
        return "its channel does not count"
    return None


def _kept(transform: str, channels: Sequence[str]) -> Sequence[bool]:
    from gtm_dagster.attribution.transforms import keeping

    return [bool(stays) for stays in keeping(transform)(_one_path(channels))] if channels else []


def _one_path(channels: Sequence[str]) -> PathTable:
    import numpy as np

    from gtm_dagster.attribution.path_table import PathTable

    codes: Mapping[str, int] = {name: code for code, name in enumerate(dict.fromkeys(channels))}
    one: np.ndarray = np.ones(1)
    return PathTable(
        channels=tuple(codes), channel=np.array([codes[name] for name in channels]), lengths=np.array([len(channels)]),
        ages_hours=None, stages=np.zeros(len(channels), dtype=np.int64), conversions=one, value=None, nulls=0 * one, rows=one,
    )  # fmt: skip
