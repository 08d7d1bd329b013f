"""The typed event, and a reason to refuse one."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gtm_dagster.taxonomy.event_words import EVENT_WORDS

EMAIL = re.compile(r"[^\s@<>\"'/?&=,;()]{1,64}@[^\s@<>\"'/?&=,;()]{1,255}\.[^\s@<>\"'/?&=,;().]{2,}")
"""Any text shaped like an e-mail address; wide on purpose, since it refuses and redacts.
Bounded, so that a text of many `a` or `@` takes linear time."""

_NAME = re.compile(r"(?!.*:.*:)[A-Za-z0-9_$](?:[A-Za-z_.$:/-]|[0-9](?!\.[0-9]+\.)){0,63}\Z")
_MOST_DIGITS = 6


class FieldError(msgspec.Struct, frozen=True, gc=False):
    """One reason: `path` (dotted, empty for the whole event), a stable `code`, and a `message` free of personal values."""

    path: str
    code: str
    message: str


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An event that satisfies the plan. `event_us` is microseconds since the epoch, UTC; empty context texts are None.

    `bot_reason`: the program whose user agent the sender gave, "" for a person's, None without one.
    """

    event_id: str
    event_name: str
    event_us: int
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    properties: dict[str, Any] = {}
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    term: str | None = None
    content: str | None = None
    device_type: str | None = None
    locale: str | None = None
    page_url: str | None = None
    referrer: str | None = None
    click_id: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None
    consent: dict[str, bool] | None = None
    bot_reason: str | None = None


def shown_name(name: object) -> str:
    """`name` when it looks like an identifier, else a placeholder: a key or an event name may contain personal data.

    An identifier has no blanks and at most six digits; a name with blanks is shown when all its words are usual in names
    of events.
    """
    if isinstance(name, str) and len(name) <= 64:
        if _NAME.match(name) and sum(map(str.isdigit, name)) <= _MOST_DIGITS:
            return name
        if name.replace(" ", "").isalpha() and all(word.lower() in EVENT_WORDS for word in name.split(" ")):
            return name
    return MASKED_NAME


MASKED_NAME = "<masked>"
"""Stands for a name that is not shown."""
