"""The drop a verdict shows, in words: of which visitors, with their own counts and its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gtm_dagster.commands.output import utc_time

if TYPE_CHECKING:
    from gtm_dagster.rollout.guard.verdict import Verdict

RANGE_FIELDS = ("range_control", "range_control_converted", "range_treated", "range_treated_converted")


def drop_line(verdict: Verdict) -> str | None:
    """One line; None without an estimate."""
    if verdict.estimate is None:
        return None
    from gtm_dagster.rollout.guard.verdict import change_and_interval

    drop, between = change_and_interval(verdict.estimate, verdict.low, verdict.high)
    since = f"exposed since {utc_time(verdict.estimate_since_us):%Y-%m-%dT%H:%M:%SZ} whose outcome is known"
    return (
        f"{drop}{between} of the control's conversion, by visitors {since}: control {verdict.range_control_converted:,} of "
        f"{verdict.range_control:,}, treated {verdict.range_treated_converted:,} of {verdict.range_treated:,}"
    )


def drop_fields(verdict: Verdict | None) -> dict[str, Any]:
    """For --json: where the range of the estimate begins, and what is counted in it."""
    return {
        "estimate_since": utc_time(verdict.estimate_since_us) if verdict else None,
        **{name: getattr(verdict, name) if verdict else None for name in RANGE_FIELDS},
    }
