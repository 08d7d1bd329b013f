"""`gtm flag`: a person makes a flag and sets its share, where flags live in a file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Invocation, Json, Problem, invocation, note, say, say_json

if TYPE_CHECKING:
    from gtm_dagster.rollout.control.flag_split import SplitFlag

Flag = Annotated[str, typer.Argument(metavar="FLAG", help="The flag's name.")]
Provider = Annotated[
    str | None, typer.Option(help="A provider of gtm.toml; default: that of the flag's guard, else the embedded file.")
]


def create(
    context: typer.Context,
    flag: Flag,
    split: Annotated[float, typer.Option(help="Share of the units with the new flow, 0 (off) to 1.")] = 0.0,
    provider: Provider = None,
    json: Json = False,
) -> None:
    """Make a flag, off or with a share of the units on the new flow, and read it back."""
    from gtm_dagster.rollout.control.flag_split import create_flag
    from gtm_dagster.rollout.providers import ProviderError

    here = invocation(context)
    try:
        created = create_flag(here.settings, flag, split, os.environ, provider)
    except ProviderError as error:
        raise Problem(str(error)) from None
    _show(here, created, "is made", json)


def split(
    context: typer.Context,
    flag: Flag,
    share: Annotated[float, typer.Argument(metavar="SHARE", help="Of the units with the new flow, 0 (off) to 1.")],
    provider: Provider = None,
    json: Json = False,
) -> None:
    """Set the share of the units with the new flow, and read it back; the same units stay treated while it grows."""
    from gtm_dagster.rollout.control.flag_split import split_flag
    from gtm_dagster.rollout.providers import ProviderError

    here = invocation(context)
    try:
        after = split_flag(here.settings, flag, share, os.environ, provider)
    except ProviderError as error:
        raise Problem(str(error)) from None
    _show(here, after, "is set", json)


def _show(here: Invocation, after: SplitFlag, done: str, json: bool) -> None:
    share = (after.state.share or 0.0) if after.state.enabled else 0.0
    if json:
        say_json(
            {"flag": after.flag, "provider": after.provider, "environment": after.environment, "enabled": after.state.enabled,
             "share": share, "fingerprint": after.state.fingerprint, "guards": list(after.guards)}
        )  # fmt: skip
    else:
        served = (
            f"{100 * share:g} % of the units get the new flow" if after.state.enabled else "off, the old flow for all"
        )
        say(f"{after.flag} {done} at {after.provider}: {served} (read back)")
    for line in _unwatched(here, after):
        note(line)


def _unwatched(here: Invocation, after: SplitFlag) -> list[str]:
    """What a person still has to do: nobody watches the flag, or the kill list holds it off."""
    from gtm_dagster.gate import kill_list
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.evaluation import store_exists
    from gtm_dagster.rollout.guard.decide import ARMED

    lines = []
    if not after.guards:
        lines.append(f'no guard watches it: add [[guards]] with flag = "{after.flag}" to gtm.toml, then arm it')
    armed = False
    if after.guards and store_exists(here.settings):
        with OpsStore.of(here.settings) as store:
            rows = [store.guard(key) for key in after.guards]
        armed = any(row is not None and row.state == ARMED for row in rows)
    if after.guards and not armed:
        lines.append(f"no guard of it is armed: `gtm guard rearm {after.flag} --reason ...`")
    try:
        killed = after.flag in kill_list.read(here.settings.kill_list_path)
    except kill_list.KillListError as error:
        return [*lines, str(error)]
    if killed and after.state.enabled:
        lines.append(f"the kill list holds {after.flag} off in every gate until its guard is armed again")
    return lines


COMMANDS = (
    Group("flag", "Flags in a file: make one, set its share.", order=155),
    Command("flag create", create, order=10),
    Command("flag split", split, order=20),
)
