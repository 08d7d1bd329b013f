"""What a product asks for a flag's value, inside its own process: one call, a deadline, the old flow on any doubt.

Belongs here: the answer, the exposure it emits, and the local kill list. Does not belong here: who decides about a flag
(rollout) and where flags live (rollout.providers). Importing it loads no data library and takes under 100 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gtm_dagster.gate.controller import RolloutController

__all__ = ["RolloutController"]


def __getattr__(name: str) -> Any:
    if name == "RolloutController":
        from gtm_dagster.gate.controller import RolloutController

        return RolloutController
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
