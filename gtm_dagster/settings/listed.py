"""Every setting with its value and where that comes from, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.settings.model import Settings
from gtm_dagster.settings.secret_text import shown
from gtm_dagster.settings.source import NOT_GIVEN, Origin


@dataclass(frozen=True)
class Listed:
    """A setting as gtm.toml would have it; `origin`: default, stage NAME, a file with its line, or a variable."""

    key: str
    value: Any
    origin: str


def listed(settings: Settings, origin: Origin) -> list[Listed]:
    """Every setting, in the order of gtm.toml. Of secrets and of addresses that may hold one, only what may be shown."""
    return [
        Listed(key, _plain(value, key), _place(key, settings, origin))
        for key, value in _leaves(settings)
        if key not in NOT_GIVEN
    ]


def _leaves(part: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(part):
        value, key = getattr(part, field.name), f"{prefix}{field.name}"
        if isinstance(value, msgspec.Struct):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _place(key: str, settings: Settings, origin: Origin) -> str:
    if origin.given(key):
        return origin.place(key).strip(" ()")
    return f"stage {settings.stage}" if key in origin.stage_keys else "default"


def in_toml(each: Listed) -> str:
    """The setting as gtm.toml would have it, its origin as a comment; a list of tables has a line an entry."""
    origin = f"  # {each.origin}"
    if each.value is None:
        return f"# {each.key} is not set{origin}"
    if isinstance(each.value, list) and any(isinstance(part, dict) for part in each.value):
        entries = "".join(f"  {_toml(part)},\n" for part in each.value)
        return f"{each.key} = [{origin}\n{entries}]"
    return f"{each.key} = {_toml(each.value)}{origin}"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(part)}" for name, part in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return f"{value:.15g}"
    return json.dumps(value, ensure_ascii=False)


def _defaults(field: msgspec.structs.FieldInfo) -> tuple[Any, ...]:
    if field.required:
        return ()
    return (field.default_factory() if field.default is msgspec.NODEFAULT else field.default,)  # type: ignore[operator]


def _plain(value: Any, key: str) -> Any:
    """Numbers, texts and truth values as they are; a list or table as JSON has it, without what is its default."""
    if value is None or key.startswith(("ops_url", "privacy.pseudonym_key")):
        return None if value is None else shown(value, key).strip("'")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(each, key) for each in value]
    if isinstance(value, msgspec.Struct):
        given = [(field, getattr(value, field.name)) for field in msgspec.structs.fields(value)]
        return {field.name: _plain(part, key) for field, part in given if part not in _defaults(field)}
    if isinstance(value, str) and key.startswith(("destinations", "notify", "providers")):
        return shown(value, key).strip("'")
    return value
