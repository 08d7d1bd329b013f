"""What the commands of `gtm trigger` share: the file of rules, one rule of it, and what became of starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.output import Invocation, Problem, utc_time

if TYPE_CHECKING:
    from gtm_dagster.triggers.compiled_rule import Rule
    from gtm_dagster.triggers.memory_runner import Outcome

RulesFile = Annotated[
    Path | None, typer.Option("--file", help="A file of rules. Default: triggers_file.", show_default=False)
]
RuleName = Annotated[str, typer.Argument(metavar="RULE", help="The name of a rule.")]


def rules_path(here: Invocation, file: Path | None) -> Path:
    """The file of rules. Raises Problem (2) when there is none."""
    path = file or here.settings.triggers_file
    if path is None:
        raise Problem(
            "triggers_file is not set: name a file of rules in gtm.toml, or give one "
            "(examples/triggers/triggers.yaml has five, docs/triggers.md every key)",
            2,
        )
    return path


def rules_of(here: Invocation, path: Path) -> tuple[Rule, ...]:
    """The rules of a file. Raises Problem (1) with every error of it."""
    from gtm_dagster.triggers.rules_file import TriggerError, load_rules

    try:
        return load_rules(path, here.plan)
    except TriggerError as error:
        raise Problem(error.problems[0], 1, error.problems[1:]) from None


def existing_state(here: Invocation) -> Path:
    """`triggers.db` of this machine. Raises Problem (1) where there is none, with where it is."""
    from gtm_dagster.triggers.trigger_db import trigger_db_path

    path = trigger_db_path(here.settings.state_dir)
    if path.exists():
        return path
    if here.settings.trigger_shards is None:
        raise Problem(f"{path}: no rule has run yet; `gtm stream` runs them")
    raise Problem(
        f"{path}: there is none on this machine; the shards of {here.settings.trigger_shards} have it where "
        "`gtm trigger run --part outbox` runs: ask there, or start that part here instead"
    )


@contextmanager
def trigger_state(path: Path) -> Iterator[None]:
    """What `triggers.db` at `path` refuses becomes a Problem (1)."""
    from gtm_dagster.storage.migrations import NewerFormatError
    from gtm_dagster.triggers.trigger_db import TriggerDbError

    try:
        yield
    except (TriggerDbError, NewerFormatError) as error:
        raise Problem(str(error), 1) from None


def rule_named(rules: tuple[Rule, ...], name: str) -> Rule:
    """The rule of a name. Raises Problem (2) when there is none."""
    for rule in rules:
        if rule.name == name:
            return rule
    from gtm_dagster.settings.nearest import known_names

    raise Problem(f"{name}: there is no such rule; {known_names(name, [rule.name for rule in rules])}", 2)


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """One decision: what was sent, what waits and until when, or why nothing is sent and from when on it could be."""
    from gtm_dagster.triggers.outcomes import Action, Hold

    what = outcome.what
    row: dict[str, Any] = {"at": utc_time(outcome.at_us), "person": outcome.person}
    if isinstance(what, Action):
        detail = f"{what.channel} {what.target}"
        return {**row, "outcome": "sent", "reason": None, "detail": detail, "until": None,
                "trigger_event": what.trigger_event_id, "action_id": what.action_id}  # fmt: skip
    if isinstance(what, Hold):
        return {**row, "outcome": "held", "reason": what.reason, "detail": None, "until": utc_time(what.until_us),
                "trigger_event": what.want.trigger_event_id, "action_id": what.want.action_id}  # fmt: skip
    return {**row, "outcome": "not sent", "reason": what.reason, "detail": what.detail or None,
            "until": utc_time(what.next_us), "trigger_event": what.trigger_event_id, "action_id": None}  # fmt: skip
