"""The group `gtm trigger`; `list`, and `pause` and `resume`, which say to the running worker what a person wants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json, say_prose
from gtm_dagster.commands.table_output import Format, flat, form_of, say_table
from gtm_dagster.commands.trigger_options import (
    RuleName,
    RulesFile,
    existing_state,
    rules_of,
    rules_path,
    trigger_state,
)

if TYPE_CHECKING:
    from gtm_dagster.commands.output import Invocation

Status = Literal["paused", "active"]
WAIT_SECONDS = 10.0
"""For the shards to say that they have it."""


def rules(context: typer.Context, file: RulesFile = None, format: Format = None, json: Json = False) -> None:
    """The rules of the file, and whether each runs."""
    from gtm_dagster.triggers.runner_rows import rule_statuses
    from gtm_dagster.triggers.trigger_db import reading_trigger_db, trigger_db_path

    here = invocation(context)
    form = form_of(format, json)
    found = rules_of(here, rules_path(here, file))
    path = trigger_db_path(here.settings.state_dir)
    statuses: dict[str, tuple[str, int]] = {}
    if path.exists():
        with trigger_state(path), reading_trigger_db(path) as con:
            statuses = rule_statuses(con)
    listed = [
        {"rule": rule.name, "status": statuses.get(rule.name, ("not run yet", 0))[0], "kind": rule.kind, "on": rule.on,
         "channel": rule.channel, "target": rule.target, "purpose": rule.purpose, "priority": rule.priority}
        for rule in found
    ]  # fmt: skip
    if json:
        say_json({"rules": listed})
        return
    drawn: list[dict[str, Any]] = [
        {k: row[k] for k in ("rule", "status", "on", "channel", "purpose")} for row in listed
    ]
    say_table(*flat(drawn if format is None else listed), form)


def pause(context: typer.Context, rule: RuleName, json: Json = False) -> None:
    """Let a rule decide on, and send nothing: what it would send ends as `paused`. Within a second, until `resume`."""
    _set(invocation(context), rule, "paused", json)


def resume(
    context: typer.Context,
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The name of a rule.")],
    json: Json = False,
) -> None:
    """Let a rule send again that was paused, or run again that was stopped after errors; what ended meanwhile stays so."""
    _set(invocation(context), rule, "active", json)


def _set(here: Invocation, rule: str, status: Status, json: bool) -> None:
    from gtm_dagster.triggers.runner_rows import rule_statuses, set_status
    from gtm_dagster.triggers.trigger_db import open_trigger_db

    if here.settings.trigger_shards is not None:
        _set_in_shards(here, rule, status, json)
        return
    path = existing_state(here)
    with trigger_state(path):
        con = open_trigger_db(path)
        try:
            known = rule_statuses(con)
            _check_name(rule, known)
            before = known[rule][0]
            set_status(con, rule, status)
        finally:
            con.close()
    if json:
        say_json({"rule": rule, "before": before, "status": status})
    else:
        say(f"{rule}: {status}" + ("" if before == status else f" (it was {before})"))


def _set_in_shards(here: Invocation, rule: str, status: Status, json: bool) -> None:
    from time import time_ns

    from gtm_dagster.eventlog.log import EventLogError
    from gtm_dagster.triggers.runner_rows import rule_statuses
    from gtm_dagster.triggers.sharded.shard_control import switch_rule
    from gtm_dagster.triggers.sharded.shard_topics import ShardError, ShardTopics
    from gtm_dagster.triggers.trigger_db import reading_trigger_db, trigger_db_path

    path = trigger_db_path(here.settings.state_dir)
    known: list[str] = []
    if path.exists():
        with trigger_state(path), reading_trigger_db(path) as con:
            known = list(rule_statuses(con))
    _check_name(rule, known or [each.name for each in rules_of(here, rules_path(here, None))])
    topics = ShardTopics.at(here.settings.trigger_shards or "", here.settings.kafka)
    try:
        reached = switch_rule(topics, rule, status, time_ns() // 1000, WAIT_SECONDS)
    except (ShardError, EventLogError) as error:
        raise Problem(str(error)) from None
    if json:
        say_json({"rule": rule, "status": status, "shards": len(reached.of), "missing": reached.missing})
        return
    say(f"{rule}: {status} in {len(reached.shards)} of {len(reached.of)} shards")
    if reached.missing:
        numbers = ", ".join(map(str, reached.missing))
        say_prose(
            f"shards {numbers} take it as soon as a resolver and their worker run: `gtm trigger status` says whether they do"
        )


def _check_name(rule: str, known: Iterable[str]) -> None:
    from gtm_dagster.settings.nearest import known_names

    if rule not in known:
        raise Problem(f"{rule}: there is no such rule; {known_names(rule, list(known))}", 2)


COMMANDS = (
    Group("trigger", "Behavioural rules: check and try them, and see what they do.", order=165),
    Command("trigger list", rules, order=5),
    Command("trigger pause", pause, order=60),
    Command("trigger resume", resume, order=70),
)
