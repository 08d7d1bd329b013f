"""The mapping of a file: which of its columns, constants or templates become which fields of an event."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from gtm_dagster.importing.mapping_file import MappingError, check_character, check_encoding, read_mapping
from gtm_dagster.importing.time_formats import FormatError, time_format

FIELDS = (
    "event_id", "event_name", "user_id", "anonymous_id", "session_id", "source", "medium", "campaign", "term", "content",
    "device_type", "locale", "page_url", "referrer", "click_id", "country", "region", "timezone",
    "user_agent",
)  # fmt: skip
"""Text fields of an event that a column, a constant or a template may fill."""
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class TimeColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of times. `timezone` is that of times without an offset.

    `format`: iso, unix_s, unix_ms, unix_us or one of strptime; a list means the first that fits.
    """

    column: str
    format: str | tuple[str, ...] = "iso"
    timezone: str | None = None

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats in the order they are tried."""
        return (self.format,) if isinstance(self.format, str) else self.format


class Property(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A property of the event: the text of `column` as `type`, or the constant `value`.

    `values` replaces texts of the column before they become that type. `decimal` and `thousands` (None: the mapping's) are
    the signs of its numbers.
    """

    column: str | None = None
    type: Literal["string", "number", "boolean"] = "string"
    value: str | int | float | bool | None = None
    values: dict[str, str] = {}
    decimal: str | None = None
    thousands: str | None = None


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Only rows whose `column` is one of `equals` become the event; with empty `equals`, rows whose `column` is filled."""

    column: str
    equals: tuple[str, ...] = ()


class EventRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a row becomes one event.

    `values` replaces texts of a field or a property: {field: {text of the file: text of the event}}.
    """

    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    templates: dict[str, str] = {}
    values: dict[str, dict[str, str]] = {}
    timestamp: TimeColumn | None = None
    properties: dict[str, Property] = {}
    when: When | None = None


class Mapping(EventRule, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole mapping: how to read the file, the rule of every event, and `events` that each add to or replace that rule.

    `escape`: the character that takes its meaning from the next one in a CSV file ("": quotes are doubled instead).
    `decimal` (None: a point) and `thousands` are the signs of numbers.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    escape: str = ""
    decimal: str | None = None
    thousands: str = ""
    ragged: Literal["quarantine", "pad"] = "quarantine"
    null_values: tuple[str, ...] = ("",)
    received_at: TimeColumn | None = None
    events: tuple[EventRule, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Changes with anything that can change what is imported. A key of a later version counts where it is used."""
        document = msgspec.json.decode(msgspec.json.encode(self, order="deterministic"))
        for rule in (document, *document["events"]):
            for property_ in rule["properties"].values():
                _leave_out_unused(property_, {"values": {}, "decimal": None, "thousands": None})
        _leave_out_unused(document, {"escape": "", "decimal": None, "thousands": ""})
        return hashlib.sha256(msgspec.json.encode(document)).hexdigest()

    @property
    def keeps_columns(self) -> bool:
        """Whether it only says how to read the file (encoding, delimiter, quotes), whose columns are native."""
        read_as = Mapping(
            encoding=self.encoding, delimiter=self.delimiter, quote=self.quote, escape=self.escape, ragged=self.ragged,
            null_values=self.null_values,
        )  # fmt: skip
        return self == read_as != Mapping()

    def event_rules(self) -> tuple[EventRule, ...]:
        """The rules of the events of a row, each merged with the rule they share."""
        return tuple(_merged(self, event) for event in self.events or (EventRule(),))


def load_mapping(path: Path) -> Mapping:
    """The mapping of a TOML file. Raises MappingError."""
    mapping = read_mapping(path, Mapping)
    try:
        _check(mapping)
    except MappingError as error:
        raise MappingError(f"mapping {path}: {error}") from None
    return mapping


def template_columns(template: str) -> list[str]:
    """The columns that a template names."""
    return _PLACEHOLDER.findall(template)


def template_parts(template: str) -> list[str]:
    """The template in parts: literal text and column names in turn, literal text first and last."""
    return _PLACEHOLDER.split(template)


def used_columns(mapping: Mapping) -> set[str]:
    """Every column of the file that the mapping names."""
    used = {mapping.received_at.column} if mapping.received_at else set()
    for event in mapping.event_rules():
        used |= set(event.columns.values()) | {
            column for text in event.templates.values() for column in template_columns(text)
        }
        used |= {rule.column for rule in event.properties.values() if rule.column}
        used |= {part.column for part in (event.timestamp, event.when) if part}
    return used


def _leave_out_unused(table: dict[str, Any], later: dict[str, Any]) -> None:
    for key, default in later.items():
        if table[key] == default:
            del table[key]


def _merged(base: EventRule, event: EventRule) -> EventRule:
    """`base` with what `event` adds; a field that `event` fills in any way is no longer filled by `base`."""
    filled = set(event.columns) | set(event.constants) | set(event.templates)

    def kept(table: dict[str, str]) -> dict[str, str]:
        return {field: text for field, text in table.items() if field not in filled}

    return EventRule(
        columns=kept(base.columns) | event.columns,
        constants=kept(base.constants) | event.constants,
        templates=kept(base.templates) | event.templates,
        values=base.values | event.values,
        timestamp=event.timestamp or base.timestamp,
        properties=base.properties | event.properties,
        when=event.when or base.when,
    )


def _check(mapping: Mapping) -> None:
    for key, text in (("delimiter", mapping.delimiter), ("quote", mapping.quote), ("escape", mapping.escape)):
        if text or key == "delimiter":
            check_character(key, text)
    if mapping.quote == mapping.delimiter:
        raise MappingError(f"quote: {mapping.quote!r} is the delimiter already")
    if mapping.escape and mapping.escape in (mapping.delimiter, mapping.quote):
        raise MappingError(f"escape: {mapping.escape!r} is the delimiter or the quote already")
    _check_signs("", mapping.decimal, mapping.thousands)
    check_encoding(mapping.encoding)
    if mapping.keeps_columns:
        return
    for event in mapping.event_rules():
        filled: set[str] = set()
        for table in ("columns", "constants", "templates"):
            for field in getattr(event, table):
                if field not in FIELDS:
                    raise MappingError(f"{table}.{field}: not a field of an event; choose one of {', '.join(FIELDS)}")
                if field in filled:
                    raise MappingError(f"{table}.{field}: {field} is filled twice; keep one")
                filled.add(field)
        from_columns = {name for name, rule in event.properties.items() if rule.column is not None}
        for field, texts in event.values.items():
            if field not in filled | from_columns:
                raise MappingError(f"values.{field}: nothing fills {field}; name it under columns or properties too")
            _check_values(f"values.{field}", texts, mapping)
        if "event_name" not in filled:
            raise MappingError(
                'event_name: nothing fills it; add columns.event_name = "COLUMN" or constants.event_name'
            )
        if not filled & {"user_id", "anonymous_id"}:
            raise MappingError('user_id: nothing fills it or anonymous_id; add columns.user_id = "COLUMN"')
        if event.timestamp is None:
            raise MappingError('timestamp: missing; add [timestamp] with column = "COLUMN"')
        for name, rule in event.properties.items():
            if (rule.column is None) == (rule.value is None):
                raise MappingError(f"properties.{name}: give either column or value")
            _check_values(f"properties.{name}.values", rule.values, mapping)
            thousands = mapping.thousands if rule.thousands is None else rule.thousands
            _check_signs(f"properties.{name}.", rule.decimal or mapping.decimal, thousands)
        _check_times("timestamp", event.timestamp)
    _check_times("received_at", mapping.received_at)


def _check_values(key: str, texts: dict[str, str], mapping: Mapping) -> None:
    empty = next((text for text in texts if text in mapping.null_values), None)
    if empty is not None:
        raise MappingError(
            f"{key}: {empty!r} is an empty cell (null_values), which has no text to replace; "
            "leave it out of null_values, or give the event a constant"
        )


def _check_signs(key: str, decimal: str | None, thousands: str) -> None:
    for name, sign in (("decimal", decimal), ("thousands", thousands)):
        if sign is not None and (sign or name == "decimal") and (len(sign) != 1 or sign.isalnum() or sign in "+-"):
            raise MappingError(f"{key}{name}: {sign!r} is not one character that can stand in a number, such as , or .")
    if thousands and thousands == (decimal or "."):
        raise MappingError(f"{key}thousands: {thousands!r} is the decimal sign too; name decimal as well")


def _check_times(key: str, rule: TimeColumn | None) -> None:
    if rule is None:
        return
    if not rule.formats:
        raise MappingError(f"{key}.format: an empty list reads nothing; name a format, such as iso")
    for name in rule.formats:
        try:
            time_format(name)
        except FormatError as error:
            raise MappingError(f"{key}.format: {error}") from None
    if rule.timezone is not None:
        try:
            ZoneInfo(rule.timezone)
        except (KeyError, ValueError, OSError):
            raise MappingError(
                f"{key}.timezone: {rule.timezone!r} is not a time zone, such as Europe/Berlin or UTC"
            ) from None
