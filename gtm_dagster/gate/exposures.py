"""What the gate emits: each exposure once as `flag_exposed`, and the counts of every answer; and what of it counts."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from typing import Any, Protocol

import msgspec

from gtm_dagster.gate.contained import Contained
from gtm_dagster.gate.identity import Unit
from gtm_dagster.gate.memory import FlagMemory

logger = logging.getLogger("gtm_dagster.rollout")

EXPOSED = "flag_exposed"
SPLIT = "SPLIT"
"""The reason of a randomised exposure; any other was served for a reason of its own."""
ARMS = ("control", "treatment")
_WHOLE = 64
"""Longest id in characters that is remembered as it is; of a longer one 16 bytes of a hash are."""


class Exposure(msgspec.Struct, frozen=True):
    """The properties of an exposure that the guard reads."""

    flag: str
    variant: str
    reason: str | None = None
    epoch: int | None = None


_decode = msgspec.json.Decoder(Exposure).decode


def randomised_exposure(properties: str | None) -> Exposure | None:
    """The exposure in a record's properties (JSON); None unless the unit was randomised into one of the arms."""
    try:
        exposure = _decode(properties or "")
    except (msgspec.DecodeError, UnicodeError):
        return None
    return exposure if exposure.variant in ARMS and (exposure.reason or SPLIT) == SPLIT else None


class RefusedExposure(msgspec.Struct, frozen=True):
    """What a refused exposure shows of itself; None for what it does not."""

    flag: str | None = None
    variant: str | None = None


class _Masked(msgspec.Struct):
    properties: RefusedExposure


_decode_masked = msgspec.json.Decoder(_Masked).decode


def refused_exposure(raw: str | None) -> RefusedExposure | None:
    """What a record's masked event (JSON) shows of an exposure; None when it cannot be read."""
    try:
        return _decode_masked(raw or "").properties
    except (msgspec.DecodeError, UnicodeError):
        return None


class Tracker(Protocol):
    """The part of `GtmTracker` the gate needs."""

    def track(self, event_name: str, /, **fields: Any) -> Any: ...


class Exposures:
    """Emits an exposure once per (flag, epoch, unit, reason), remembering about the `remember` last ones.

    One that was forgotten is emitted again; whoever counts takes the first of a unit. Thread safe.
    """

    def __init__(self, tracker: Tracker, remember: int) -> None:
        self._tracker = tracker
        self._half = max(1, remember // 2)
        self._lock = threading.Lock()
        self._young: set[tuple[object, ...]] = set()
        self._old: set[tuple[object, ...]] = set()
        self._answers: Counter[str] = Counter()
        self._treated = self._emitted = self._failed = 0

    def note(self, flag: str, memory: FlagMemory, unit: Unit, reason: str, treated: bool) -> None:
        """Count an answer, and emit it when it is new. A tracker that fails is counted, never raised."""
        epoch = memory.epoch
        key = (flag, epoch, memory.run, _remembered(unit.key), unit.anonymous, reason)
        with self._lock:
            self._answers[reason] += 1
            self._treated += treated
            if key in self._young:
                return
            new = key not in self._old
            self._young.add(key)
            if len(self._young) >= self._half:
                self._old, self._young = self._young, set()
        if new:
            self._emit(key, flag, epoch, unit, reason, "treatment" if treated else "control")

    def unknown(self, reason: str) -> None:
        """Count an answer without a unit: there is nothing to emit."""
        with self._lock:
            self._answers[reason] += 1

    def renew(self) -> None:
        """A lock and counts of its own for a forked child; what the parent emitted stays remembered."""
        self._lock = threading.Lock()
        self._answers = Counter()
        self._treated = self._emitted = self._failed = 0

    def counts(self) -> tuple[dict[str, int], int, int, int]:
        """Answers by reason, answers with the new flow, exposures emitted, exposures the tracker refused."""
        with self._lock:
            return dict(self._answers), self._treated, self._emitted, self._failed

    def _emit(self, key: tuple[object, ...], flag: str, epoch: int, unit: Unit, reason: str, variant: str) -> None:
        who = {"anonymous_id" if unit.anonymous else "user_id": unit.key}
        properties = {"flag": flag, "variant": variant, "served": variant, "reason": reason, "epoch": epoch}
        try:
            with Contained():
                self._tracker.track(EXPOSED, **who, properties=properties)
        except Exception as error:  # noqa: BLE001 - measuring must not break what is measured
            with self._lock:
                self._failed += 1
                first = self._failed == 1
                if not isinstance(error, ValueError):
                    self._young.discard(key)
                    self._old.discard(key)
            if first:
                logger.warning("exposures are not tracked: %s", error)
        else:
            with self._lock:
                self._emitted += 1


def _remembered(key: str) -> str | bytes:
    return key if len(key) <= _WHOLE else hashlib.blake2b(key.encode(), digest_size=16).digest()
