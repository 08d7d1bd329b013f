"""Providers and trackers for the gate's tests: scripted, hung, recording."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openfeature.flag_evaluation import FlagResolutionDetails, Reason

from gtm_dagster.rollout import RolloutController

FLAG = "checkout-v2"
PATIENT_MS = 30_000
"""Deadline of gates whose deadline is not what a test is about: a machine that is busy for 200 ms is no late provider."""


def eventually(holds: Callable[[], bool], seconds: float = 8.0) -> None:
    """Wait until `holds`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.005)


@dataclass
class Recorder:
    """A tracker that keeps what it is given, and fails when asked to."""

    events: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def track(self, event_name: str, **fields: Any) -> str:
        if self.error is not None:
            raise self.error
        self.events.append({"event_name": event_name, **fields})
        return "id"

    def emitted(self) -> list[tuple[str, str, int]]:
        """(variant, reason, epoch) of each exposure."""
        return [(e["properties"]["variant"], e["properties"]["reason"], e["properties"]["epoch"]) for e in self.events]


def patient(provider: Any, tracker: Any, **options: Any) -> RolloutController:
    """A gate that waits for its provider; test_gate_failures.py is about those that do not."""
    return RolloutController(provider, tracker, **{"deadline_ms": PATIENT_MS, **options})


class Says:
    """A provider that says what `answer` makes of (flag, key): details to return or an error to raise."""

    def __init__(self, answer: Callable[[str, str], Any]) -> None:
        self.answer = answer
        self.asked = 0

    def resolve_boolean_details(self, flag_key: str, default_value: bool, evaluation_context: Any = None) -> Any:
        assert default_value is False
        self.asked += 1
        answer = self.answer(flag_key, evaluation_context.targeting_key)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Hangs(Says):
    """A provider whose calls wait while it is hung; calls that hung stay so until `release`."""

    def __init__(self) -> None:
        super().__init__(lambda flag, key: on())
        self.hung = True
        self.waiting = 0
        self.release = threading.Event()

    def resolve_boolean_details(self, flag_key: str, default_value: bool, evaluation_context: Any = None) -> Any:
        if self.hung:
            self.waiting += 1
            assert self.release.wait(60)
            self.waiting -= 1
        return super().resolve_boolean_details(flag_key, default_value, evaluation_context)


def on(reason: str | None = Reason.SPLIT, **more: Any) -> FlagResolutionDetails[Any]:
    return FlagResolutionDetails(True, reason=reason, variant="on", **more)


def off(reason: str | None = Reason.SPLIT, **more: Any) -> FlagResolutionDetails[Any]:
    return FlagResolutionDetails(False, reason=reason, variant="off", **more)


def split_flags(share: int = 50, *, epoch: int | None = 3, flag: str = FLAG) -> dict[str, Any]:
    """A flagd document that turns `flag` on for `share` percent."""
    rule = {"fractional": [{"var": "targetingKey"}, ["on", share], ["off", 100 - share]]}
    rule_document = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": rule,
    }
    return {"flags": {flag: rule_document | ({} if epoch is None else {"metadata": {"epoch": epoch}})}}


def write(path: Path, text: str | dict[str, Any], newer_than: float = 0.0) -> None:
    """Replace the file; its mtime is newer than before, else the flagd watcher does not look."""
    newest = max(newer_than, path.stat().st_mtime if path.exists() else 0.0)
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    at = max(time.time(), newest + 1)
    os.utime(path, (at, at))
