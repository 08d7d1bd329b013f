"""What every build step is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings
    from gtm_dagster.taxonomy import Plan


@dataclass(frozen=True)
class BuildContext:
    """The settings, the tracking plan, and whether to start from the landing files."""

    settings: Settings
    plan: Plan
    full: bool = False
