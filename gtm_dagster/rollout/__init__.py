"""Guarded rollout: the gate a product asks, the providers that hold its flags, and the guard that can turn one off.

Here belongs everything between a flag and its evidence. Not here: who runs the guard (sensors), where its counts are
kept (opsstore) or how they are taken (stream). Importing this package stays light: a product's process does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gtm_dagster.rollout.gate import RolloutController

__all__ = ["RolloutController"]


def __getattr__(name: str) -> Any:
    if name == "RolloutController":
        from gtm_dagster.rollout.gate import RolloutController

        return RolloutController
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
