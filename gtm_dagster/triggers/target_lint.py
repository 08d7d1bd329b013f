"""Whether what stands behind a rule's `do` is there: its destination in gtm.toml, its template beside the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gtm_dagster.delivery.message_templates import MessageTemplates
from gtm_dagster.delivery.receivers import IN_APP, NoReceiver, destination_of
from gtm_dagster.settings.destinations import Destination
from gtm_dagster.taxonomy.plan import Plan, PropertySpec
from gtm_dagster.triggers.compiled_rule import Rule

FOLDER = "templates"
_SAMPLES = {"string": "text", "number": 1.5, "integer": 1, "boolean": True}


def templates_beside(rules_file: Path) -> MessageTemplates:
    """The templates of a file of rules: the folder `templates` beside it."""
    return MessageTemplates(rules_file.parent / FOLDER)


def template_problems(rules: Iterable[Rule], plan: Plan, templates: MessageTemplates) -> list[str]:
    """What is wrong with the template of each rule: a file that is missing, a name that is unknown, a property that an event
    may lack and that has no `default`.
    """
    found = []
    for rule in rules:
        if rule.channel == "webhook":
            continue
        name = rule.target.partition("@")[0]
        spec = plan.events[rule.on]
        plain = {each: kind for each, kind in spec.properties.items() if kind.privacy == "plain"}
        known = None if spec.additional else plain
        problems = templates.problems(rule.channel, name, known, _values(rule, plain))
        if not problems:
            needed = {each: kind for each, kind in plain.items() if kind.required}
            words = f"; not every {rule.on} has it: write `is defined` or `| default(...)`"
            problems = [
                f"{each}{words}" for each in templates.problems(rule.channel, name, known, _values(rule, needed))
            ]
        found += [f"rule {rule.name}, do.{rule.channel}: {each}" for each in problems]
    return found


def destination_problems_of(rules: Iterable[Rule], destinations: Sequence[Destination]) -> list[str]:
    """Rules whose messages have no destination; in-app messages need none."""
    found = []
    for rule in rules:
        try:
            if rule.channel != IN_APP:
                destination_of(destinations, rule.channel, rule.target)
        except NoReceiver as error:
            found.append(f"rule {rule.name}, do.{rule.channel}: {error}")
    return found


def _values(rule: Rule, properties: Mapping[str, PropertySpec]) -> dict[str, Any]:
    values = {name: spec.allowed[0] if spec.allowed else _SAMPLES[spec.type] for name, spec in properties.items()}
    event = {"id": "0" * 32, "name": rule.on, "at": "2026-12-01T09:00:00Z", "properties": values}
    known = {"rule": rule.name, "person": "0" * 32, "key": "k", "due_at": event["at"]}
    return {**known, "event": event, "properties": values}
