"""Where a setting came from: TOML with its line numbers, GTM_* variables, and conversion that can name both."""

from __future__ import annotations

import json
import re
import tomllib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from gtm_dagster.settings.nearest import did_you_mean
from gtm_dagster.settings.secret_text import shown

PREFIX = "GTM_"
_BEYOND_SENSE = 1_000_000  # such an upper limit is worth a word only to who goes beyond it
_AT_A_GLANCE = 4  # so many names need no hint
NOT_SETTINGS = frozenset({"GTM_CONFIG", "GTM_DEPLOYMENT", "GTM_TRACEBACK"})
NOT_GIVEN = frozenset({"guard_errors"})
"""Fields of the settings that nobody sets: `load_settings` fills them."""


class SettingsError(ValueError):
    """Settings that cannot be used; each problem names key, value, what is allowed, and where it stands."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


_DEEPEST = 30


@dataclass
class Origin:
    """Where each given setting stands: lines of one file, and variables."""

    file: str = ""
    lines: dict[str, int] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    guard_places: tuple[int, ...] = ()
    """The place of each good guard among all that were given."""
    stage_keys: frozenset[str] = frozenset()
    """Keys whose value is that of the stage's preset."""

    def override(self, environment: EnvironmentValues) -> None:
        """Take over what the variables set: the file's lines of these keys, and of all within them, count no more."""
        for key in environment.variables:
            for line in [line for line in self.lines if line == key or line.startswith((f"{key}.", f"{key}["))]:
                del self.lines[line]
        self.variables.update(environment.variables)

    def given(self, key: str) -> bool:
        """Whether the file or a variable sets this key or something within it."""
        within = (f"{key}.", f"{key}[")
        return any(name == key or name.startswith(within) for name in (*self.lines, *self.variables))

    def place(self, key: str) -> str:
        """` (gtm.toml line 41)`, ` (GTM_STATE_DIR)`, or nothing when the place is not known."""
        if key not in self.lines:
            for name, variable in self.variables.items():  # a variable that sets a table is noted for what is in it
                if name.startswith((f"{key}.", f"{key}[")):
                    return f" ({variable})"
        parent = key
        while parent:
            if parent in self.variables:
                return f" ({self.variables[parent]})"
            if parent in self.lines:
                return f" ({self.file} line {self.lines[parent]})"
            parent = re.sub(r"(\[\d+\]|\.?[^.\[\]]+)$", "", parent)
        return f" ({self.file})" if self.file else ""


@dataclass(frozen=True)
class EnvironmentValues:
    """What the GTM_* variables say: nested values, and the variable behind each key that is no table."""

    values: dict[str, Any]
    variables: dict[str, str]


def read_toml(path: Path) -> tuple[dict[str, Any], Origin]:
    """The file's content and the line of each key. Raises SettingsError when it cannot be read or parsed."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such settings file; correct --config or GTM_CONFIG") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"{path}: the settings file cannot be read: {reason}") from None
    try:
        return tomllib.loads(text), Origin(path.name, _line_numbers(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path.name}: not valid TOML: {error}") from None
    except (RecursionError, ValueError):
        raise SettingsError(_beyond_sense(path.name, text)) from None


def _beyond_sense(name: str, text: str) -> str:
    """What to say of a file in which a value is nested so deeply, or has so many digits, that it cannot be read."""
    for number, line in enumerate(text.splitlines(), start=1):
        digits, depth = re.search(r"[0-9_]{1000}", line), line.count("[") + line.count("{")
        if digits or depth > _DEEPEST:
            found = _KEY.match(line)
            key = found.group(1) if found else "a line"
            what = "a number of that many digits is not allowed" if digits else "it is nested too deeply"
            return f"{key}: {shown(line.strip(), key)}: {what} ({name} line {number})"
    return f"{name}: a value is nested too deeply to be read"


_HEADER = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\-\s]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_.\-]+)\s*=\s*(.*)$")


def _line_numbers(text: str) -> dict[str, int]:
    """The line of every `key`, `table.key` and `table.key[i]`, by a scan that knows headers, keys and arrays."""
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix, open_key, depth, index = "", "", 0, 0
    for number, line in enumerate(text.splitlines(), start=1):
        bare = re.sub(r'"(\\.|[^"\\])*"|\'[^\']*\'', lambda m: "s" * len(m.group()), line)
        if depth == 0:
            header, key = _HEADER.match(bare), _KEY.match(bare)
            if header:
                prefix = _within(header.group(2), counts)
                if header.group(1) == "[[":
                    counts[prefix] = counts.get(prefix, -1) + 1
                    prefix = f"{prefix}[{counts[prefix]}]"
                found[prefix] = number
                continue
            if not key:
                continue
            open_key = f"{prefix}.{key.group(1)}" if prefix else key.group(1)
            found.setdefault(open_key, number)
            index, bare = 0, key.group(2)
        for char in bare.partition("#")[0]:
            if char not in " \t,]}" and depth == 1:
                found.setdefault(f"{open_key}[{index}]", number)
            depth += (char in "[{") - (char in "]}")
            index += char == "," and depth == 1
    return found


def _within(header: str, counts: Mapping[str, int]) -> str:
    """The header of a table within entries of a list, such as `guards.metrics`: `guards[2].metrics`, in the newest entry."""
    *parents, last = header.split(".")
    path = ""
    for name in parents:
        path = f"{path}.{name}" if path else name
        path = f"{path}[{counts[path]}]" if path in counts else path
    return f"{path}.{last}" if path else last


def read_environment(environ: Mapping[str, str], root: type) -> EnvironmentValues:
    """The GTM_* variables as nested values: `__` between levels, JSON where the setting is not plain text."""
    values: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS:
            continue
        names = variable[len(PREFIX) :].lower().split("__")
        wanted: Any = root
        for depth, name in enumerate(names):
            known = get_type_hints(wanted, include_extras=True) if _is_struct(wanted) else {}
            if name not in known:
                raise SettingsError(_unknown(".".join(names[: depth + 1]), name, known, f" ({variable})"))
            wanted = known[name]
        key = ".".join(names)
        try:
            _put(values, names, _from_text(environ[variable], wanted, key, variable), variable, variables)
        except RecursionError:
            raise SettingsError(f"{key}: {shown(environ[variable], key)} is nested too deeply ({variable})") from None
    return EnvironmentValues(values, variables)


def _put(values: dict[str, Any], names: list[str], value: Any, variable: str, variables: dict[str, str]) -> None:
    """Set the value at `names` and note its variable; of a table, each key for itself, since others may stay."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            _put(values, [*names, name], part, variable, variables)
        return
    into = values
    for depth, name in enumerate(names[:-1], start=1):
        into = into.setdefault(name, {})
        if not isinstance(into, dict):
            key = ".".join(names[:depth])
            raise SettingsError(
                f"{key}: {shown(into, key)} is not a table ({variables[key]}), and {variable} sets a key of it"
            )
    into[names[-1]] = value
    variables[".".join(names)] = variable


def _from_text(text: str, wanted: Any, key: str, variable: str) -> Any:
    options = _options(wanted)
    if text == "" and type(None) in options:
        return None
    if text.lstrip().startswith("{") and any(get_origin(option) is dict for option in options):
        options = ()  # a table where a word would do too
    if any(option in (str, Path) or get_origin(option) is Literal for option in options):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or nested beyond sense
        raise SettingsError(
            f"{key}: {shown(text, key)} is not {_allowed(wanted, text)} ({variable}, read as JSON)"
        ) from None


def to_struct(value: Any, wanted: Any, origin: Origin, key: str = "") -> Any:
    """`value` as `wanted` (a Struct, a tuple of them, or a plain type), naming the exact key of what does not fit."""
    tables = [option for option in _options(wanted) if _is_struct(option)]
    if tables and isinstance(value, dict):  # a table, or nothing at all
        wanted = tables[0]
    if _is_struct(wanted):
        if not isinstance(value, dict):
            raise SettingsError(f"{key}: {shown(value, key)} is not a table{origin.place(key)}")
        known = get_type_hints(wanted, include_extras=True)
        parts = {}
        for name, part in value.items():
            inner = f"{key}.{name}" if key else name
            if name not in known:
                raise SettingsError(_unknown(inner, name, known, origin.place(inner)))
            parts[name] = to_struct(part, known[name], origin, inner)
        missing = [f.name for f in msgspec.structs.fields(wanted) if f.required and f.name not in parts]
        if missing:
            raise SettingsError(f"{key}.{missing[0]}: is missing{origin.place(key)}")
        return wanted(**parts)
    options = _options(wanted)
    if len(options) == 1 and get_origin(options[0]) is tuple:
        if not isinstance(value, list):
            raise SettingsError(f"{key}: {shown(value, key)} is not a list{origin.place(key)}")
        member = get_args(options[0])[0]
        items = tuple(to_struct(item, member, origin, f"{key}[{i}]") for i, item in enumerate(value))
        if not items and get_origin(wanted) is Annotated:
            raise SettingsError(f"{key}: the list is empty; it needs at least one entry{origin.place(key)}")
        return items
    if len(options) == 1 and get_origin(options[0]) is dict and isinstance(value, dict):
        member = get_args(options[0])[1]
        return {name: to_struct(item, member, origin, f"{key}.{name}") for name, item in value.items()}
    try:
        return msgspec.convert(value, wanted, strict=True, dec_hook=lambda kind, text: kind(text))
    except (msgspec.ValidationError, TypeError, OverflowError, RecursionError):
        raise SettingsError(f"{key}: {shown(value, key)} is not {_allowed(wanted, value)}{origin.place(key)}") from None


def _is_struct(wanted: Any) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, msgspec.Struct)


def _options(wanted: Any) -> tuple[Any, ...]:
    if get_origin(wanted) is Annotated:
        return _options(get_args(wanted)[0])
    if get_origin(wanted) in (types.UnionType, Union):
        return tuple(option for part in get_args(wanted) for option in _options(part))
    return (wanted,)


def _allowed(wanted: Any, value: Any) -> str:
    """The allowed values in words, for who gave `value`."""
    if get_origin(wanted) in (types.UnionType, Union):
        return " or ".join("empty" if part is type(None) else _allowed(part, value) for part in get_args(wanted))
    if get_origin(wanted) is Literal:
        return f"one of {', '.join(map(str, get_args(wanted)))}"
    base = _options(wanted)[0]
    word = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        Path: "a path",
        dict: "a table of them by region",
    }.get(get_origin(base) or base, "a list")
    limits = []
    for note in get_args(wanted)[1:] if get_origin(wanted) is Annotated else ():
        limits += [
            f"{limit} {bound:g}" if bound < _BEYOND_SENSE else f"{limit} {bound:,}"
            for bound, limit in (
                (note.gt, "above"),
                (note.ge, "of at least"),
                (note.lt, "below"),
                (note.le, "of at most"),
            )
            if bound is not None and (bound < _BEYOND_SENSE or _exceeds(value, bound))
        ]
        if note.description:
            return str(note.description)
        if note.min_length:
            word = f"{word} that is not empty"
    return " ".join([word, " and ".join(limits)]).strip()


def _exceeds(value: Any, bound: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bound < value < float("inf")


def _unknown(key: str, name: str, known: Mapping[str, Any], place: str) -> str:
    listed = sorted(set(known) - NOT_GIVEN)
    near = did_you_mean(name, listed) if len(listed) > _AT_A_GLANCE else ""
    return f"{key}: there is no such setting; known here: {', '.join(listed) or 'none'}{near}{place}"
