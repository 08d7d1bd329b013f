"""The rule a guard was armed with: stored with its epoch, and what decides until it is armed again.

What gtm.toml says meanwhile changes nothing; evidence is not tested a second time by another rule. The planned shares
are not part of it: they follow the flag.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING, Any

import msgspec

from gtm_dagster.rollout.guard.metric_rule import declared
from gtm_dagster.rollout.guard.rule import Rule

if TYPE_CHECKING:
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.settings import Guard, Settings

_SHARES, _SHARING, _UNSHARED = "shares", "sharing", "unshared"
_IN_SETTINGS = {"window_minutes": "conversion_window_minutes", _SHARING: "guards of this flag"}
"""Fields that gtm.toml calls otherwise."""


@dataclass(frozen=True)
class Difference:
    """A setting that gtm.toml changes against the epoch's rule; `name` as in gtm.toml."""

    name: str
    armed: Any
    declared: Any

    def __str__(self) -> str:
        return f"{self.name} {_shown(self.armed)} is now {_shown(self.declared)}"


def sharing(settings: Settings, guard: Guard) -> int:
    """How many declared guards of one flag and environment share one budget of false rollbacks; at least 1."""
    return max(1, sum(each.flag == guard.flag and each.environment == guard.environment for each in settings.guards))


def declared_rule(settings: Settings, guard: Guard, shares: Sequence[tuple[int, float]] = ()) -> Rule:
    """The rule as gtm.toml has it now."""
    return Rule.of(guard, sharing(settings, guard), shares)


def to_store(settings: Settings, guard: Guard) -> str:
    """The rule of an epoch that begins now, as JSON: the fields of Rule but the shares, and how many share its budget.

    Where several do, `unshared` has the fields as they stand in gtm.toml.
    """
    several = sharing(settings, guard)
    document = _fields(declared_rule(settings, guard)) | {_SHARING: several}
    unshared = {_UNSHARED: _fields(Rule.of(guard))} if several > 1 else {}
    return json.dumps(document | unshared, sort_keys=True, separators=(",", ":"))


def rule_of(store: OpsStore, settings: Settings, guard: Guard, epoch: int) -> Rule:
    """The rule that decides in an epoch: the one it was armed with; of an epoch that stored none, what gtm.toml has now."""
    declared = declared_rule(settings, guard, store.shares(guard.key))
    text = store.epoch_rule(guard.key, epoch)
    return declared if text is None else _rule(text, declared.shares)


def window_minutes(text: str) -> float:
    """The conversion window of a stored rule."""
    return _rule(text).window_minutes


def as_armed(guard: Guard, text: str) -> Guard:
    """The guard with what decides what is counted, as in a stored rule: its conversion window and its metrics."""
    rule = _rule(text)
    metrics, conversion_stake = declared(rule.metrics)
    return msgspec.structs.replace(
        guard, conversion_window_minutes=rule.window_minutes, metrics=metrics, conversion_stake=conversion_stake
    )


def differences(store: OpsStore, settings: Settings, guard: Guard, epoch: int) -> list[Difference]:
    """What arming anew would change; [] where the epoch stored no rule, because gtm.toml decides there."""
    text = store.epoch_rule(guard.key, epoch)
    if text is None:
        return []
    document = json.loads(text)
    armed = _flat(_fields(_rule(json.dumps(document.get(_UNSHARED, document)))) | {_SHARING: document.get(_SHARING, 1)})
    declared = _flat(_fields(Rule.of(guard)) | {_SHARING: sharing(settings, guard)})
    return [
        Difference(_IN_SETTINGS.get(name, name), armed.get(name), declared.get(name))
        for name in sorted(armed.keys() | declared.keys())
        if not _same(armed.get(name), declared.get(name))
    ]


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    """With the metrics and the page in words: `metrics.errors` is what is counted and how it is judged."""
    flat = dict(fields)
    for metric in flat.pop("metrics", ()):
        flat[f"metrics.{metric['name']}"] = ", ".join(
            f"{name} {_shown(value)}" for name, value in metric.items() if name != "name" and value is not None
        )
    page = flat.pop("page", None)
    return flat | ({"page": ", ".join(f"{name} {_shown(value)}" for name, value in page.items())} if page else {})


def _fields(rule: Rule) -> dict[str, Any]:
    return {name: value for name, value in rule.to_json().items() if name != _SHARES}


def _rule(text: str, shares: Sequence[tuple[int, float]] = ()) -> Rule:
    """A field that this version added has its default; one it does not know is left out."""
    return msgspec.convert({**json.loads(text), _SHARES: tuple(shares)}, Rule)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return isclose(one, other)
    return bool(one == other)


def _shown(value: Any) -> str:
    if value is None:
        return "(none)"
    return f"{value:g}" if isinstance(value, int | float) else str(value)
