"""What a writer has besides when its provider's flags can be made and split from here; never used by a guard."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from gtm_dagster.rollout.providers.base.writer import ProviderError


@runtime_checkable
class SplitWriter(Protocol):
    """A writer that can serve the new flow to a share of the units. Every method raises ProviderError."""

    def create(self, flag: str, environment: str, share: float) -> None:
        """Make the flag, its new flow for `share` (of 1) of the units; ProviderError when it is there already."""
        ...

    def set_share(self, flag: str, environment: str, share: float) -> None:
        """Serve the new flow to `share` (of 1) of the units; 0 is off for everybody, as `turn_off` leaves it.

        The same units stay treated while the share grows. ProviderError for a flag whose rules are more than a share:
        they would be lost.
        """
        ...


def checked_share(share: float, what: str) -> float:
    """The share; ProviderError when it is none."""
    if not 0 <= share <= 1:
        raise ProviderError(f"{what}: {share:g} is not a share; give one from 0 to 1 (0.5 is half of the units)")
    return share
