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
    minutes = (counts.watermark_us / SLOT_US - counts.first_slot) * slot_minutes
    control, treated = counts.exposed_by_arm()
    conversions = sum(counts.converted_by_arm())
    if minutes <= 0 or not control or not conversions:
        return None
    # What is folded is older than a window.
    past_units = sum(each.exposed for each in counts.folded if each.arm == 0)
    past_converted = sum(each.converted for each in counts.folded if each.arm == 0)
    ripe = max(int(counts.watermark_us // SLOT_US - window_minutes / slot_minutes) - counts.slot0, 0)
    slots = ripe if past_units or counts.exposed[0, :ripe].sum() else counts.exposed.shape[1]
    mine = (counts.conv_arm == 0) & (counts.conv_slot - counts.slot0 < slots)
    converted = int(counts.conv_n[mine].sum()) + past_converted
    if not converted:
        return None
    ages = float((counts.conv_n * (counts.conv_age + 0.5)).sum())
    ages += sum(each.age_slots + 0.5 * each.converted for each in counts.folded)
    delay = ages / conversions * slot_minutes
    rate = converted / (int(counts.exposed[0, :slots].sum()) + past_units)
    return Traffic((control + treated) / minutes, treated / (control + treated), rate, delay)
