"""What a writer has besides when the share of its provider's flags can be set from here, and flags be made.

A guard uses neither: a person does, or a ramp that a person declared.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from gtm_dagster.rollout.providers.base.writer import Conflict, FlagState, ProviderError


@runtime_checkable
class ShareWriter(Protocol):
    """A writer that can serve the new flow to a share of the units. Every method raises ProviderError."""

    def set_share(
        self, flag: str, environment: str, share: float, *, comment: str = "", expected: FlagState | None = None
    ) -> None:
        """Serve the new flow to `share` (of 1) of the units, switching the flag on; 0 is off for everybody.

        The same units stay treated while the share grows. ProviderError for a flag whose rules are more than a share:
        they would be lost. With `expected`, raises Conflict instead of overwriting a flag that has changed since.
        """
        ...


@runtime_checkable
class SplitWriter(ShareWriter, Protocol):
    """A writer that can make flags too."""

    def create(self, flag: str, environment: str, share: float) -> None:
        """Make the flag, its new flow for `share` (of 1) of the units; ProviderError when it is there already."""
        ...


def checked_share(share: float, what: str) -> float:
    """The share; ProviderError when it is none."""
    if not 0 <= share <= 1:
        raise ProviderError(f"{what}: {share:g} is not a share; give one from 0 to 1 (0.5 is half of the units)")
    return share


def check_unchanged(state: FlagState, expected: FlagState | None, what: str) -> None:
    """Raises Conflict when the flag is not as expected."""
    if expected is not None and state.fingerprint != expected.fingerprint:
        raise Conflict(
            f"{what}: somebody changed the flag ({expected.fingerprint} became {state.fingerprint}); its share is left as it is"
        )
