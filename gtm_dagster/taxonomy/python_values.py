"""An event of Python values as JSON: what libraries make of texts and numbers, and the name of what JSON does not have."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import isfinite
from numbers import Integral, Real
from typing import Any

import msgspec

from gtm_dagster.taxonomy.decoding import MAX_DEPTH
from gtm_dagster.taxonomy.event import FieldError, shown_name


def json_of(event: dict[str, Any]) -> bytes | FieldError:
    """The JSON of an event. A Decimal is a number; so is what numpy counts with, and a kind of text is a text.

    NaN and infinity are refused here, because encoders turn them into null.
    """
    properties = event.get("properties")
    if isinstance(properties, dict):
        for name, value in properties.items():
            if isinstance(value, float | Decimal) and not isfinite(value):
                return FieldError(f"properties.{shown_name(name)}", "not_finite", "JSON has neither NaN nor infinity")
    try:
        return _encode(event)
    except UnicodeEncodeError:
        return FieldError("", "lone_surrogate", "holds half of a surrogate pair")
    except RecursionError:
        return FieldError("", "too_deep", f"nested deeper than {MAX_DEPTH} levels")
    except (TypeError, ValueError, OverflowError) as error:
        path, kind = next(_faults(event), ("", type(error).__name__))
        return FieldError(path, "type", f"holds a value that JSON does not have ({kind})")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and isfinite(value):
        return float(value)
    raise TypeError


_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=_plain).encode


def _faults(event: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and type of each value of the event, its properties and its context that cannot be encoded."""
    for field, whole in event.items():
        inner = whole.items() if isinstance(whole, dict) else ()
        for path, value in (*((f"{field}.{shown_name(name)}", value) for name, value in inner), (field, whole)):
            try:
                _encode(value)
            except (TypeError, ValueError, OverflowError):
                yield path, type(value).__name__
