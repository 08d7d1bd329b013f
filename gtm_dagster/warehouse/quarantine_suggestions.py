"""What would make the events of a group acceptable: an alias, a renamed or cast field, a declaration, or nothing here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gtm_dagster.settings.nearest import nearest
from gtm_dagster.taxonomy.event import MASKED_NAME
from gtm_dagster.taxonomy.explain import meant_field
from gtm_dagster.taxonomy.plan import EventSpec, Plan
from gtm_dagster.warehouse.corrections import cast_value
from gtm_dagster.warehouse.quarantine_groups import QuarantineGroup

_MASKED = re.compile(r"<([a-z]+)(?::[0-9]+)?>\Z")
_PROPERTIES = "properties."


@dataclass(frozen=True)
class Suggestion:
    """`kind`: alias, rename, cast, declare, replay (the plan takes it now) or sender; `option`: that of a replay, or empty."""

    kind: str
    text: str
    option: str = ""


def suggestions(
    plan: Plan, group: QuarantineGroup, values: Callable[[str], list[Any] | None] = lambda _: None
) -> list[Suggestion]:
    """What helps against each reason of the group, by the present plan; one suggestion for all that only their sender can
    correct.

    `values`: the distinct values of the group at a field, as `masked_values` has them.
    """
    name = plan.resolve(group.event_name or "")
    spec = plan.events[name] if name else None
    fields = {path for _, path in group.reasons}
    found, at_sender = [], []
    for code, path in group.reasons:
        if code == "missing_property" and spec and _renamed(spec, path.removeprefix(_PROPERTIES), fields):
            continue  # the suggestion for the other name brings it
        each = _of_reason(plan, spec, group, code, path, values)
        if each is not None:
            found.append(each)
        else:
            at_sender.append(f"{code} at {path}" if path else code)
    if at_sender:
        found.append(Suggestion("sender", f"to correct where the events are sent: {', '.join(at_sender)}"))
    return list(dict.fromkeys(found))


def replay_command(group: QuarantineGroup, found: list[Suggestion]) -> str:
    """The command line that tries the group with what is suggested."""
    options = "".join(f" {each.option}" for each in found if each.option)
    return f"gtm quarantine replay {group.id}{options} --dry-run"


def _of_reason(
    plan: Plan, spec: EventSpec | None, group: QuarantineGroup, code: str, path: str,
    values: Callable[[str], list[Any] | None],
) -> Suggestion | None:  # fmt: skip
    if code == "unknown_event":
        return _event(plan, group.event_name)
    if code == "unknown_field" and (field := meant_field(path)):
        old = path if path.startswith("context.") else f"event.{path}"
        return Suggestion(
            "rename", f"{path} belongs to {field}: rename it", f"--rename {shlex.quote(f'{old}={field}')}"
        )
    if path.startswith(_PROPERTIES) and spec is not None:
        property_name = path.removeprefix(_PROPERTIES)
        if code == "unknown_property":
            return _unknown_property(spec, property_name)
        if code == "type" and property_name in spec.properties:
            kind = spec.properties[property_name].type
            if _all_become(values(path), kind):
                text = f"every value of {property_name} reads as {kind}: cast it"
                return Suggestion("cast", text, f"--cast {shlex.quote(f'{property_name}={kind}')}")
    return None


def _event(plan: Plan, name: str | None) -> Suggestion:
    if not name or name == MASKED_NAME:
        return Suggestion("declare", "the name is not kept, it may be personal: declare the event in the plan")
    if plan.resolve(name):
        return Suggestion("replay", f"the plan knows {name} now: replay")
    close = nearest(name, plan.events, most=1)
    if close:
        text = f"the nearest event is {close[0]}: an alias in the plan (`aliases: {{{name}: {close[0]}}}`), or for a replay alone"
        return Suggestion("alias", text, f"--alias {shlex.quote(f'{name}={close[0]}')}")
    return Suggestion("declare", f"declare {name} in the plan: `gtm plan init --from-quarantine` drafts it")


def _unknown_property(spec: EventSpec, name: str) -> Suggestion:
    if name in spec.properties:
        return Suggestion("replay", f"the plan declares {name} of {spec.name} now: replay")
    close = () if name == MASKED_NAME else nearest(name, spec.properties, most=1)
    if close:
        text = f"the nearest property is {close[0]}: rename {name}, or declare it in the plan"
        return Suggestion("rename", text, f"--rename {shlex.quote(f'{name}={close[0]}')}")
    return Suggestion("declare", f"declare the property {name} of {spec.name} in the plan")


def _renamed(spec: EventSpec, missing: str, fields: set[str]) -> bool:
    """Whether one of the refused names of the group is nearest to the property that is missing."""
    others = (field.removeprefix(_PROPERTIES) for field in fields if field != f"{_PROPERTIES}{missing}")
    return any(missing in nearest(each, spec.properties, most=1) for each in others if each not in spec.properties)


def _all_become(values: list[Any] | None, kind: str) -> bool:
    """Whether every value is, or can be cast to, one of `kind`; a masked one counts by its type alone."""
    return bool(values) and all(_becomes(value, kind) for value in values or ())


def _becomes(value: Any, kind: str) -> bool:
    masked = _MASKED.match(value) if isinstance(value, str) else None
    if masked:
        return masked[1] == kind or (masked[1], kind) in (("integer", "number"), ("integer", "string"))
    cast = cast_value(value, kind)
    match kind:
        case "string":
            return isinstance(cast, str)
        case "boolean":
            return isinstance(cast, bool)
        case "integer":
            return isinstance(cast, int) and not isinstance(cast, bool)
        case _:
            return isinstance(cast, int | float) and not isinstance(cast, bool)
