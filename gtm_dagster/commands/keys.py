"""Write keys of the collector, and pseudonyms."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.output import Json, Problem, invocation, note, say, say_json, say_table

keys = typer.Typer(help="Write keys of the collector.", no_args_is_help=True)
privacy = typer.Typer(help="Pseudonyms.", no_args_is_help=True)


@keys.command()
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the events of this key carry as write_key.")],
    json: Json = False,
) -> None:
    """Make a key and print its secret, which is shown this once."""
    from gtm_dagster.collector.keys import KeyStore

    secret = KeyStore(invocation(context).settings.keys_dir).add(name)
    if json:
        say_json({"name": name, "secret": secret})
    else:
        say(secret)
        note("keep it: only its hash is stored, and it cannot be shown again")


@keys.command("list")
def list_(context: typer.Context, json: Json = False) -> None:
    """Names of the keys and when they were made."""
    from gtm_dagster.collector.keys import KeyStore

    held = KeyStore(invocation(context).settings.keys_dir).list()
    if json:
        say_json([{"name": key.name, "created_at": key.created_at} for key in held])
    else:
        say_table(["name", "created_at"], [(key.name, key.created_at) for key in held])


@keys.command()
def revoke(
    context: typer.Context, name: Annotated[str, typer.Argument(help="Name of the key.")], json: Json = False
) -> None:
    """Take a key away; a running collector refuses it from then on."""
    from gtm_dagster.collector.keys import KeyStore

    KeyStore(invocation(context).settings.keys_dir).revoke(name)
    if json:
        say_json({"revoked": name})
    else:
        say(f"{name} is revoked")


@privacy.command()
def pseudonym(
    context: typer.Context, value: Annotated[str, typer.Argument(help="A user or anonymous id.")], json: Json = False
) -> None:
    """Print what the tables hold instead of VALUE."""
    if not value:
        raise Problem("an empty value has no pseudonym", 2)
    told = invocation(context).pseudonymize(value)
    if json:
        say_json({"pseudonym": told})
    else:
        say(told)
