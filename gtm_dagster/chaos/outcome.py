"""What a drill hands back: figures, and whatever was not as promised."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Tell = Callable[[str], None]
SHOWN = 20
"""Findings kept in words; further ones are counted."""


@dataclass(frozen=True)
class Outcome:
    """`figures` are what was counted; `found` says in words what broke a promise; `skipped` why it could not run."""

    drill: str
    rounds: int
    seconds: float
    figures: dict[str, int | float]
    found: tuple[str, ...] = ()
    skipped: str | None = None

    @property
    def ok(self) -> bool:
        """Every promise held, and the drill ran."""
        return not self.found and self.skipped is None


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


class DrillError(Exception):
    """A drill could not go on, which is not the same as a promise broken; the message says why."""


class UnknownDrillError(DrillError):
    """No drill has this name; the message lists those there are."""


@dataclass
class Findings:
    """Collects what was not as promised; says each one at once."""

    tell: Tell
    said: list[str] = field(default_factory=list)
    more: int = 0

    def add(self, text: str) -> None:
        """Note one finding."""
        if len(self.said) < SHOWN:
            self.said.append(text)
            self.tell(f"FOUND {text}")
        else:
            self.more += 1

    def expect(self, kept: bool, text: str) -> bool:
        """Note `text` unless `kept`; returns `kept`."""
        if not kept:
            self.add(text)
        return kept

    def told(self) -> tuple[str, ...]:
        """All findings; the last line counts those beyond SHOWN."""
        return (*self.said, f"and {self.more} more") if self.more else tuple(self.said)
