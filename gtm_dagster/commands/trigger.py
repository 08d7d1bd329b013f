"""The group `gtm trigger`; `list`, and `pause` and `resume`, which say to the running worker what a person wants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command, Group
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json
from gtm_dagster.commands.table_output import Format, flat, form_of, say_table
from gtm_dagster.commands.trigger_options import RuleName, RulesFile, rules_of, rules_path, trigger_state

if TYPE_CHECKING:
    from gtm_dagster.commands.output import Invocation


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


def _set(here: Invocation, rule: str, status: str, json: bool) -> None:
    from gtm_dagster.settings.nearest import known_names
    from gtm_dagster.triggers.runner_rows import rule_statuses, set_status
    from gtm_dagster.triggers.trigger_db import open_trigger_db, trigger_db_path

    path = trigger_db_path(here.settings.state_dir)
    if not path.exists():
        raise Problem(f"{path}: no rule has run yet; gtm stream runs them")
    with trigger_state(path):
        con = open_trigger_db(path)
        try:
            known = rule_statuses(con)
            if rule not in known:
                raise Problem(f"{rule}: there is no such rule; {known_names(rule, list(known))}", 2)
            before = known[rule][0]
            set_status(con, rule, status)
        finally:
            con.close()
    if json:
        say_json({"rule": rule, "before": before, "status": status})
    else:
        say(f"{rule}: {status}" + ("" if before == status else f" (it was {before})"))


COMMANDS = (
    Group("trigger", "Behavioural rules: check and try them, and see what they do.", order=165),
    Command("trigger list", rules, order=5),
    Command("trigger pause", pause, order=60),
    Command("trigger resume", resume, order=70),
)
