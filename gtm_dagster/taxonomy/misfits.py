"""Why a decoded document does not fit a Struct: every reason with its path, where msgspec itself stops at the first."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from gtm_dagster.settings.nearest import did_you_mean

Path = tuple[str, ...]
_WORDS: dict[Any, str] = {
    str: "a text (quote it)",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "nothing",
    tuple: "a list",
    dict: "a mapping",
}


def misfits(value: Any, kind: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """(path, what is wrong) of everything in `value` that `kind` (a Struct, a dict of them, or a plain type) refuses."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from _of_struct(value, kind, path)
    elif isinstance(value, dict) and (struct := _struct_among(kind)):
        yield from _of_struct(value, struct, path)
    elif get_origin(kind) is dict:
        if not isinstance(value, dict):
            yield path, f"{value!r} is not a mapping of names"
            return
        for name, part in value.items():
            if isinstance(name, str):
                yield from misfits(part, get_args(kind)[1], (*path, name))
            else:
                yield (*path, str(name)), f"the name {name!r} is not a text; quote it"
    else:
        try:
            msgspec.convert(value, kind)
        except (msgspec.ValidationError, OverflowError):
            yield path, f"{value!r} is not {_allowed(kind)}"


def _struct_among(kind: Any) -> type[msgspec.Struct] | None:
    """The Struct of a union such as `Struct | None`."""
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    return next((part for part in parts if isinstance(part, type) and issubclass(part, msgspec.Struct)), None)


def _of_struct(value: Any, kind: type[msgspec.Struct], path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, dict):
        yield path, f"{value!r} is not a mapping"
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, part in value.items():
        if name in fields:
            yield from misfits(part, fields[name].type, (*path, name))
        else:
            yield (
                (*path, str(name)),
                f"there is no such key; known here: {', '.join(fields)}{did_you_mean(str(name), fields)}",
            )
    for name, field in fields.items():
        if field.required and name not in value:
            yield path, f"{name} is missing"


def _allowed(kind: Any) -> str:
    """The allowed values in words."""
    if get_origin(kind) is Annotated:
        plain, *notes = get_args(kind)
        described = (note.description for note in notes if isinstance(note, msgspec.Meta) and note.description)
        return next(described, _allowed(plain))
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_allowed(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is tuple:
        return f"a list of which each is {_allowed(get_args(kind)[0])}"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"a mapping of {', '.join(field.encode_name for field in msgspec.structs.fields(kind))}"
    return _WORDS.get(kind, str(kind))
