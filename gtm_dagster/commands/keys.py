"""`gtm keys`: keys of the collector."""

from __future__ import annotations

from typing import Annotated

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, invocation, note, note_whole, say, say_json
from gtm_dagster.commands.table_output import Format, form_of, say_table


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the events of this key carry as write_key.")],
    gates_consent: Annotated[
        bool,
        typer.Option(
            "--gates-consent", help="Its sender asks for consent before it sends: only a refusal is suppressed."
        ),
    ] = False,
    role: Annotated[
        str,
        typer.Option(
            help="server: kept by your own programs; client: ships in pages and apps, so it is public; alerting: asks for "
            "rollbacks of guarded flags and sends nothing."
        ),
    ] = "server",
    json: Json = False,
) -> None:
    """Make a key and print its secret, which is shown this once."""
    from gtm_dagster.collector.keys import KeyStore

    settings = invocation(context).settings
    secret = KeyStore(settings.keys_dir).add(name, gates_consent=gates_consent, role=role)
    if json:
        say_json({"name": name, "secret": secret, "gates_consent": gates_consent, "role": role})
        return
    say(secret)
    note("keep it: only its hash is stored, and it cannot be shown again")
    if role == "client":
        collector = f"http://{settings.collector.host}:{settings.collector.port}"
        note("for pages (docs/browser.md), with the collector's public address:")
        note_whole(f'<script async src="{collector}/gtm.js" data-key="{secret}"></script>')
        if not settings.collector.cors_origins:
            note("collector.cors_origins names no site yet: its pages could not read the answers")


def list_(context: typer.Context, format: Format = None, json: Json = False) -> None:
    """Names of the keys, their roles and when they were made."""
    from gtm_dagster.collector.keys import KeyStore

    names = ("name", "role", "created_at", "gates_consent")
    listed = KeyStore(invocation(context).settings.keys_dir).list()
    say_table(names, [[getattr(key, name) for name in names] for key in listed], form_of(format, json))


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


COMMANDS = (
    Group("keys", "Keys of the collector.", order=130),
    Command("keys add", add, order=10),
    Command("keys list", list_, order=20),
    Command("keys revoke", revoke, order=30),
)
