"""The traffic of a guarded flow, as somebody states it or as a guard's own counts show it."""

from __future__ import annotations

from dataclasses import dataclass

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts


@dataclass(frozen=True)
class Traffic:
    """What a flow lives on: visitors of both arms a minute, treated share, conversion within the window, mean delay."""

    visitors_per_minute: float
    treated_share: float
    base_rate: float
    delay_minutes: float = 0.0


def observed_traffic(counts: Counts, window_minutes: float) -> Traffic | None:
    """The traffic of a guard's own counts up to their watermark; None before both arms and a conversion were seen.

    The base rate is the control arm's, from cohorts whose conversion window has passed when there are any.
    """
    slot_minutes = SLOT_US / 60e6
    minutes = (counts.watermark_us / SLOT_US - counts.slot0) * slot_minutes
    control, treated = (int(n) for n in counts.exposed.sum(axis=1))
    if minutes <= 0 or not control or not len(counts.conv_n):
        return None
    ripe = int(counts.watermark_us // SLOT_US - window_minutes / slot_minutes) - counts.slot0
    slots = ripe if ripe > 0 and counts.exposed[0, :ripe].sum() else counts.exposed.shape[1]
    mine = (counts.conv_arm == 0) & (counts.conv_slot - counts.slot0 < slots)
    converted = int(counts.conv_n[mine].sum())
    if not converted:
        return None
    delay = float((counts.conv_n * (counts.conv_age + 0.5)).sum() / counts.conv_n.sum()) * slot_minutes
    rate = converted / int(counts.exposed[0, :slots].sum())
    return Traffic((control + treated) / minutes, treated / (control + treated), rate, delay)
