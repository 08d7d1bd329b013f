"""Write keys of the collector, and pseudonyms."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.surface import Json, Problem, invocation, say, say_json

keys = typer.Typer(help="Write keys of the collector.", no_args_is_help=True)
privacy = typer.Typer(help="Pseudonyms.", no_args_is_help=True)


@privacy.command()
def pseudonym(
    context: typer.Context, value: Annotated[str, typer.Argument(help="A user or anonymous id.")], json: Json = False
) -> None:
    """Print what the tables hold instead of VALUE."""
    if not value:
        raise Problem("an empty value has no pseudonym", 2)
    told = invocation(context).pseudonymize(value)
    say_json({"pseudonym": told}) if json else say(told)
