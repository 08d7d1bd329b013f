"""Values of Python and DuckDB as JSON and CSV take them."""

from __future__ import annotations

import json
import math
import re
import secrets
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any


def plain(value: Any) -> Any:
    """A value as JSON has it: times RFC 3339 in UTC with Z, decimals as numbers, NaN and infinity as null.

    A decimal with a fraction stays a Decimal, which `json_text` writes: a float has 17 digits, a DECIMAL up to 38.
    """
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        return int(value) if value == value.to_integral_value() else value
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return plain(value.item()) if hasattr(value, "item") else str(value)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """A value as one JSON document, decimals with all of their digits."""
    decimals: list[str] = []
    mark = secrets.token_hex(8)  # unknown to whoever sent the texts of the document

    def marked(part: Any) -> str:
        decimals.append(_digits(part))
        return f"{mark}:{len(decimals) - 1}"

    text = json.dumps(plain(value), ensure_ascii=False, indent=indent, allow_nan=False, default=marked)
    return re.sub(f'"{mark}:([0-9]+)"', lambda found: decimals[int(found[1])], text) if decimals else text


def plain_text(value: Any) -> str | None:
    """The same as the text of a cell: lists and objects as JSON; None stays None."""
    simple = plain(value)
    if simple is None or isinstance(simple, str):
        return simple
    return json_text(simple)


def _digits(value: Decimal) -> str:
    """Every digit, without an exponent and without zeros behind the last one that says something."""
    return f"{value:f}".rstrip("0")
