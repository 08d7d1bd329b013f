"""What a change of the plan means for events that were valid before (SchemaVer: MODEL-REVISION-ADDITION).

MODEL: an event that was valid is refused, or lands differently. REVISION: the rules do not show whether old events are
still valid (a changed pattern). ADDITION: every event that was valid still is. NONE: no rule changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gtm_dagster.taxonomy.plan import DEFAULT_MAX_LENGTH, EventSpec, Plan, PropertySpec

Level = Literal["MODEL", "REVISION", "ADDITION", "NONE"]
_ORDER: dict[Level, int] = {"NONE": 0, "ADDITION": 1, "REVISION": 2, "MODEL": 3}


@dataclass(frozen=True)
class Change:
    """One difference between two plans; `path` is an event or event.property."""

    level: Level
    path: str
    what: str


@dataclass(frozen=True)
class Compatibility:
    """All changes of a step, and the highest level among them."""

    level: Level
    changes: tuple[Change, ...]

    def covered_by(self, old: str, new: str) -> bool:
        """Whether the step from version `old` to version `new` declares at least this level."""
        before, after = _parts(old), _parts(new)
        if after <= before:
            return self.level == "NONE" and after == before
        stepped: Level = "MODEL" if after[0] > before[0] else "REVISION" if after[1] > before[1] else "ADDITION"
        return _ORDER[stepped] >= _ORDER[self.level]


def compare(old: Plan, new: Plan) -> Compatibility:
    """The changes from `old` to `new`, events in alphabetical order."""
    changes: list[Change] = []
    for name in sorted({*old.events, *new.events}):
        before, after = old.events.get(name), new.events.get(name)
        if before is None:
            changes.append(Change("ADDITION", name, "event added"))
        elif after is None:
            renamed_to = new.aliases.get(name)
            what = f"event renamed to {renamed_to}" if renamed_to else "event removed"
            changes.append(Change("MODEL", name, what))
        else:
            _compare_event(before, after, changes)
    for alias in sorted({*old.aliases, *new.aliases}):
        _compare_alias(alias, old, new, changes)
    levels: list[Level] = ["NONE", *(change.level for change in changes)]
    level = max(levels, key=_ORDER.__getitem__)
    return Compatibility(level, tuple(changes))


def _compare_alias(alias: str, old: Plan, new: Plan, changes: list[Change]) -> None:
    before, after = old.resolve(alias), new.resolve(alias)
    if before == after or alias in old.events:
        return
    if before is None:
        changes.append(Change("ADDITION", alias, f"alias of {after} added"))
    else:
        changes.append(Change("MODEL", alias, f"alias meant {before}, now {after or 'nothing'}"))


def _compare_event(before: EventSpec, after: EventSpec, changes: list[Change]) -> None:
    if before.additional != after.additional:
        level: Level = "ADDITION" if after.additional else "MODEL"
        word = "allowed" if after.additional else "refused"
        changes.append(Change(level, before.name, f"undeclared properties are {word}"))
    for field in ("basis", "browsing"):  # whether it is kept without consent, and what its device is
        old_value, new_value = getattr(before, field, None), getattr(after, field, None)
        if old_value != new_value:
            changes.append(Change("MODEL", before.name, f"{field} {old_value} -> {new_value}"))
    for name in sorted({*before.properties, *after.properties}):
        path = f"{before.name}.{name}"
        old, new = before.properties.get(name), after.properties.get(name)
        if old is None and new is not None:
            narrows = new.required or before.additional  # an undeclared property was free of rules
            changes.append(
                Change("MODEL" if narrows else "ADDITION", path, f"{'required ' if new.required else ''}property added")
            )
        elif old is not None and new is None:
            # without a declaration it is refused, or lands under the rules of undeclared properties
            same = after.additional and old.privacy == "plain" and old.max_length <= DEFAULT_MAX_LENGTH
            changes.append(Change("ADDITION" if same else "MODEL", path, "property removed"))
        elif old is not None and new is not None:
            changes.extend(Change(level, path, what) for level, what in _compare_property(old, new))


def _compare_property(old: PropertySpec, new: PropertySpec) -> list[tuple[Level, str]]:
    found: list[tuple[Level, str]] = []

    def note(narrower: bool, what: str) -> None:
        found.append(("MODEL" if narrower else "ADDITION", what))

    if old.type != new.type:
        note(not (old.type == "integer" and new.type == "number"), f"type {old.type} -> {new.type}")
    if old.required != new.required:
        note(new.required, "now required" if new.required else "no longer required")
    if set(old.allowed) != set(new.allowed):
        narrower = bool(new.allowed) and (not old.allowed or not set(old.allowed) <= set(new.allowed))
        note(narrower, f"allowed values {list(old.allowed)} -> {list(new.allowed)}")
    if old.minimum != new.minimum:
        note(
            new.minimum is not None and (old.minimum is None or new.minimum > old.minimum),
            f"minimum {old.minimum} -> {new.minimum}",
        )
    if old.maximum != new.maximum:
        note(
            new.maximum is not None and (old.maximum is None or new.maximum < old.maximum),
            f"maximum {old.maximum} -> {new.maximum}",
        )
    if old.max_length != new.max_length:
        note(new.max_length < old.max_length, f"max_length {old.max_length} -> {new.max_length}")
    if old.privacy != new.privacy:
        note(True, f"privacy {old.privacy} -> {new.privacy}")
    if old.pattern != new.pattern:
        if old.pattern and new.pattern:
            found.append(("REVISION", f"pattern {old.pattern} -> {new.pattern}"))
        else:
            note(new.pattern is not None, f"pattern {old.pattern} -> {new.pattern}")
    return found


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-"))
