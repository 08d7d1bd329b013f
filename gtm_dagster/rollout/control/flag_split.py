"""What a person does with a flag before and during a rollout: make it, and set the share of units with the new flow.

A guard does neither. What was written is read back, and a provider whose flags cannot be written from here says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING

from gtm_dagster.rollout.providers import FlagState, FlagWriter, ProviderError, writer_for
from gtm_dagster.rollout.providers.base.split_writer import ShareWriter, SplitWriter
from gtm_dagster.settings import Guard

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

_ROUNDING = 0.00006
"""Of a share: providers keep steps of 0.01 %."""


@dataclass(frozen=True)
class SplitFlag:
    """A flag after the write, as its provider reports it; `guards` are the keys of those that watch it there."""

    flag: str
    provider: str
    environment: str
    state: FlagState
    guards: tuple[str, ...]


def create_flag(
    settings: Settings, flag: str, share: float, environ: Mapping[str, str], provider: str | None = None
) -> SplitFlag:
    """Make a flag with `share` (of 1) of the units on the new flow. Raises ProviderError, also when it is there already."""
    return _written(settings, flag, share, environ, provider, create=True)


def split_flag(
    settings: Settings, flag: str, share: float, environ: Mapping[str, str], provider: str | None = None
) -> SplitFlag:
    """Set the share (of 1) of the units on the new flow; 0 is off. Raises ProviderError."""
    return _written(settings, flag, share, environ, provider, create=False)


def _written(
    settings: Settings, flag: str, share: float, environ: Mapping[str, str], provider: str | None, *, create: bool
) -> SplitFlag:
    if not flag.strip():
        raise ProviderError("a flag has a name; give one")
    place = _place(settings, flag, provider)
    declared = settings.provider_of(place)
    writer: FlagWriter = writer_for(declared, environ)
    if create:
        if not isinstance(writer, SplitWriter):
            raise ProviderError(
                f"provider {declared.name}: gtm makes flags in flag files alone (flagd, goff), not at {declared.kind}; make it "
                "there, off and with a percentage, then `gtm flag split` sets its share"
            )
        writer.create(flag, place.environment, share)
    elif isinstance(writer, ShareWriter):
        writer.set_share(flag, place.environment, share, comment="gtm flag split")
    else:
        raise ProviderError(f"provider {declared.name}: shares cannot be set from here at {declared.kind}; do it there")
    state = writer.read_back(flag, place.environment)
    stored = state.share if state.enabled else 0.0
    if stored is None or not isclose(stored, share, abs_tol=_ROUNDING):
        raise ProviderError(
            f"{flag} at {declared.name}: a share of {share:g} was written, and read back it is {stored} ({state.detail}); "
            "somebody else writes this flag"
        )
    watching = [
        guard.key
        for guard in settings.guards
        if (guard.flag, guard.provider, guard.environment) == (flag, place.provider, place.environment)
    ]
    return SplitFlag(flag, declared.name, place.environment, state, tuple(watching))


def _place(settings: Settings, flag: str, provider: str | None) -> Guard:
    """Provider and environment: those of the flag's guard, else the embedded file; `provider` goes first."""
    guards = [guard for guard in settings.guards if guard.flag == flag and provider in (None, guard.provider)]
    if len(places := sorted({f"{guard.provider} ({guard.environment})" for guard in guards})) > 1:
        raise ProviderError(f"{flag} has guards at several places, {', '.join(places)}: do it at each of them")
    place = guards[0] if guards else Guard(flag, "", provider=provider or "flagd")
    known = {"flagd", *(each.name for each in settings.providers)}
    if place.provider not in known:
        raise ProviderError(f"{place.provider!r} is no provider of gtm.toml; there are: {', '.join(sorted(known))}")
    return place
