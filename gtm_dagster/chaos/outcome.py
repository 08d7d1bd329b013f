"""The outcome of an experiment: figures, and every broken promise in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

Report = Callable[[str], None]
SHOWN = 20
"""Findings kept in words; further ones are counted."""


@dataclass(frozen=True)
class Outcome:
    """`figures` are counts and seconds; `found` names each broken promise; `skipped` is the reason it could not run."""

    experiment: str
    rounds: int
    seconds: float
    figures: dict[str, int | float]
    found: tuple[str, ...] = ()
    skipped: str | None = None

    @property
    def ok(self) -> bool:
        """It ran, and no promise was broken."""
        return not self.found and self.skipped is None

    def document(self) -> dict[str, Any]:
        """The outcome as `gtm doctor --drill --json` prints it."""
        fields = asdict(self)
        return {"drill": fields.pop("experiment"), **fields}


@dataclass
class Rounds:
    """At most `wanted` rounds, and after the first none that would begin later than `minutes` from now (None: any)."""

    wanted: int
    minutes: float | None = None
    done: int = 0
    began: float = field(default_factory=time.monotonic)

    def more(self) -> bool:
        """Whether another round may begin."""
        late = self.minutes is not None and time.monotonic() - self.began >= self.minutes * 60
        return self.done < self.wanted and not (late and self.done)

    def numbers(self) -> Iterator[int]:
        """1, 2, ... while another may begin; each is counted as done."""
        while self.more():
            self.done += 1
            yield self.done


class ChaosError(Exception):
    """An experiment could not go on, which is not a broken promise; the message says why."""


class UnknownExperimentError(ChaosError):
    """No experiment has this name; the message lists the names."""


@dataclass
class Findings:
    """Collects broken promises and reports each one at once."""

    report: Report
    texts: list[str] = field(default_factory=list)
    unlisted: int = 0

    def add(self, text: str) -> None:
        """Note one finding."""
        if len(self.texts) < SHOWN:
            self.texts.append(text)
            self.report(f"FOUND {text}")
        else:
            self.unlisted += 1

    def expect(self, kept: bool, text: str) -> bool:
        """Note `text` unless `kept`; returns `kept`."""
        if not kept:
            self.add(text)
        return kept

    def lines(self) -> tuple[str, ...]:
        """The findings in words; the last line counts those beyond SHOWN."""
        return (*self.texts, f"and {self.unlisted} more") if self.unlisted else tuple(self.texts)
