"""One distinct value of a batch: what lands of it, or None where only the single form can say what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.batch_columns import each_distinct
from gtm_dagster.admission.short_way import plain_properties
from gtm_dagster.channels.hosts import host_of
from gtm_dagster.privacy.event_ids import UUID_ALONE, stored_event_id
from gtm_dagster.privacy.masking import UndeclaredText, clean_url, landed_text
from gtm_dagster.taxonomy.absent import ABSENT_IDS, present_id, present_text
from gtm_dagster.taxonomy.decoding import too_deep
from gtm_dagster.taxonomy.envelope import (
    CAMPAIGN_FIELDS,
    CONTEXT_LIMITS,
    DEVICE_TYPES,
    ID_LIMITS,
    PURPOSES,
    UTM_FIELDS,
    Context,
)
from gtm_dagster.taxonomy.plan import EventSpec
from gtm_dagster.taxonomy.validator import touch_of

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.decode
_ABSENT = pa.array(sorted(ABSENT_IDS))


class PersonId(NamedTuple):
    """`pseudonym` is None for a text that names nobody."""

    pseudonym: str | None


class Consent(NamedTuple):
    """What lands of a consent, and what it says of analytics."""

    text: str | None
    analytics: bool | None


class Properties(NamedTuple):
    """What lands of properties: JSON."""

    text: str


def plain_ids(field: str, ids: pa.Array) -> np.ndarray:
    """The rows whose id is printable ASCII within the limit, no word for nothing and without an @."""
    plain = pc.match_substring_regex(ids, f"^[!-?A-~]{{1,{ID_LIMITS[field]}}}$")
    plain = pc.and_(plain, pc.invert(pc.is_in(pc.ascii_lower(ids), _ABSENT)))
    return pc.fill_null(plain, False).to_numpy(zero_copy_only=False)


def person_id(field: str, text: str, pseudonymize: Callable[[str], str]) -> PersonId | None:
    """The pseudonym of an id of a person."""
    if len(text) > ID_LIMITS[field] or "\x00" in text:
        return None
    return PersonId(None if present_id(text) is None else pseudonymize(text))


def session_of(text: str, pseudonymize: Callable[[str], str]) -> tuple[str | None] | None:
    """What lands of a session id."""
    if len(text) > ID_LIMITS["session_id"] or "\x00" in text:
        return None
    present = present_id(text)
    return (None if present is None else pseudonymize(present),)


def stored_ids(ids: pa.Array, pseudonymize: Callable[[str], str]) -> pa.Array:
    """The ids of events as they are stored; null stays null."""
    random = pc.fill_null(pc.match_substring_regex(ids, UUID_ALONE), True)
    if pc.all(random).as_py() is not False:
        return ids
    doubtful = pc.if_else(random, None, ids)
    return pc.if_else(random, ids, each_distinct(doubtful, lambda text: stored_event_id(text, pseudonymize)))


def clean_text(field: str, text: str) -> tuple[str | None] | None:
    """What lands of a text of the context that depends on no other; `page_url` and `referrer` without their query."""
    if len(text) > CONTEXT_LIMITS[field] or "\x00" in text:
        return None
    present = present_text(text)
    if present is None or (field == "referrer" and host_of(present) is None):
        return (None,)
    return (clean_url(present) if field in ("page_url", "referrer") else landed_text(present),)


def touch_fields(sent: tuple[Any, ...]) -> tuple[str | None, ...] | None:
    """The five campaign fields, click id and device that land.

    `sent`: five fields, five other names of them, click id, page with a query, whether there is a page and a referrer,
    device, whether the event is browsing.
    """
    five, others, (click_id, page_url, has_page, has_referrer, device, browsing) = sent[:5], sent[5:10], sent[10:]
    texts = [
        *zip(CAMPAIGN_FIELDS, five, strict=True),
        *zip(CAMPAIGN_FIELDS, others, strict=True),
        ("click_id", click_id),
    ]
    if any(text is not None and (len(text) > CONTEXT_LIMITS[field] or "\x00" in text) for field, text in texts):
        return None
    if device is not None and device not in DEVICE_TYPES:
        return None
    named = dict(zip((*CAMPAIGN_FIELDS, *UTM_FIELDS), (*five, *others), strict=True))
    context = Context(click_id=click_id, page_url=page_url, **named)
    touch = touch_of(context, None)
    is_browsing = has_page or has_referrer or touch.is_browsing or browsing
    landed = [landed_text(text) for text in (*touch[:5], touch.click_id)]
    return (*landed, device or ("web" if is_browsing else "api"))


def consent_of(text: str) -> Consent | None:
    """What lands of a consent in JSON."""
    try:
        value = None if too_deep(text.encode()) else _decode(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not all(k in PURPOSES and isinstance(v, bool) for k, v in value.items()):
        return None
    return Consent(_encode(value).decode(), value.get("analytics"))


def properties_of(
    spec: EventSpec, text: str | None, pseudonymize: Callable[[str], str], undeclared: UndeclaredText
) -> Properties | None:
    """What lands of properties in JSON; None for those of a drill too."""
    try:
        value = _decode(text) if text is not None and not too_deep(text.encode()) else {} if text is None else None
    except (ValueError, RecursionError):
        return None
    landing = plain_properties(spec, value, pseudonymize, undeclared) if isinstance(value, dict) else None
    return None if landing is None else Properties(landing)
