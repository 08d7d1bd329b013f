"""Self-describing JSON of Snowplow's trackers: a schema's name and the data under it, as text or in base64.

Iglu names a schema iglu:VENDOR/NAME/FORMAT/VERSION (docs.snowplow.io, "Self-describing JSON schemas").
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from gtm_dagster.taxonomy.decoding import too_deep


class SelfDescribing(NamedTuple):
    """`vendor` and `name` of the schema, both empty where it names none, and the data."""

    vendor: str
    name: str
    data: Any


def described(value: Any) -> SelfDescribing | None:
    """What a self-describing object holds; None for what is none."""
    if not isinstance(value, dict) or "data" not in value:
        return None
    schema = value.get("schema")
    parts = schema.removeprefix("iglu:").split("/") if isinstance(schema, str) else []
    vendor, name = parts[:2] if len(parts) >= 2 else ("", "")
    return SelfDescribing(vendor, name, value["data"])


def event_in(payload: Mapping[str, Any]) -> SelfDescribing | None:
    """The event of a payload of the kind `ue`, out of its envelope; None where it cannot be read."""
    envelope = described(_json_of(payload, "ue_pr", "ue_px"))
    return None if envelope is None else described(envelope.data)


def contexts_in(payload: Mapping[str, Any]) -> Iterator[SelfDescribing]:
    """The contexts (entities) of a payload; none where they cannot be read."""
    envelope = described(_json_of(payload, "co", "cx"))
    for each in envelope.data if envelope is not None and isinstance(envelope.data, list) else ():
        if (found := described(each)) is not None:
            yield found


def _json_of(payload: Mapping[str, Any], plain: str, packed: str) -> Any:
    """The JSON in the field `plain`, else that in base64 (of either alphabet, with or without padding) in `packed`."""
    text = payload.get(plain)
    if isinstance(text, dict):
        return text
    if not isinstance(text, str):
        coded = payload.get(packed)
        if not isinstance(coded, str):
            return None
        coded = coded.strip().rstrip("=").replace("+", "-").replace("/", "_")
        try:
            raw = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
    else:
        raw = text.encode("utf-8", "surrogatepass")
    try:
        return None if too_deep(raw) else msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return None
