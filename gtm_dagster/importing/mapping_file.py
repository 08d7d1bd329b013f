"""A mapping's TOML file as a Struct, and what both kinds of mapping say of the file they map: encoding and signs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


class MappingError(ValueError):
    """The mapping cannot be used; the message names the file, the key, the value and what is allowed."""


def read_mapping(path: Path, kind: type[T]) -> T:
    """The file as `kind`. Raises MappingError, which names the file."""
    try:
        return msgspec.convert(tomllib.loads(Path(path).read_text("utf-8-sig")), kind)
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"mapping {path}: cannot be read ({error})") from error
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"mapping {path}: not TOML ({error})") from error
    except msgspec.ValidationError as error:
        raise MappingError(f"mapping {path}: {error}") from error
    except RecursionError:
        raise MappingError(f"mapping {path}: a value is nested too deeply to be read") from None
    except (ValueError, OverflowError) as error:  # a number of thousands of digits; a NUL in the path
        raise MappingError(f"mapping {str(path)!r}: cannot be read ({str(error).partition(';')[0]})") from None


def check_encoding(encoding: str) -> None:
    """MappingError unless `encoding` turns bytes into text."""
    try:
        if b"a,1".decode(encoding, errors="replace") is not None and "".encode(encoding) is not None:
            return
    except (LookupError, ValueError):  # unknown, no encoding of text, `undefined`, a NUL
        pass
    raise MappingError(f"encoding: {encoding!r} is not an encoding, such as utf-8, latin-1 or cp1252")


def check_character(key: str, text: str) -> None:
    """MappingError unless `text` is one ASCII character that can stand between or around cells."""
    if len(text.encode(errors="replace")) != 1 or text in "\0\r\n":
        raise MappingError(f"{key}: {text!r} is not one ASCII character, or ends lines or texts")
