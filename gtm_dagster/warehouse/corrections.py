"""Corrections of refused originals before they are judged again: another event name, another field name, another type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gtm_dagster.settings.nearest import did_you_mean
from gtm_dagster.taxonomy.plan import Plan

TYPES = ("number", "integer", "string", "boolean")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?\Z")
_BOOLEANS = {"true": True, "false": False}
_PARTS = ("properties", "context", "event")


class CorrectionError(ValueError):
    """A correction that cannot be meant."""


@dataclass(frozen=True)
class Corrections:
    """`aliases`: event names and what they are called now; `renames`: pairs of places; `casts`: places and types.

    A place is a property (`amount`, the same as `properties.amount`), `context.NAME`, or `event.NAME` for a field of the
    event itself. Renames come before casts.
    """

    aliases: tuple[tuple[str, str], ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    casts: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.aliases or self.renames or self.casts)

    def texts(self) -> list[str]:
        """As they are recorded: `alias Order Paid=payment_completed`."""
        kinds = (("alias", self.aliases), ("rename", self.renames), ("cast", self.casts))
        return [f"{kind} {old}={new}" for kind, pairs in kinds for old, new in pairs]

    def apply(self, document: dict[str, Any]) -> dict[str, Any]:
        """The corrected event. What a correction does not fit stays as it is: the plan judges it."""
        event = {key: dict(value) if isinstance(value, dict) else value for key, value in document.items()}
        added = [part for part in _PARTS[:2] if event.get(part) is None]
        event |= {part: {} for part in added}
        name = event.get("event_name")
        if isinstance(name, str):
            event["event_name"] = dict(self.aliases).get(name, name)
        for old, new in self.renames:
            (source, key), (target, other) = _find(event, old), _find(event, new)
            value = None if source is None else source.get(key)
            if (
                source is not None
                and value is not None
                and value is not target
                and target is not None
                and target.get(other) is None
            ):
                target[other] = value
                del source[key]
        for place, kind in self.casts:
            source, key = _find(event, place)
            if source is not None and key in source:
                source[key] = cast_value(source[key], kind)
        return {field: value for field, value in event.items() if value or field not in added}


def cast_value(value: Any, kind: str) -> Any:
    """`value` as a value of `kind`, or as it is when it is none.

    A number is digits with at most one point: `1,234` is two numbers in two countries, so it stays. Whole numbers become
    texts, and 0, 1, true and false in any case become booleans.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "string":
        return str(value) if isinstance(value, int) and is_number else value
    if kind == "boolean":
        if isinstance(value, str):
            return _BOOLEANS.get(value.strip().lower(), value)
        return bool(value) if is_number and value in (0, 1) else value
    if isinstance(value, str) and _NUMBER.match(value.strip()):
        number = float(value) if "." in value else int(value)
        return value if kind == "integer" and number != int(number) else int(number) if kind == "integer" else number
    if kind == "integer" and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def corrections(
    plan: Plan, aliases: Sequence[str] = (), renames: Sequence[str] = (), casts: Sequence[str] = ()
) -> Corrections:
    """The corrections of options `old=new`. Raises CorrectionError naming the option, the value and what is allowed."""
    named = tuple(_pair("--alias", text, "OLD=EVENT") for text in aliases)
    for old, new in named:
        if new not in plan.events:
            raise CorrectionError(
                f"--alias {old}={new}: {new} is not an event of plan {plan.version}{did_you_mean(new, plan.events)}"
            )
    typed = tuple(_pair("--cast", text, "FIELD=TYPE") for text in casts)
    for field, kind in typed:
        if kind not in TYPES:
            raise CorrectionError(f"--cast {field}={kind}: {kind} is not a type; allowed: {', '.join(TYPES)}")
    moved = tuple(_pair("--rename", text, "OLD=NEW") for text in renames)
    return Corrections(named, moved, typed)


def _pair(option: str, text: str, form: str) -> tuple[str, str]:
    old, sign, new = text.rpartition("=")
    if not (sign and old.strip() and new.strip()):
        raise CorrectionError(f"{option} {text!r}: write {option} {form}")
    return old.strip(), new.strip()


def _find(event: dict[str, Any], place: str) -> tuple[dict[str, Any] | None, str]:
    """The mapping that has a place, and the key in it; None where it is no mapping."""
    part, dot, key = place.partition(".")
    if not dot or part not in _PARTS:
        part, key = "properties", place
    if part == "event":
        return event, key
    found = event.get(part)
    return (found if isinstance(found, dict) else None), key
