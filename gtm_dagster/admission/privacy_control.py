"""Global Privacy Control (https://w3c.github.io/gpc/): what a browser refuses for its person, whatever the page says."""

from __future__ import annotations

import msgspec

from gtm_dagster.privacy.consent import REFUSED_BY_GPC

_Parts = dict[str, msgspec.Raw]
_decode = msgspec.json.Decoder(_Parts).decode
_decode_or_none = msgspec.json.Decoder(_Parts | None).decode
_NO = {purpose: msgspec.Raw(msgspec.json.encode(value)) for purpose, value in REFUSED_BY_GPC.items()}


def refuse_by_gpc(raw: bytes) -> bytes:
    """An event with the purposes refused that its sender's browser refuses; all else of it stays byte for byte.

    What has no readable context or consent is returned as it is: the plan refuses it.
    """
    try:
        event = _decode(raw)
        context = _parts(event.get("context"))
        consent = _parts(context.get("consent"))
        context["consent"] = msgspec.Raw(msgspec.json.encode(consent | _NO))
        event["context"] = msgspec.Raw(msgspec.json.encode(context))
        return msgspec.json.encode(event)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return raw


def _parts(value: msgspec.Raw | None) -> _Parts:
    """The fields of an object; none of one that is absent or null."""
    return {} if value is None else _decode_or_none(value) or {}
