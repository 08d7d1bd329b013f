"""Consent, asked again when a message is about to go out: what the person said meanwhile counts."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import msgspec

from gtm_dagster.triggers.person_profile import NOBODY, Profile
from gtm_dagster.triggers.rule_lint import SERVICE

if TYPE_CHECKING:
    from gtm_dagster.delivery.attempt import Leased

NO_CONSENT = "consent"


def refused_meanwhile(con: sqlite3.Connection, message: Leased) -> str | None:
    """`consent` when the message's person, or the user its anonymous id became, does not consent to its purpose now."""
    if message.purpose == SERVICE:
        return None
    linked = con.execute("SELECT user FROM links WHERE anonymous = ?", (message.person,)).fetchone()
    person = linked[0] if linked else message.person
    row = con.execute("SELECT profile FROM persons WHERE person = ?", (person,)).fetchone()
    profile = msgspec.msgpack.decode(row[0], type=Profile) if row and row[0] is not None else NOBODY
    return None if profile.consents_to(message.purpose) else NO_CONSENT
