"""`gtm plan publish`: the plan's events as JSON Schemas in a schema registry."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json


def publish(
    context: typer.Context,
    registry: Annotated[str, typer.Option(help="Address of the registry, such as http://registry:8081.")],
    prefix: Annotated[str | None, typer.Option(help="What subjects begin with; default: gtm.")] = None,
    compatibility: Annotated[
        str | None,
        typer.Option(help="What the subjects get: BACKWARD, FULL, NONE ...; default: what the registry has."),
    ] = None,
    credentials_env: Annotated[
        str | None, typer.Option(help="Variable with user:password, or with a token, for the registry.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask what would be registered, and register nothing.")
    ] = False,
    json: Json = False,
) -> int:
    """Register the schema of each event that the registry does not have; again it changes nothing.

    Exit 1: a registered schema does not allow the plan's. Then nothing is registered, and the events are named.
    """
    from gtm_dagster.taxonomy.schema_registry import LEVELS, SUBJECT_PREFIX, Registry, RegistryError

    level = compatibility.upper() if compatibility else None
    if level is not None and level not in LEVELS:
        raise Problem(f"--compatibility: {compatibility!r} is not known; choose {', '.join(LEVELS)}", 2)
    credentials = os.environ.get(credentials_env) if credentials_env else None
    if credentials_env and not credentials:
        raise Problem(f"--credentials-env: the variable {credentials_env} is not set", 2)
    plan = invocation(context).plan
    try:
        found = Registry(registry, credentials).publish(
            plan, SUBJECT_PREFIX if prefix is None else prefix, level, dry_run=dry_run
        )
    except RegistryError as error:
        raise Problem(str(error)) from None
    if json:
        say_json(
            {
                "ok": not found.incompatible,
                "plan_version": plan.version,
                "registered": found.registered,
                "unchanged": found.unchanged,
                "incompatible": [{"subject": each.subject, "reasons": each.reasons} for each in found.incompatible],
                "left": found.left,
            }
        )
        return 1 if found.incompatible else 0
    for each in found.incompatible:
        say(f"{each.subject}: incompatible with its newest version: {'; '.join(each.reasons)}")
    if found.incompatible:
        say(
            "nothing was registered; publish under another --prefix, or with --compatibility NONE when its readers know of it"
        )
        return 1
    for subject, version in found.registered.items():
        say(f"{subject}: would be registered" if dry_run else f"{subject}: registered as version {version}")
    for subject in found.left:
        say(f"{subject}: left there, plan {plan.version} has no such event")
    what = "to register" if dry_run else "registered"
    say(f"plan {plan.version}: {len(found.registered)} {what}, {len(found.unchanged)} there already")
    return 0


COMMANDS = (Command("plan publish", publish, order=30),)
