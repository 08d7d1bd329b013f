"""The event of PostHog's clients, of both versions of their protocol, as an event of the tracking plan.

What begins with `$` is PostHog's own: what the plan has a place for is moved there, the rest stays behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gtm_dagster.collector.protocols.analytics_message import known_name
from gtm_dagster.collector.protocols.clock_skew import NO_TIME, epoch_text, time_fields, time_text
from gtm_dagster.collector.protocols.message_values import as_object, flat, id_text, zone
from gtm_dagster.taxonomy import Plan
from gtm_dagster.taxonomy.envelope import UTM_FIELDS
from gtm_dagster.taxonomy.touch import CLICK_ID_NAMES

_IDENTIFIED = "user_identified"
_VIEWED = "page_viewed"
_VIEWS = ("$pageview", "$screen")
_ALIASES = ("$create_alias", "$merge_dangerously")
_PERSONS = frozenset({"$identify", "$set", "$groupidentify", *_ALIASES})
_LEFT_BEHIND = CLICK_ID_NAMES | {*UTM_FIELDS, "distinct_id", "token", "gad_source", "mc_cid", "igshid", "irclid", "oppref", "bfcid",
                                "mp_lib"}  # fmt: skip
"""Properties that the clients add to every event; ids of clicks are in the address of the page."""
_NOBODY = "$posthog_cookieless"
"""The id that all visitors share who are counted without cookies."""
_DEVICE = "$device:"
"""How a visitor's id begins in Mixpanel's clients."""
_NO_REFERRER = "$direct"
_PREVIOUS_FIRST = (None, "posthog-python")
"""Clients whose alias begins with the previous id; see `_aliased`."""
_MOBILE = ("posthog-ios", "posthog-android", "posthog-react-native", "posthog-flutter")


def event_of(message: Mapping[str, Any], sent_at: str | None, received_us: int, plan: Plan) -> dict[str, Any]:
    """The event of one message. `sent_at`: when its request was sent by the sender's clock; `received_us`: microseconds UTC."""
    properties = as_object(message.get("properties"))
    name = message.get("event")
    event: dict[str, Any] = {}
    event["event_name"], event["properties"] = _name_and_properties(name, message, properties, plan)
    event_id = message.get("uuid") or properties.get("$insert_id")
    times = _times(message, properties, sent_at, received_us)
    session = message.get("session_id") or properties.get("$session_id")
    person = _person(name, message, properties)
    for field, value in (("event_id", event_id), *times.items(), ("session_id", id_text(session)), *person.items()):
        if value is not None:
            event[field] = value
    event["context"] = _context(name, properties)
    return event


def _name_and_properties(
    name: Any, message: Mapping[str, Any], properties: Mapping[str, Any], plan: Plan
) -> tuple[Any, dict[str, Any]]:
    if name in _VIEWS:
        given = {
            "path": properties.get("$pathname"),
            "title": properties.get("title") or properties.get("$screen_name"),
        }
        return _VIEWED, {field: value for field, value in given.items() if isinstance(value, str)}
    if isinstance(name, str) and name in _PERSONS:
        return _IDENTIFIED, _traits(name, message, properties, plan)
    return known_name(name, plan), {
        field: value
        for field, value in flat(properties).items()
        if not field.startswith("$") and field not in _LEFT_BEHIND and (field != "time" or "timestamp" in message)
    }


def _traits(name: str, message: Mapping[str, Any], properties: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The traits that the plan declares; a set one goes before one that is set once."""
    if name == "$groupidentify":
        return {"account_id": id_text(properties.get("$group_key"))}
    if name in _ALIASES:
        return {"alias_of": _aliased(message, properties)[1]}
    declared = plan.events[_IDENTIFIED].properties if _IDENTIFIED in plan.events else {}
    found: dict[str, Any] = {}
    for field in ("$set_once", "$set"):
        found |= flat(properties.get(field)) | flat(message.get(field))
    return {trait: value for trait, value in found.items() if trait in declared}


def _distinct_id(message: Mapping[str, Any], properties: Mapping[str, Any]) -> Any:
    return message.get("distinct_id") or message.get("$distinct_id") or properties.get("distinct_id")


def _person(name: Any, message: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """`user_id` and `anonymous_id`, by what the client says of the one id that PostHog has."""
    if name in _ALIASES:
        user_id, other_id = _aliased(message, properties)
        return {"user_id": user_id, "anonymous_id": other_id}
    distinct_id = id_text(_distinct_id(message, properties))
    if distinct_id == _NOBODY:
        return {}
    if name == "$groupidentify" and distinct_id == f"${properties.get('$group_type')}_{properties.get('$group_key')}":
        return {}  # the clients of servers make this one up for a group without a person
    profile = as_object(message.get("options")).get("process_person_profile", properties.get("$process_person_profile"))
    if name == "$identify" or properties.get("$user_id") or properties.get("$is_identified") is True:
        visitor = id_text(properties.get("$anon_distinct_id"))
        return {"user_id": distinct_id} | ({"anonymous_id": visitor} if visitor is not None else {})
    if isinstance(distinct_id, str) and distinct_id.startswith(_DEVICE):
        return {"anonymous_id": distinct_id.removeprefix(_DEVICE)}
    is_anonymous = profile is False or properties.get("$is_identified") is False
    if is_anonymous or distinct_id == id_text(properties.get("$device_id")):
        return {"anonymous_id": distinct_id}
    return {"user_id": distinct_id}


def _aliased(message: Mapping[str, Any], properties: Mapping[str, Any]) -> tuple[Any, Any]:
    """The id of the user of an alias and the other one, which may be a visitor's or a user's.

    The client for Python has the previous id as `distinct_id`, and says its own name in version 0 alone; with the others
    `distinct_id` is the user's unless it is a visitor's.
    """
    distinct_id, alias = id_text(_distinct_id(message, properties)), id_text(properties.get("alias"))
    is_previous = properties.get("$lib") in _PREVIOUS_FIRST or "anonymous_id" in _person(None, message, properties)
    return (alias, distinct_id) if is_previous else (distinct_id, alias)


def _times(
    message: Mapping[str, Any], properties: Mapping[str, Any], sent_at: str | None, received_us: int
) -> dict[str, Any]:
    """When it happened: as said, or so many milliseconds before it was sent."""
    at = message.get("timestamp")
    seconds = properties.get("time")
    if at is None and isinstance(seconds, int | float) and not isinstance(seconds, bool):
        # Mixpanel's clients say it among the properties
        return {"timestamp": epoch_text(seconds)}
    offset = message.get("offset")
    if at is None and isinstance(offset, int) and not isinstance(offset, bool):
        return {"timestamp": time_text(received_us - offset * 1000), "original_timestamp": NO_TIME}
    is_believed = (
        as_object(message.get("options")).get("disable_skew_correction") is True
        or properties.get("$ignore_sent_at") is True
    )
    return time_fields(at, None if is_believed else sent_at, received_us)


def _context(name: Any, properties: Mapping[str, Any]) -> dict[str, Any]:
    found = {field: properties.get(field) for field in UTM_FIELDS}
    found["page_url"] = properties.get("$current_url")
    referrer = properties.get("$referrer")
    found["referrer"] = None if referrer == _NO_REFERRER else referrer
    found["locale"] = properties.get("$locale") or properties.get("$browser_language")
    found["timezone"] = zone(properties.get("$timezone"))
    found["user_agent"] = properties.get("$raw_user_agent") or properties.get("$user_agent")
    found["country"] = properties.get("$geoip_country_code")
    found["device_type"] = _device(name, properties)
    return {field: value for field, value in found.items() if value is not None and not isinstance(value, list | dict)}


def _device(name: Any, properties: Mapping[str, Any]) -> str | None:
    library = properties.get("$lib")
    if properties.get("$is_server") is True:
        return "api"
    if library in _MOBILE or name == "$screen":
        return "mobile"
    return "web" if library == "web" else None
