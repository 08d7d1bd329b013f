"""What a pile of events looks like: names, how often, and of each property the types, lengths and few values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gtm_dagster.taxonomy.event import EMAIL
from gtm_dagster.taxonomy.plan import EventSpec, Plan
from gtm_dagster.taxonomy.properties import check_properties, json_type

MOST_VALUES = 8
"""A property with more distinct texts than this has no closed set of values."""
_LONGEST_VALUE = 32


@dataclass
class SeenProperty:
    """One property of an event: `kinds` counts its JSON types, `values` its texts while they are few (else None).

    `misfits`: values that the rule of the packaged plan refuses, or of which that is not known.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    longest: int = 0
    mails: int = 0
    misfits: int = 0
    values: set[str] | None = field(default_factory=set)

    @property
    def present(self) -> int:
        """How often it was there and not null."""
        return self.kinds.total() - self.kinds["null"]

    def see(self, value: Any) -> None:
        """Count one value."""
        self.kinds[json_type(value)] += 1
        if not isinstance(value, str):
            return
        self.longest = max(self.longest, len(value))
        self.mails += "@" in value and EMAIL.search(value) is not None
        if self.values is not None:
            self.values.add(value)
            if len(self.values) > MOST_VALUES or len(value) > _LONGEST_VALUE:
                self.values = None

    def see_kind(self, kind: str, length: int = 0) -> None:
        """Count a value of which only the type is known, and the length of a text."""
        self.kinds[kind] += 1
        self.longest = max(self.longest, length)
        self.misfits += 1
        self.values = None


@dataclass
class SeenEvent:
    """One event name."""

    count: int = 0
    properties: dict[str, SeenProperty] = field(default_factory=dict)

    def of(self, name: str) -> SeenProperty:
        """The property of this name."""
        return self.properties.setdefault(name, SeenProperty())


class SeenEvents:
    """All that was seen; `unnamed` counts rows without an event name. `usual`: a plan whose rules stay where they fit."""

    def __init__(self, usual: Plan) -> None:
        self._usual = usual
        self.events: dict[str, SeenEvent] = {}
        self.unnamed = 0

    def see(self, name: Any, properties: Mapping[str, Any]) -> None:
        """Count one event."""
        if not isinstance(name, str) or not name.strip():
            self.unnamed += 1
            return
        event = self.event(name)
        spec = self._usual.events.get(self._usual.resolve(name) or "")
        for key, value in properties.items():
            found = event.of(key)
            found.see(value)
            found.misfits += spec is not None and _breaks(spec, key, value)

    def event(self, name: str) -> SeenEvent:
        """Count one event of this name, whose properties the caller adds."""
        event = self.events.setdefault(name, SeenEvent())
        event.count += 1
        return event

    @property
    def count(self) -> int:
        """Events with a name."""
        return sum(event.count for event in self.events.values())


def _breaks(spec: EventSpec, name: str, value: Any) -> bool:
    """Whether a declared property refuses this value."""
    if name not in spec.properties or value is None:
        return False
    return any(error.code != "missing_property" for error in check_properties(spec, {name: value}))


def joined(events: list[SeenEvent]) -> SeenEvent:
    """Events that go by several names as one."""
    if len(events) == 1:
        return events[0]
    result = SeenEvent(sum(event.count for event in events))
    for event in events:
        for name, other in event.properties.items():
            found = result.of(name)
            found.kinds += other.kinds
            found.longest = max(found.longest, other.longest)
            found.mails += other.mails
            found.misfits += other.misfits
            both = None if found.values is None or other.values is None else found.values | other.values
            found.values = None if both is None or len(both) > MOST_VALUES else both
    return result
