"""The payload of Snowplow's trackers (docs.snowplow.io, "Snowplow Tracker Protocol") as an event of the tracking plan.

What the plan has no place for stays behind: addresses of machines, the id that follows a person over sites (`nuid`,
`tnuid`), screens and windows, contexts but those that name a visitor or a payment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gtm_dagster.collector.protocols.clock_skew import time_fields, time_text
from gtm_dagster.collector.protocols.consent_categories import purposes_of_strings
from gtm_dagster.collector.protocols.message_values import as_object, zone
from gtm_dagster.collector.protocols.self_describing import SelfDescribing, contexts_in
from gtm_dagster.collector.protocols.snowplow_names import plan_event
from gtm_dagster.privacy.consent_strings import strictest
from gtm_dagster.taxonomy import Plan
from gtm_dagster.taxonomy.envelope import CAMPAIGN_FIELDS

_DEVICES = {"web": "web", "mob": "mobile", "srv": "api"}
_LONGEST_TIME = 20
"""Digits of a time in milliseconds; more are none."""


def event_of(payload: Mapping[str, Any], *, anonymous: bool, received_us: int, plan: Plan) -> dict[str, Any]:
    """The event of one payload. `anonymous`: it came with `SP-Anonymous`, so ids of visitors and users are not taken;
    `received_us`: microseconds UTC.
    """
    contexts = list(contexts_in(payload))
    found = plan_event(payload, contexts, plan)
    given = {"event_id": payload.get("eid"), **_times(payload, received_us)}
    given |= _person(payload, contexts, anonymous=anonymous)
    event: dict[str, Any] = {"event_name": found.name, "properties": found.properties}
    event |= {field: value for field, value in given.items() if value is not None}
    event["context"] = _context(payload, is_screen=found.is_screen)
    if consent := strictest(found.consent or {}, purposes_of_strings(payload)):
        event["context"]["consent"] = consent
    return event


def _person(payload: Mapping[str, Any], contexts: Iterable[SelfDescribing], *, anonymous: bool) -> dict[str, Any]:
    """User, visitor and session. A visitor who is counted without an id is one for a session, where that has an id."""
    client = next((as_object(each.data) for each in contexts if each.name == "client_session"), {})
    session = payload.get("sid") or client.get("sessionId")
    user, visitor = (None, None) if anonymous else (payload.get("uid"), payload.get("duid") or client.get("userId"))
    if not user and not visitor:
        visitor = session
    return {"user_id": user or None, "anonymous_id": visitor or None, "session_id": session or None}


def _times(payload: Mapping[str, Any], received_us: int) -> dict[str, Any]:
    """When it happened: the true time where one is given, else the device's, put right where its clock is off."""
    true_time = payload.get("ttm")
    if true_time is not None:
        return {"timestamp": _moment(true_time)}
    return time_fields(_moment(payload.get("dtm")), _moment(payload.get("stm")), received_us)


def _moment(value: Any) -> Any:
    """Milliseconds since the epoch as RFC 3339; what is none as it is, to be refused with its reason."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > _LONGEST_TIME:
        return value
    return time_text(int(text) * 1000) or text


def _context(payload: Mapping[str, Any], *, is_screen: bool) -> dict[str, Any]:
    found: dict[str, Any] = {field: payload.get(f"mkt_{field}") for field in CAMPAIGN_FIELDS}
    found["page_url"] = payload.get("url")
    found["referrer"] = payload.get("refr")
    found["locale"] = payload.get("lang")
    found["timezone"] = zone(payload.get("tz"))
    found["user_agent"] = payload.get("ua")
    platform = payload.get("p")
    found["device_type"] = "mobile" if is_screen else _DEVICES.get(platform) if isinstance(platform, str) else None
    return {field: value for field, value in found.items() if value not in (None, "") and not isinstance(value, list | dict)}  # fmt: skip
