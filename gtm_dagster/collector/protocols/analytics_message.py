"""The message of the clients that speak Segment's form (Segment, RudderStack, Jitsu): one call of `track`, `page`, `identify` ...

What it says is worded as an event of the tracking plan; what the plan has no place for (IP address, traits, nested
properties) stays behind. Names that the plan does not know go on as they are, so that the quarantine shows them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gtm_dagster.collector.protocols.clock_skew import time_fields
from gtm_dagster.collector.protocols.consent_categories import purposes_of, purposes_of_strings
from gtm_dagster.collector.protocols.message_values import NESTED, as_object, flat, id_text, zone
from gtm_dagster.privacy.consent_strings import strictest
from gtm_dagster.taxonomy import Plan

KINDS = ("track", "page", "screen", "identify", "group", "alias")
_IDENTIFIED = "user_identified"
_VIEWED = "page_viewed"
_CAMPAIGN = {"name": "campaign", "source": "source", "medium": "medium", "term": "term", "content": "content"}
_DEVICES = {"server": "api", "mobile": "mobile", "web": "web"}
_NOT_A_PAGE = frozenset({"$direct", ""})
"""What RudderStack's browser client says of a visit without a referrer."""
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


class Sent:
    """What a request says for all of its messages: when it was sent by the sender's clock, received here, and an id.

    `sent_at`: RFC 3339; None where the request does not say. `received_us`: microseconds UTC.
    """

    __slots__ = ("anonymous_id", "received_us", "sent_at")

    def __init__(self, received_us: int, sent_at: Any = None, anonymous_id: str | None = None) -> None:
        self.received_us = received_us
        self.sent_at = sent_at if isinstance(sent_at, str) else None
        self.anonymous_id = anonymous_id


def event_of(message: Mapping[str, Any], kind: str | None, sent: Sent, plan: Plan) -> dict[str, Any]:
    """The event of one message; `kind`: the call, where the path says it rather than the message.

    Unknown kinds become an event of that name, which the plan refuses with its reason.
    """
    call = message.get("type") or kind
    name, properties = _name_and_properties(call, message, plan)
    context = as_object(message.get("context"))
    event: dict[str, Any] = {"event_name": name, "properties": properties}
    if (event_id := message.get("messageId")) is not None:
        event["event_id"] = event_id
    event |= _times(message, sent)
    for field, value in (
        ("user_id", message.get("userId")),
        ("anonymous_id", message.get("anonymousId") or sent.anonymous_id),
        ("session_id", context.get("sessionId")),
    ):
        if value is not None:
            event[field] = id_text(value)
    if call == "alias":
        event["anonymous_id"] = id_text(message.get("previousId"))
    event["context"] = _context(message, context, call)
    return event


def _name_and_properties(call: Any, message: Mapping[str, Any], plan: Plan) -> tuple[Any, dict[str, Any]]:
    """The event's name and properties."""
    if call == "track":
        return known_name(message.get("event"), plan), flat(message.get("properties"))
    if call in ("page", "screen"):
        return viewed_page(flat(message.get("properties")), message.get("name"))
    if call in ("identify", "group", "alias"):
        declared = plan.events[_IDENTIFIED].properties if _IDENTIFIED in plan.events else {}
        traits = message.get("traits") if call != "group" else {}
        found = {name: value for name, value in flat(traits).items() if name in declared}
        if call == "group":
            found["account_id"] = id_text(message.get("groupId"))
        if call == "alias":
            found["alias_of"] = id_text(message.get("previousId"))
        return _IDENTIFIED, found
    return call, flat(message.get("properties"))


def known_name(name: Any, plan: Plan) -> Any:
    """The plan's name for a client's: itself or an alias, else its words in lower case; as it is where neither is there."""
    if not isinstance(name, str) or plan.resolve(name) is not None:
        return name
    plain = "_".join(_WORDS.findall(name)).lower()
    return plain if plan.resolve(plain) is not None else name


def viewed_page(properties: Mapping[str, Any], name: Any) -> tuple[str, dict[str, Any]]:
    """The name and the properties of the event of a view; `name`: that of the message, a title where there is no other."""
    found = {field: properties[field] for field in ("path", "title") if isinstance(properties.get(field), str)}
    if "title" not in found and isinstance(name, str):
        found["title"] = name
    return _VIEWED, found


def _times(message: Mapping[str, Any], sent: Sent) -> dict[str, Any]:
    """When it happened, put right where the sender's clock is off."""
    at = message.get("timestamp") or message.get("originalTimestamp")
    return time_fields(at, message.get("sentAt") or sent.sent_at, sent.received_us)


def _context(message: Mapping[str, Any], context: Mapping[str, Any], call: Any) -> dict[str, Any]:
    page = as_object(message.get("properties")) if call == "page" else {}
    found = context_of(context, message.get("channel"), page.get("url"), page.get("referrer"))
    if call == "screen" and "device_type" not in found:
        consent = {"consent": found.pop("consent")} if "consent" in found else {}
        found |= {"device_type": "mobile"} | consent
    return found


def context_of(context: Mapping[str, Any], channel: Any, url: Any, referrer: Any) -> dict[str, Any]:
    """The context of the event; `channel`, `url` and `referrer` are what the message says beside its own context."""
    campaign, page = as_object(context.get("campaign")), as_object(context.get("page"))
    found = {ours: campaign.get(theirs) for theirs, ours in _CAMPAIGN.items()}
    found["page_url"] = page.get("url") or url
    referrer = page.get("referrer") or referrer
    found["referrer"] = None if referrer in _NOT_A_PAGE else referrer
    found["locale"] = context.get("locale")
    found["timezone"] = zone(context.get("timezone"))
    found["user_agent"] = context.get("userAgent")
    found["country"] = as_object(context.get("location")).get("country")
    found["device_type"] = _DEVICES.get(str(channel or context.get("channel") or ""))
    kept = {name: value for name, value in found.items() if value is not None and not isinstance(value, NESTED)}
    consent = _consent(context)
    return kept | ({"consent": consent} if consent else {})


def _consent(context: Mapping[str, Any]) -> dict[str, bool]:
    """Purposes that a consent platform said yes or no to, by categories and by strings; what one refuses is refused."""
    consent = as_object(context.get("consent"))
    preferences = list(as_object(consent.get("categoryPreferences")).items())
    management = as_object(context.get("consentManagement"))
    for name, allowed in (("allowedConsentIds", True), ("deniedConsentIds", False)):
        ids = management.get(name)
        preferences += [(each, allowed) for each in ids] if isinstance(ids, list) else []
    return strictest(purposes_of(preferences), purposes_of_strings({**context, **consent}))
