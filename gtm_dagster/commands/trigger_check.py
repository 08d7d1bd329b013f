"""`gtm trigger check`: whether rules fit the tracking plan, and what an edit does to what is open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Invocation, Json, Problem, invocation, say, say_json
from gtm_dagster.commands.table_output import Form, ReportFormat, flat, form_of, say_table
from gtm_dagster.commands.trigger_options import rules_of, rules_path, trigger_state

if TYPE_CHECKING:
    from gtm_dagster.triggers.compiled_rule import Condition, Rule


def check(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="A file of rules. Default: triggers_file.", show_default=False)] = None,
    before: Annotated[Path | None, typer.Option("--before", help="The rules that ran until now: says what the edit does.")] = None,
    format: ReportFormat = None,
    json: Json = False,
) -> int:  # fmt: skip
    """Every error of a file of rules, with its line. Exit 1: there are some."""
    here = invocation(context)
    form = form_of(format, json, piped=Form.TABLE)
    path = rules_path(here, file)
    try:
        rules = rules_of(here, path)
        unready = _check_targets(here, path, rules)
    except Problem as problem:
        if form is not Form.JSON or problem.code != 1:
            raise
        say_json({"ok": False, "file": str(path), "problems": list(problem.problems), "rules": [], "changes": []})
        return 1
    changes = _changes(here, before, rules)
    rows = [_row(rule) for rule in rules]
    if form is Form.JSON:
        say_json({"ok": True, "file": str(path), "problems": [], "rules": rows, "changes": changes})
    else:
        drawn = [{"rule": each["rule"], "when": each["when"]} for each in rows] if form is Form.TABLE else rows
        say_table(*flat(drawn), form)
    if form is Form.TABLE:
        say(f"{path}: {len(rules)} rule{'' if len(rules) == 1 else 's'}, all fit {here.plan_name}")
        if changes:
            _say_changes(changes)
        if unready:
            say(f"{unready} of them cannot be sent yet: gtm.toml declares no [[destinations]]")
    return 0


def _check_targets(here: Invocation, path: Path, rules: tuple[Rule, ...]) -> int:
    """How many rules have no destination, where none is declared at all. Raises Problem (1) for what stands behind `do`."""
    from gtm_dagster.triggers.target_lint import destination_problems_of, template_problems, templates_beside

    found = template_problems(rules, here.plan, templates_beside(path))
    homeless = destination_problems_of(rules, here.settings.destinations)
    if here.settings.destinations:
        found += homeless
    if found:
        raise Problem(f"{path}: {found[0]}", 1, [f"{path}: {each}" for each in found[1:]])
    return len(homeless)


def _row(rule: Rule) -> dict[str, Any]:
    return {"rule": rule.name, "when": _when(rule), "do": f"{rule.channel} {rule.target}", "purpose": rule.purpose}


def _when(rule: Rule) -> str:
    asked = " and ".join([rule.on, *(_condition(each) for each in rule.where)])
    if rule.kind == "count":
        return f"{rule.n} x {asked} within {_duration(rule.within_us)}"
    if rule.kind == "absent":
        return f"{asked}, no {rule.absent_event} within {_duration(rule.within_us)}"
    return asked


def _condition(condition: Condition) -> str:
    name = condition.path.rpartition(".")[2]
    parts = []
    for words, values in (("in", condition.within), ("not in", condition.without)):
        if values is not None:
            parts.append(f"{name} {words} ({', '.join(map(str, values))})")
    for sign, limit in ((">=", condition.least), ("<=", condition.most)):
        if limit is not None:
            parts.append(f"{name} {sign} {limit:g}")
    if condition.present is not None:
        parts.append(f"{'with' if condition.present else 'without'} {name}")
    return " and ".join(parts)


def _duration(us: int) -> str:
    seconds = us // 1_000_000
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % size == 0 and seconds > size:  # 24h, not 1d
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _changes(here: Invocation, before: Path | None, after: tuple[Rule, ...]) -> list[dict[str, Any]]:
    """What the rules do to what is open: against file `before`, else against those that run now; empty without either."""
    from gtm_dagster.triggers.rule_changes import EFFECTS, rule_changes
    from gtm_dagster.triggers.runner_rows import stored_rules
    from gtm_dagster.triggers.trigger_db import reading_trigger_db, trigger_db_path
    from gtm_dagster.triggers.trigger_status import open_starts

    path = trigger_db_path(here.settings.state_dir)
    running: tuple[Rule, ...] | None = None
    opened: dict[str, int] | None = None
    if path.exists():
        with trigger_state(path):
            opened = open_starts(path)
            with reading_trigger_db(path) as con:
                running = stored_rules(con)
    earlier = rules_of(here, before) if before else running
    if earlier is None:
        return []
    return [
        {"rule": each.rule, "effect": each.effect, "open": each.open, "means": EFFECTS[each.effect],
         "changes_condition": each.changes_condition}
        for each in rule_changes(earlier, after, opened)
    ]  # fmt: skip


def _say_changes(changes: list[dict[str, Any]]) -> None:
    changed = sum(each["changes_condition"] for each in changes)
    kept = sum(each["open"] or 0 for each in changes if not each["changes_condition"])
    pending = "" if any(each["open"] is None for each in changes) else f", {kept} pending kept"
    say(f"{changed} condition{'' if changed == 1 else 's'} changed{pending}")
    for each in changes:
        if each["effect"] != "unchanged":
            concerns = f" ({each['open']} open)" if each["open"] else ""
            say(f"  {each['rule']}: {each['means']}{concerns}")


COMMANDS = (Command("trigger check", check, order=10),)
