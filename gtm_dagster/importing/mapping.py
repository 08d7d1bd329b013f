"""The mapping of a foreign file: which of its columns, or which constants, become which fields of an event."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

FIELDS = (
    "event_id", "event_name", "user_id", "anonymous_id", "session_id", "source", "medium", "campaign", "term", "content",
    "device_type", "locale", "page_url", "referrer", "click_id", "country", "region",
)  # fmt: skip
"""Text fields of an event that a column, a constant or a template may fill."""
_HOLE = re.compile(r"\{([^{}]*)\}")


class MappingError(ValueError):
    """The mapping cannot be used; the message names the file, the key, the value and what is allowed."""


class Moment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A time column. `format`: iso, unix_s, unix_ms, unix_us or strptime's; `timezone` is for times without an offset."""

    column: str
    format: str = "iso"
    timezone: str | None = None


class Property(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A property from `column`, or the constant `value`."""

    column: str | None = None
    type: Literal["string", "number", "boolean"] = "string"
    value: str | int | float | bool | None = None


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row makes the event when `column` holds one of `equals`, or anything at all when `equals` is empty."""

    column: str
    equals: tuple[str, ...] = ()


class Emission(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One event a row makes. `values` replaces the texts of a field: {field: {in the file: in the event}}."""

    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    templates: dict[str, str] = {}
    values: dict[str, dict[str, str]] = {}
    timestamp: Moment | None = None
    properties: dict[str, Property] = {}
    when: When | None = None


class Mapping(Emission, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole mapping: how to read the file, what every event has, and `events` that add to or replace it."""

    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    ragged: Literal["quarantine", "pad"] = "quarantine"
    null_values: tuple[str, ...] = ("",)
    received_at: Moment | None = None
    events: tuple[Emission, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Changes with anything that can change what is imported."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()

    def emissions(self) -> tuple[Emission, ...]:
        """The events of a row, each with what all of them share."""
        return tuple(_merged(self, event) for event in self.events or (Emission(),))


def load_mapping(path: Path) -> Mapping:
    """The mapping of a TOML file. Raises MappingError."""
    try:
        mapping = msgspec.convert(tomllib.loads(Path(path).read_text("utf-8")), Mapping)
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"mapping {path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"mapping {path}: not TOML ({error})") from error
    except msgspec.ValidationError as error:
        raise MappingError(f"mapping {path}: {error}") from error
    try:
        _check(mapping)
    except MappingError as error:
        raise MappingError(f"mapping {path}: {error}") from None
    return mapping


def holes(template: str) -> list[str]:
    """The columns a template names."""
    return _HOLE.findall(template)


def pieces(template: str) -> list[str]:
    """Literal text and column names in turn, starting and ending with literal text."""
    return _HOLE.split(template)


def used_columns(mapping: Mapping) -> set[str]:
    """Every column of the file the mapping reads."""
    used = {mapping.received_at.column} if mapping.received_at else set()
    for event in mapping.emissions():
        used |= set(event.columns.values()) | {hole for text in event.templates.values() for hole in holes(text)}
        used |= {rule.column for rule in event.properties.values() if rule.column}
        used |= {part.column for part in (event.timestamp, event.when) if part}
    return used


def _merged(base: Emission, event: Emission) -> Emission:
    told = set(event.columns) | set(event.constants) | set(event.templates)

    def kept(table: dict[str, str]) -> dict[str, str]:
        return {field: text for field, text in table.items() if field not in told}

    return Emission(
        columns=kept(base.columns) | event.columns,
        constants=kept(base.constants) | event.constants,
        templates=kept(base.templates) | event.templates,
        values=base.values | event.values,
        timestamp=event.timestamp or base.timestamp,
        properties=base.properties | event.properties,
        when=event.when or base.when,
    )


def _check(mapping: Mapping) -> None:
    for key, text in (("delimiter", mapping.delimiter), ("quote", mapping.quote)):
        if len(text.encode()) != 1 and not (key == "quote" and not text):
            raise MappingError(f"{key}: {text!r} is not one ASCII character")
    try:
        "".encode(mapping.encoding)
    except LookupError:
        raise MappingError(f"encoding: {mapping.encoding!r} is not known; such as utf-8, latin-1, cp1252") from None
    for event in mapping.emissions():
        seen: set[str] = set()
        for table in ("columns", "constants", "templates"):
            for field in getattr(event, table):
                if field not in FIELDS:
                    raise MappingError(f"{table}.{field}: no field of an event; choose of {', '.join(FIELDS)}")
                if field in seen:
                    raise MappingError(f"{table}.{field}: {field} is filled twice; keep one")
                seen.add(field)
        for field in event.values:
            if field not in seen:
                raise MappingError(f"values.{field}: nothing fills {field}; name it under columns too")
        if "event_name" not in seen:
            raise MappingError(
                'event_name: nothing fills it; add columns.event_name = "COLUMN" or constants.event_name'
            )
        if not seen & {"user_id", "anonymous_id"}:
            raise MappingError('user_id: neither it nor anonymous_id is filled; add columns.user_id = "COLUMN"')
        if event.timestamp is None:
            raise MappingError('timestamp: missing; add [timestamp] with column = "COLUMN"')
        for name, rule in event.properties.items():
            if (rule.column is None) == (rule.value is None):
                raise MappingError(f"properties.{name}: give either column or value")
        _check_zone("timestamp", event.timestamp)
    _check_zone("received_at", mapping.received_at)


def _check_zone(key: str, moment: Moment | None) -> None:
    if moment is not None and moment.timezone is not None:
        try:
            ZoneInfo(moment.timezone)
        except (KeyError, ValueError, OSError):
            raise MappingError(
                f"{key}.timezone: {moment.timezone!r} is no time zone; such as Europe/Berlin or UTC"
            ) from None
