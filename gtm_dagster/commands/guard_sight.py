"""What a guard sees beside its evidence, and what was asked of it, as `gtm guard status` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gtm_dagster.commands.output import utc_time

if TYPE_CHECKING:
    from gtm_dagster.opsstore import RequestRow
    from gtm_dagster.opsstore.stream_positions import Waiting
    from gtm_dagster.rollout.guard.blindness import Seen
    from gtm_dagster.rollout.guard.by_arm import ByArm

_CLOCKS = 5


def sight_fields(
    seen: Seen | None, by_arm: ByArm | None, early: Mapping[str, int], waiting: Waiting | None
) -> dict[str, Any]:
    """For --json; null before the guard was ever counted."""
    producers = [] if waiting is None else [*waiting.awaited, *waiting.late, *waiting.vanished]
    return {
        "conversions_seen": seen.conversions if seen else None,
        "conversions_of_exposed_units": seen.matched if seen else None,
        "conversions_refused": dict(seen.refused) if seen else None,
        "conversions_suppressed": dict(seen.suppressed) if seen else None,
        "exposures_refused": seen.refused_exposures if seen else None,
        "converted_before_exposure": early_by_arm(early),
        **_by_arm_fields(by_arm),
        "vanished_producers": [
            {"producer": row.name, "since": utc_time(row.received_us)} for row in (waiting.vanished if waiting else ())
        ],
        "clock_skew_seconds": {row.name: row.skew_us / 1e6 for row in producers if row.skew_us is not None},
    }


def _by_arm_fields(by_arm: ByArm | None) -> dict[str, Any]:
    from gtm_dagster.rollout.guard.blindness import CONVERSIONS, EXPOSURES, REFUSED
    from gtm_dagster.rollout.guard.by_arm import BOTS

    return {
        f"{kind}_{what}_by_arm": _arms(by_arm.pair(kind, what)) if by_arm else None
        for kind in (REFUSED, BOTS)
        for what in (EXPOSURES, CONVERSIONS)
    } | {
        f"bots_{what}_left_out": by_arm.total(BOTS, what) if by_arm else None for what in (EXPOSURES, CONVERSIONS)
    }  # fmt: skip


def _arms(pair: tuple[int, int]) -> dict[str, int]:
    return dict(zip(("control", "treatment"), pair, strict=True))


def sight_lines(
    conversion: str, by_arm: ByArm | None, early: Mapping[str, int], waiting: Waiting | None = None
) -> list[str]:
    """Bots that were left out, visitors who converted only before their exposure, and how far each producer's clock is off."""
    from gtm_dagster.rollout.guard.by_arm import bots_text

    lines = []
    if by_arm is not None and (bots := bots_text(conversion, by_arm)):
        lines.append(bots)
    if early:
        lines.append(early_text(early))
    if waiting is not None and (clocks := clocks_text(waiting)):
        lines.append(clocks)
    return lines


def early_by_arm(early: Mapping[str, int]) -> dict[str, int]:
    """Units by arm that converted only before their exposure, for --json."""
    return _arms((early.get("control", 0), early.get("treatment", 0)))


def early_text(early: Mapping[str, int]) -> str:
    """Units by arm that converted only before their exposure, as a sentence."""
    numbers = ", ".join(f"{arm} {n:,}" for arm, n in sorted(early.items()))
    return f"converted only before their exposure: {numbers}; many in one arm are a clock that is behind"


def clocks_text(waiting: Waiting) -> str:
    """How far the clock of each producer was off at its last heartbeat that said so, the farthest first; empty when none did."""
    rows = [row for row in (*waiting.awaited, *waiting.late, *waiting.vanished) if row.skew_us is not None]
    rows.sort(key=lambda row: (-abs(row.skew_us or 0), row.name))
    parts = [f"{row.name} {_skew(row.skew_us or 0)}" for row in rows[:_CLOCKS]]
    more = [f"{len(rows) - _CLOCKS} more"] if len(rows) > _CLOCKS else []
    return f"clocks: {', '.join(parts + more)}" if parts else ""


def _skew(skew_us: int) -> str:
    seconds = abs(skew_us) / 1e6
    if seconds < 1:
        return "right to a second"
    length = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    return f"{length} {'behind' if skew_us > 0 else 'ahead'}"


def request_fields(request: RequestRow | None) -> dict[str, Any] | None:
    """For --json: what an alerting system asked for in this epoch."""
    if request is None:
        return None
    return {
        "episode": request.episode, "actor": request.actor, "reason": request.reason, "asked_at": utc_time(request.asked_us),
        "times": request.times, "last_at": utc_time(request.last_us), "refused": request.refused,
    }  # fmt: skip


def request_line(request: RequestRow) -> str:
    """Who asked for a rollback and why, and why it could not be carried out."""
    from gtm_dagster.rollout.control.external_rollback import request_text

    if request.refused is None:
        return request_text(request)
    return f"PROBLEM {request_text(request)}; it could not be carried out: {request.refused}"
