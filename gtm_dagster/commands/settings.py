"""`gtm settings`: what is set, and where each value comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, note, say
from gtm_dagster.commands.table_output import Form, Format, form_of, say_table


def settings(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="A setting, or a table such as attribution; default: all.")] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only those that are not the default.")] = False,
    format: Format = None,
    json: Json = False,
) -> None:
    """Every setting with its value and its origin: a file's line, a variable, the stage's preset, or the default.

    On a terminal as gtm.toml would have it, to be copied from.
    """
    from gtm_dagster.settings.listed import in_toml, listed
    from gtm_dagster.settings.nearest import known_names

    form = form_of(format, json)
    here = invocation(context)
    written, origin = here.written
    found = listed(written, origin)
    if key is not None:
        names = [each.key for each in found]
        found = [each for each in found if each.key == key or each.key.startswith(f"{key}.")]
        if not found:
            raise Problem(f"{key}: there is no such setting; {known_names(key, names)}", 2)
    if changed:
        found = [each for each in found if each.origin != "default"]
    if form is Form.TABLE:
        for each in found:
            say(in_toml(each))
    else:
        say_table(("setting", "value", "origin"), [(each.key, each.value, each.origin) for each in found], form)
    for line in here.notices:
        note(line)


COMMANDS = (Command("settings", settings, order=108),)
