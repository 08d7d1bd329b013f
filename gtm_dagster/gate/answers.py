"""The reasons of an answer, the counts by reason, and what of a provider's details is no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATIC = "STATIC"
TIMEOUT = "TIMEOUT"
ERROR = "ERROR"
STALE = "STALE"
KILLED = "KILLED"
BREAKER = "BREAKER"
FALLBACKS = (TIMEOUT, ERROR, STALE, KILLED, BREAKER)
"""Reasons for which the old flow is served without the provider's answer."""


@dataclass(frozen=True, slots=True)
class GateStats:
    """Counts since the controller started (in a forked child: since the fork).

    `answers` counts by reason, `treated` those with the new flow; `emitted` exposures reached the tracker, `untracked`
    were refused by it. `stuck` threads hang in the provider.
    """

    answers: Mapping[str, int]
    treated: int
    emitted: int
    untracked: int
    stuck: int
    breaker_open: bool
    stale: bool

    @property
    def fallbacks(self) -> int:
        """Answers without the provider's."""
        return sum(self.answers.get(reason, 0) for reason in FALLBACKS)


def is_failure(details: Any) -> bool:
    """Whether the provider reports a failure, or anything but True and False."""
    failed = getattr(details, "error_code", None) is not None or str(getattr(details, "reason", None)) == ERROR
    return failed or not isinstance(getattr(details, "value", None), bool)
