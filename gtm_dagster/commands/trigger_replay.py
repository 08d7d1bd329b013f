"""`gtm trigger replay`: messages that were given up are sent again."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json
from gtm_dagster.commands.trigger_deadletters import OfDestination, OfRule, Since, found, opened


def replay(
    context: typer.Context,
    rule: OfRule = None,
    destination: OfDestination = None,
    since: Since = None,
    maybe_arrived: Annotated[
        bool,
        typer.Option("--maybe-arrived", help="Also those that may have arrived, of destinations that take none twice."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent again.")] = False,
    json: Json = False,
) -> int:
    """Send dead letters again, under their ids. A destination that was disabled is enabled when it is named."""
    from gtm_dagster.delivery.dead_letters import replay as put_in_anew
    from gtm_dagster.delivery.message_store import MessageStore

    if rule is None and destination is None and since is None:
        raise Problem("say what is sent again: --rule, --destination or --since", 2)
    here = invocation(context)
    with closing(opened(here)) as con:
        store = MessageStore(con)
        letters = found(here, con, rule, destination, since)
        kept = [] if maybe_arrived else [each for each in letters if each.unknown and each.at_most_once]
        left = [each for each in letters if each not in kept]
        enabled = False
        if not dry_run:
            if destination is not None:
                with store.transaction():
                    enabled = store.enable(destination)
            put_in_anew(store, left, time.time_ns() // 1000)
    by_destination = Counter(each.destination for each in left)
    if json:
        say_json({"dry_run": dry_run, "messages": len(left), "by_destination": dict(sorted(by_destination.items())),
                  "maybe_arrived": len(kept), "enabled": destination if enabled else None})  # fmt: skip
        return 0
    verb = "would be sent again" if dry_run else "are due again"
    say(f"{len(left)} message{'' if len(left) == 1 else 's'} {verb}")
    for name, number in sorted(by_destination.items()):
        say(f"  {name}: {number}")
    if enabled:
        say(f"{destination} is enabled again")
    if kept:
        say(f"{len(kept)} may have arrived and stay; --maybe-arrived sends them, too")
    return 0


COMMANDS = (Command("trigger replay", replay, order=65),)
