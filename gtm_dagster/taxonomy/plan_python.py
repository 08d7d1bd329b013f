"""The plan as a Python module: a TypedDict for the properties of each event, and a method that tracks it."""

from __future__ import annotations

import keyword

from gtm_dagster.taxonomy.plan import EventSpec, Plan, PropertySpec
from gtm_dagster.taxonomy.plan_names import distinct, pascal
from gtm_dagster.taxonomy.plan_page import rules_of

_RESERVED = (
    "Any",
    "Events",
    "Generic",
    "Literal",
    "Mapping",
    "Protocol",
    "Required",
    "Scalar",
    "Tracker",
    "TypeVar",
    "TypedDict",
)
_TYPES = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"}
_HEAD = '''
from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, Required, TypedDict, TypeVar

Scalar = str | int | float | bool | None
Result = TypeVar("Result", covariant=True)


class Tracker(Protocol[Result]):
    """A GtmTracker (its events are ids) or an AsyncGtmTracker (they are awaited)."""

    def track(
        self,
        event_name: str,
        *,
        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: datetime | str | None = None,
        event_id: str | None = None,
    ) -> Result:
        """Queues one event."""
        ...
'''
_CLASS = '''
class Events(Generic[Result]):
    """The events of the plan. A call gives what `track` of the tracker gives; one of user_id and anonymous_id is needed."""

    def __init__(self, tracker: Tracker[Result]) -> None:
        self._tracker = tracker
'''


def to_python(plan: Plan) -> str:
    """A Python 3.11 module that imports the standard library alone. `Events(tracker)` has a method an event.

    Types say names, types, allowed values and what is needed; what they cannot say (limits, patterns) is in comments.
    """
    types = distinct(plan.events, pascal, _RESERVED)
    methods = distinct(plan.events, str, keyword.kwlist)
    head = f'"""Tracking plan {plan.version}. Written by `gtm plan export --format python`: change the plan, not this file."""'
    parts = [head + "\n" + _HEAD]
    parts += [_properties(types[name], spec) for name, spec in plan.events.items()]
    parts += [_CLASS + "".join(_method(methods[name], types[name], spec) for name, spec in plan.events.items())]
    return "\n\n".join(part.strip("\n") + "\n" for part in parts)


def _properties(type_name: str, spec: EventSpec) -> str:
    if any(keyword.iskeyword(name) for name in spec.properties):
        fields = [f"        {name!r}: {_field(rule)!r},{_comment(rule)}\n" for name, rule in spec.properties.items()]
        return f"{type_name} = TypedDict(\n    {type_name!r},\n    {{\n{''.join(fields)}    }},\n    total=False,\n)"
    lines = [f"class {type_name}(TypedDict, total=False):", f'    """Properties of {spec.name}."""', ""]
    lines += [f"    {name}: {_field(rule)}{_comment(rule)}" for name, rule in spec.properties.items()]
    return "\n".join(lines)


def _method(method: str, type_name: str, spec: EventSpec) -> str:
    default = "" if spec.required else " | None = None"
    more = "        more: Mapping[str, Scalar] | None = None,\n" if spec.additional else ""
    words = " ".join(f"{spec.description} Stage: {spec.stage}.{f' Owner: {spec.owner}.' if spec.owner else ''}".split())
    if spec.additional:
        words += " `more` are properties that the plan does not declare."
    values = "{**(properties or {}), **(more or {})}" if spec.additional else "{**properties}" if spec.required else "{**(properties or {})}"  # fmt: skip
    text = words.replace("\\", "\\\\").replace('"', "'")
    return f'''
    def {method}(
        self,
        properties: {type_name}{default},
        *,
{more}        user_id: str | None = None,
        anonymous_id: str | None = None,
        session_id: str | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: datetime | str | None = None,
        event_id: str | None = None,
    ) -> Result:
        """{text}"""
        return self._tracker.track(
            {spec.name!r},
            user_id=user_id,
            anonymous_id=anonymous_id,
            session_id=session_id,
            properties={values},
            context=context,
            timestamp=timestamp,
            event_id=event_id,
        )
'''


def _field(rule: PropertySpec) -> str:
    value = f"Literal[{', '.join(map(repr, rule.allowed))}]" if _is_literal(rule) else _TYPES[rule.type]
    return f"Required[{value}]" if rule.required else f"{value} | None"


def _is_literal(rule: PropertySpec) -> bool:
    """Whether the allowed values can be named in a type: a Literal has no fractions."""
    return bool(rule.allowed) and rule.type != "number"


def _comment(rule: PropertySpec) -> str:
    words = "; ".join(" ".join(text.split()) for text in (rule.description, rules_of(rule, also_type=True)) if text)
    return f"  # {words}" if words else ""
