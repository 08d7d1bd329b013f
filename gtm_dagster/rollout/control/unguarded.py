"""A declared guard that nobody armed, or that the ops store does not know any more, while its flag is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gtm_dagster.gate import kill_list
from gtm_dagster.rollout.guard.decide import DISARMED, GIVEN_UP
from gtm_dagster.rollout.providers import ProviderError, writer_for

if TYPE_CHECKING:
    from gtm_dagster.settings import Guard, Settings


def unguarded(settings: Settings, guard: Guard, state: str, environ: Mapping[str, str]) -> str | None:
    """What a person has to know: the flag serves the new flow and no guard watches it. None when all is well.

    Asks the provider, for a guard that is DISARMED, or whose rollback was given up, only; None too when the provider does not answer.
    """
    if state not in (DISARMED, GIVEN_UP) or guard not in settings.guards:
        return None
    try:
        flag = writer_for(settings.provider_of(guard), environ).read_back(guard.flag, guard.environment)
        if not flag.enabled or guard.flag in kill_list.read(settings.kill_list_path):
            return None
    except (ProviderError, kill_list.KillListError):
        return None
    if state == GIVEN_UP:
        return (
            f"{guard.flag} is on at {guard.provider} ({flag.detail}) and its rollback was given up: nobody turns it off. "
            f"Turn it off there, or arm the guard: `gtm guard rearm {guard.flag} --reason ...`"
        )
    return (
        f"{guard.flag} is on at {guard.provider} ({flag.detail}) and its guard is not armed: nobody turns it off. "
        f"`gtm guard rearm {guard.flag} --reason ...` arms it; was it armed before, look for another ops.db than this one"
    )
