"""What an edit of the rules does to the starts that are open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from gtm_dagster.triggers.compiled_rule import Rule, drains, rebases

Effect = Literal["unchanged", "kept", "rebased", "drained", "cancelled", "new", "gone"]
EFFECTS: dict[Effect, str] = {
    "unchanged": "nothing changed",
    "kept": "its condition is the same: open starts stay, and get the newest text",
    "rebased": "its condition changed: open starts are due by the new one",
    "drained": "its condition changed: open starts end by the old one",
    "cancelled": "its condition changed: open starts are cancelled",
    "new": "a new rule: it begins with the next event, not with the past",
    "gone": "no longer there: its open starts are cancelled (a renamed rule is a new one)",
}


class RuleChange(Struct, frozen=True):
    """What becomes of rule `rule`; `open`: how many starts it concerns, None when nobody knows."""

    rule: str
    effect: Effect
    open: int | None = None

    @property
    def changes_condition(self) -> bool:
        return self.effect in ("rebased", "drained", "cancelled", "gone")


def rule_changes(
    before: Iterable[Rule], after: Iterable[Rule], open: Mapping[str, int] | None = None
) -> list[RuleChange]:
    """A row a rule of either, by name. `open`: open starts by rule, None without a state to count them in."""
    old, new = ({rule.name: rule for rule in rules} for rules in (before, after))
    return [
        RuleChange(name, _effect(old.get(name), new.get(name)), None if open is None else open.get(name, 0))
        for name in sorted(old | new)
    ]


def _effect(before: Rule | None, after: Rule | None) -> Effect:
    if after is None:
        return "gone"
    if before is None:
        return "new"
    if before == after:
        return "unchanged"
    if before.condition == after.condition:
        return "kept"
    if drains(before, after):
        return "drained"
    return "rebased" if rebases(before, after) else "cancelled"
