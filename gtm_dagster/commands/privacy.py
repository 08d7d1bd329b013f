"""`gtm privacy`: pseudonyms."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json


def pseudonym(
    context: typer.Context, value: Annotated[str, typer.Argument(help="A user or anonymous id.")], json: Json = False
) -> None:
    """Print what the tables hold instead of VALUE."""
    if not value:
        raise Problem("an empty value has no pseudonym", 2)
    text = invocation(context).pseudonymize(value)
    if json:
        say_json({"pseudonym": text})
    else:
        say(text)


COMMANDS = (
    Group("privacy", "Pseudonyms.", order=140),
    Command("privacy pseudonym", pseudonym, order=10),
)
