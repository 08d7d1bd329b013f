"""The tracking plan as frozen data, read from YAML and checked on reading."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec

PropertyType = Literal["string", "number", "integer", "boolean"]
PrivacyClass = Literal["plain", "personal", "sensitive", "free_text"]
Stage = Literal["acquisition", "activation", "retention", "revenue", "operations"]
Basis = Literal["consent", "contract", "legitimate_interest"]
Scalar = str | int | float | bool

DEFAULT_MAX_LENGTH = 1024
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_VERSION = re.compile(r"\d+-\d+-\d+\Z")
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
}


class PlanError(ValueError):
    """The tracking plan cannot be used; each problem names the file, the line, the event, the property and the way out."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PropertySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One property. `privacy`: plain lands as sent, personal lands as a pseudonym, sensitive and free_text never land."""

    type: PropertyType
    required: bool = False
    allowed: tuple[Scalar, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    max_length: int = DEFAULT_MAX_LENGTH
    pattern: str | None = None
    privacy: PrivacyClass = "plain"
    description: str = ""

    @cached_property
    def regex(self) -> re.Pattern[str] | None:
        """The pattern, matched against the whole value."""
        return re.compile(rf"(?:{self.pattern})\Z") if self.pattern else None


class EventSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One event. `additional: true` lets it carry scalar properties the plan does not declare.

    `basis`: the legal basis of keeping it; `browsing`: it happens on a page or screen, also where no device is told.
    """

    description: str = ""
    stage: Stage = "operations"
    owner: str = ""
    properties: dict[str, PropertySpec] = {}
    additional: bool = False
    basis: Basis = "consent"
    browsing: bool = False
    name: str = ""

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names of the properties that must be present and not null."""
        return tuple(name for name, spec in self.properties.items() if spec.required)


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A tracking plan. `version` is MODEL-REVISION-ADDITION; `aliases` maps other spellings to canonical event names.

    `where`: its file, or `the packaged plan`; for messages, no part of what the plan says.
    """

    version: str
    events: dict[str, EventSpec]
    aliases: dict[str, str] = {}
    where: str = ""

    def resolve(self, name: str) -> str | None:
        """The canonical name of an event, or None when the plan does not know it."""
        return name if name in self.events else self.aliases.get(name)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex characters that change with anything that can change a verdict or what lands."""
        text = msgspec.json.encode(msgspec.structs.replace(self, where=""), order="deterministic")
        return hashlib.sha256(text).hexdigest()[:16]


def load_plan(path: Path | None = None) -> Plan:
    """The plan of `path`, or the packaged default. Raises PlanError naming file, event and property."""
    where = "the packaged plan" if path is None else str(path)
    try:
        text = (
            (resources.files("gtm_dagster.taxonomy") / "plan.yaml").read_text("utf-8")
            if path is None
            else path.read_text("utf-8")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"plan_file {where}: cannot be read ({error})") from error
    return parse_plan(text, where)


def parse_plan(text: str, where: str = "plan") -> Plan:
    """The plan written in YAML `text`; `where` names it in errors. Raises PlanError with every problem and its line."""
    # a third of the import time of a process that only tracks
    from gtm_dagster.taxonomy.plan_yaml import YamlError, line_numbers, read_yaml

    try:
        raw = read_yaml(text)
    except YamlError as error:
        raise PlanError(*(f"{where} line {line}: {words}" for line, words in error.problems)) from error
    events = raw.get("events") if isinstance(raw, dict) else None
    if isinstance(events, dict):  # an event of which nothing is said
        raw["events"] = {name: {} if event is None else event for name, event in events.items()}
    found = list(_problems(raw))
    try:
        plan = msgspec.convert(raw, Plan)
    except msgspec.ValidationError as error:
        from gtm_dagster.taxonomy.misfits import misfits  # for a wrong plan alone

        found = [*misfits(raw, Plan), *found] or [((), str(error))]
    if found:
        lines = line_numbers(text)
        ordered = sorted(dict.fromkeys((_line(lines, path), _subject(path) + words) for path, words in found))
        raise PlanError(*(f"{where}{f' line {line}' if line else ''}: {words}" for line, words in ordered))
    named = {name: msgspec.structs.replace(spec, name=name) for name, spec in plan.events.items()}
    return msgspec.structs.replace(plan, events=named, where=where)


def _line(lines: dict[tuple[str, ...], int], path: tuple[str, ...]) -> int:
    """The line of the key at `path`, or of what holds it; 0 for the whole document."""
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 0)


def _subject(path: tuple[str, ...]) -> str:
    """`event bought, property total, type: ` of a path."""
    if path[:1] == ("aliases",) and len(path) > 1:
        return f"alias {path[1]!r}: "
    if path[:1] != ("events",) or len(path) == 1:
        return f"{', '.join(path)}: " if path else ""
    parts = [f"event {_shown(path[1])}", *path[2:]]
    if path[2:3] == ("properties",) and len(path) > 3:
        parts[1:3] = [f"property {_shown(path[3])}"]
    return ", ".join(parts) + ": "


def _shown(name: str) -> str:
    return name if _NAME.match(name) else repr(name)


def _problems(raw: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """(path, what is wrong) of all that fits the types of a plan and is no plan all the same."""
    if not isinstance(raw, dict):
        return
    version, events, aliases = raw.get("version"), raw.get("events"), raw.get("aliases")
    if "where" in raw:
        yield ("where",), "is not a key of a plan"
    if isinstance(version, str) and not _VERSION.match(version):
        yield ("version",), f"{version!r} is not MODEL-REVISION-ADDITION, such as 1-0-0"
    if events in ({}, None) and "events" in raw:
        yield ("events",), "is empty; declare at least one"
    events = events if isinstance(events, dict) else {}
    for alias, target in aliases.items() if isinstance(aliases, dict) else ():
        if isinstance(target, str) and target not in events:
            yield ("aliases", str(alias)), f"points to {target!r}, which is not an event of the plan"
        if alias in events:
            yield ("aliases", str(alias)), "is also an event; rename one of them"
    for name, event in events.items():
        if isinstance(name, str) and not _NAME.match(name):
            words = "use lower case letters, digits and _, at most 64; an alias maps the name that is sent"
            yield ("events", name), words
        properties = event.get("properties") if isinstance(event, dict) else None
        for key, rule in properties.items() if isinstance(properties, dict) else ():
            try:
                problem = _problem(str(key), msgspec.convert(rule, PropertySpec))
            except msgspec.ValidationError:
                continue  # its misfits say why
            if problem:
                yield ("events", str(name), "properties", str(key)), problem


def _problem(name: str, spec: PropertySpec) -> str | None:
    if not _NAME.match(name):
        return "use lower case letters, digits and _ for the name, at most 64"
    for value in spec.allowed:
        if type(value) not in _PYTHON_TYPES[spec.type]:
            return f"allowed value {value!r} is not a {spec.type}"
    numeric = spec.type in ("number", "integer")
    if not numeric and (spec.minimum is not None or spec.maximum is not None):
        return f"minimum and maximum need a number, type is {spec.type}"
    if spec.pattern is not None:
        if spec.type != "string":
            return f"pattern needs a string, type is {spec.type}"
        try:
            re.compile(spec.pattern)
        except re.error as error:
            return f"pattern {spec.pattern!r} is not a regular expression ({error})"
    if spec.max_length < 1:
        return f"max_length {spec.max_length} is not above 0"
    if spec.privacy == "personal" and (spec.type != "string" or spec.allowed or spec.pattern or spec.max_length < 32):
        return (
            "privacy personal lands as a 32-character pseudonym: type string, no allowed, no pattern, max_length >= 32"
        )
    if spec.privacy in ("sensitive", "free_text") and spec.required:
        return f"privacy {spec.privacy} never lands, so it cannot be required"
    return None
