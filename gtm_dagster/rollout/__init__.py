"""Guarded rollout: the providers of flags, the guard's statistics, and the control that turns a flag off.

Belongs here: everything between a flag and its evidence. Does not belong here: what a product asks (gate), taking counts
(stream), keeping them (opsstore), sending messages (delivery). Importing it stays light: a product's process does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gtm_dagster.gate import RolloutController

__all__ = ["RolloutController"]


def __getattr__(name: str) -> Any:
    if name == "RolloutController":
        from gtm_dagster.gate import RolloutController

        return RolloutController
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
