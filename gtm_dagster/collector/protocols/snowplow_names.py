"""What an event of Snowplow's trackers is in the tracking plan: its name, its properties, and the consent it tells of.

Standard events have their names here; self-describing and structured ones those of the plan or an alias there. A name that
the plan does not know goes on as it is, so that the quarantine shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gtm_dagster.collector.protocols.analytics_message import known_name
from gtm_dagster.collector.protocols.consent_categories import purposes_of
from gtm_dagster.collector.protocols.message_values import as_object, flat
from gtm_dagster.collector.protocols.self_describing import SelfDescribing, event_in
from gtm_dagster.taxonomy import Plan
from gtm_dagster.taxonomy.envelope import PURPOSES

_VIEWED, _PAID, _REFUNDED, _CONSENTED = "page_viewed", "payment_completed", "payment_refunded", "consent_updated"
_OWN = "com.snowplowanalytics."
_UNREADABLE = "unreadable self-describing event"
_ITEM = {"ti_id": "payment_id", "ti_sk": "sku", "ti_nm": "name", "ti_ca": "category", "ti_pr": "price",
         "ti_qu": "quantity", "ti_cu": "currency"}  # fmt: skip
_PLAIN: dict[str, tuple[str, dict[str, str]]] = {
    "pp": ("page_ping", {}),
    "ti": ("transaction_item", _ITEM),
    "tr": (_PAID, {"tr_id": "payment_id", "tr_tt": "amount", "tr_cu": "currency"}),
}
_NUMBERS = frozenset({"se_va", "ti_pr", "ti_qu", "tr_tt"})
_ENTITIES = {
    "transaction": (_PAID, "transaction", {"payment_id": "transaction_id", "amount": "revenue", "currency": "currency"}),
    "refund": (_REFUNDED, "refund", {"payment_id": "transaction_id", "amount": "refund_amount", "currency": "currency",
                                     "reason": "refund_reason"}),
}  # fmt: skip
"""Types of an ecommerce action: the event, the entity beside it, and whence its properties come."""
_ANSWERS = {"allow_all": True, "deny_all": False, "withdrawn": False, "expired": False}


class PlanEvent(NamedTuple):
    """Name and properties of an event, the purposes its consent names, and whether it is of a screen."""

    name: Any
    properties: dict[str, Any]
    consent: dict[str, bool] | None = None
    is_screen: bool = False


def plan_event(payload: Mapping[str, Any], contexts: Sequence[SelfDescribing], plan: Plan) -> PlanEvent:
    """What a payload is in the plan, by its kind `e`."""
    kind = payload.get("e")
    if kind == "pv":
        return _page(payload)
    if kind == "se":
        return _structured(payload, plan)
    if kind == "ue":
        found = event_in(payload)
        return (
            PlanEvent(_UNREADABLE, {}) if found is None or not found.name else _self_describing(found, contexts, plan)
        )
    if isinstance(kind, str) and kind in _PLAIN:
        name, fields = _PLAIN[kind]
        return PlanEvent(known_name(name, plan), _moved(payload, fields))
    return PlanEvent(known_name(kind, plan), {})


def _page(payload: Mapping[str, Any]) -> PlanEvent:
    try:
        path = urlsplit(payload["url"]).path if isinstance(payload.get("url"), str) else ""
    except ValueError:
        path = ""
    return PlanEvent(_VIEWED, _present({"path": path or None, "title": payload.get("page")}))


def _structured(payload: Mapping[str, Any], plan: Plan) -> PlanEvent:
    """A structured event is named by category and action, or by the action alone; it has the properties declared there."""
    category, action = payload.get("se_ca"), payload.get("se_ac")
    both = f"{category} {action}" if isinstance(category, str) and isinstance(action, str) else action
    names = [known_name(each, plan) for each in (both, action)]
    name = next((each for each in names if isinstance(each, str) and plan.resolve(each) is not None), both)
    resolved = plan.resolve(name) if isinstance(name, str) else None
    given = _moved(payload, {"se_la": "label", "se_pr": "property", "se_va": "value"})
    if resolved is None or plan.events[resolved].additional:
        return PlanEvent(name, given)
    return PlanEvent(
        name, {field: value for field, value in given.items() if field in plan.events[resolved].properties}
    )


def _self_describing(found: SelfDescribing, contexts: Sequence[SelfDescribing], plan: Plan) -> PlanEvent:
    data = as_object(found.data)
    if found.vendor.startswith(_OWN):
        if found.name == "screen_view":
            return PlanEvent(_VIEWED, _present({"title": data.get("name")}), is_screen=True)
        if found.name == "snowplow_ecommerce_action":
            return _ecommerce(data, contexts, plan)
        if found.name == "consent_preferences":
            return _consent(data)
    whole = f"{found.vendor}/{found.name}"
    name = whole if plan.resolve(whole) is not None else known_name(found.name, plan)
    return PlanEvent(name, flat(data))


def _ecommerce(data: Mapping[str, Any], contexts: Sequence[SelfDescribing], plan: Plan) -> PlanEvent:
    """A payment and a refund by the entity beside the action; any other type by its name."""
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in _ENTITIES:
        return PlanEvent(known_name(kind, plan), {})
    name, entity_name, fields = _ENTITIES[kind]
    entity = next((as_object(each.data) for each in contexts if each.name == entity_name), {})
    return PlanEvent(name, _present({ours: entity.get(theirs) for ours, theirs in fields.items()}))


def _consent(data: Mapping[str, Any]) -> PlanEvent:
    """Preferences of consent: all purposes, none, or those of the chosen scopes."""
    kind = data.get("eventType", data.get("event_type"))
    scopes = data.get("consentScopes", data.get("consent_scopes"))
    if kind == "allow_selected":
        purposes = purposes_of((scope, True) for scope in scopes) if isinstance(scopes, list) else {}
        consent = {purpose: purposes.get(purpose, False) for purpose in PURPOSES}
    else:
        answer = _ANSWERS.get(kind) if isinstance(kind, str) else None
        consent = {} if answer is None else dict.fromkeys(PURPOSES, answer)
    version = data.get("consentVersion", data.get("consent_version"))
    return PlanEvent(_CONSENTED, _present({**consent, "policy_version": version}), consent)


def _moved(payload: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The fields under their names in the plan; amounts and counts, which come as texts, are numbers where they read as one."""
    return _present({
        ours: _number(payload.get(theirs)) if theirs in _NUMBERS else payload.get(theirs) for theirs, ours in fields.items()
    })  # fmt: skip


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _present(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flat(properties).items() if value is not None}
