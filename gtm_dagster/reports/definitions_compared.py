"""The same events under another definition of a session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DefinitionResult:
    """What one definition makes of the period: sessions, conversions nobody earned, and conversions by label and result."""

    definition: str
    sessions: int
    conversions: dict[str, tuple[float, ...]]
    seconds: float
