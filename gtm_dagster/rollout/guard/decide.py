"""From verdict and signals to the guard's state and whether it acts. Pure; the only clock is the stream's watermark."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import SRM_LIMIT, Verdict
from gtm_dagster.settings import CONVERSION

DISARMED, ARMED = "DISARMED", "ARMED"
ROLLING_BACK, VERIFYING, ROLLED_BACK = "ROLLING_BACK", "VERIFYING", "ROLLED_BACK"
ROLLBACK_FAILED, SUPERSEDED, GIVEN_UP = "ROLLBACK_FAILED", "SUPERSEDED", "GIVEN_UP"
WARMUP, SUSPECT, BREACH, BLIND, SRM_HOLD = "WARMUP", "SUSPECT", "BREACH", "BLIND", "SRM_HOLD"

UNFINISHED = frozenset({ROLLING_BACK, VERIFYING, ROLLBACK_FAILED})
"""A rollback was begun and its end is not recorded: asked again until it is."""


@dataclass(frozen=True)
class Signals:
    """What reaches the guard besides its counts.

    `watermark_us`: all producers have sent everything up to it. `missing`: producers without a heartbeat for two
    minutes. `flag_enabled`: as the stream worker last read it at the provider. `blind`: why nothing can be concluded from
    the counts (see `blindness`), empty when something can. `notes`: what whoever reads the reason has to know beside it.
    `blind_metrics`: metrics that nothing can be concluded from; of several, the others go on.
    """

    watermark_us: int | None
    missing: tuple[str, ...] = ()
    flag_enabled: bool | None = None
    blind: str = ""
    notes: tuple[str, ...] = ()
    blind_metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """The state to show, whether to roll back now, why, and the watermark it was decided at."""

    state: str
    act: bool
    reason: str
    decided_us: int | None


def decide(stored: str, verdict: Verdict | None, signals: Signals, rule: Rule) -> Decision:
    """What follows. `verdict` may be None when there is nothing to evaluate; a guard in BLIND or SRM_HOLD never acts."""
    decision = _decided(stored, verdict, signals, rule)
    if stored != ARMED or not signals.notes:
        return decision
    return replace(decision, reason="; ".join((decision.reason, *signals.notes)))


def _decided(stored: str, verdict: Verdict | None, signals: Signals, rule: Rule) -> Decision:
    at = signals.watermark_us
    if stored in UNFINISHED:
        return Decision(
            stored,
            True,
            "the rollback is not finished; it is asked again until it is, or `gtm guard give-up` ends it",
            at,
        )
    if stored != ARMED:
        return Decision(stored, False, _LATCHED.get(stored, ""), at)
    blind = _blind(signals)
    if blind:
        return Decision(BLIND, False, f"{blind}; timers stand still, the evidence is kept", at)
    if signals.flag_enabled is False:
        return Decision(ARMED, False, "the flag is off at its provider; nothing to guard", at)
    if signals.blind and _hidden(verdict, signals):
        return Decision(BLIND, False, signals.blind, at)
    if verdict is None or verdict.blocks == 0 or verdict.supported_since_us is None:
        return Decision(WARMUP, False, verdict.reason if verdict else "no counts yet", at)
    if verdict.srm_log_e >= SRM_LIMIT:
        split = f"{verdict.treated_exposed} treated and {verdict.control_exposed} control units"
        return Decision(
            SRM_HOLD,
            False,
            f"the split is not the planned one ({split}, log e {verdict.srm_log_e:.1f} of {SRM_LIMIT:.1f}): "
            f"the arms cannot be compared; a person has to look. {verdict.reason}",
            at,
        )
    if verdict.above_since_us is not None:
        beside = f"; the conversion is not seen: {signals.blind}" if signals.blind else ""
        return Decision(BREACH, verdict.fires, verdict.reason + beside, at)
    if verdict.log_e >= rule.of_metric(verdict.metric).log_suspicion:
        return Decision(SUSPECT, False, verdict.reason, at)
    return Decision(ARMED, False, verdict.reason, at)


def _hidden(verdict: Verdict | None, signals: Signals) -> bool:
    """Whether a blind guard has nothing to go by: what hides one metric hides no other."""
    if verdict is None or not verdict.metric or verdict.metric in (CONVERSION, *signals.blind_metrics):
        return True
    return verdict.above_since_us is None


_LATCHED = {
    DISARMED: "not armed: `gtm guard rearm FLAG --reason ...` arms it",
    ROLLED_BACK: "rolled back and latched: `gtm guard rearm FLAG --reason ...` starts a new epoch",
    GIVEN_UP: "a person gave the rollback up before the flag was proven off. `gtm guard rearm` starts a new epoch",
    SUPERSEDED: "somebody changed the flag during the breach; their change stands. `gtm guard rearm` starts a new epoch",
}


def _blind(signals: Signals) -> str:
    if signals.watermark_us is None:
        return "no producer has sent a heartbeat: an event that is late looks like one that never happened"
    if signals.missing:
        ends = [name for name in signals.missing if name != "collector" and not name.startswith("stream/")]
        way_out = f" (waited for at most ten minutes; `gtm guard forget {ends[0]}` ends it now)" if ends else ""
        return f"no heartbeat for two minutes from {', '.join(signals.missing)}{way_out}"
    return ""


def episode_id(guard: str, epoch: int) -> str:
    """The name of the one rollback a guard can make in an epoch: 16 hex characters of SHA-256."""
    return hashlib.sha256(f"{guard}|{epoch}".encode()).hexdigest()[:16]
