"""Identifiers become pseudonyms before they leave the process, by the function and the key of the deployment."""

from __future__ import annotations

from typing import Any

from gtm_dagster.privacy.event_ids import stored_event_id
from gtm_dagster.privacy.pseudonyms import SENT_PSEUDONYM, Pseudonymizer
from gtm_dagster.taxonomy.absent import present_id
from gtm_dagster.taxonomy.plan import Plan, PropertySpec

_IDS = ("user_id", "anonymous_id", "session_id")
_LENGTH = len(SENT_PSEUDONYM) + 32


class IdentifierPseudonyms:
    """The pseudonyms of one deployment's key.

    ValueError for a key that is too short, and for a personal property whose rule lets no pseudonym of a sender through.
    """

    def __init__(self, plan: Plan, key: bytes | str) -> None:
        self._plan = plan
        for event in plan.events.values():
            for name, rule in event.properties.items():
                if rule.privacy == "personal" and rule.max_length < _LENGTH:
                    raise ValueError(
                        f"pseudonym_key: {event.name}, property {name} has max_length {rule.max_length}; "
                        f"a pseudonym is sent in {_LENGTH} characters, so raise it in the plan"
                    )
        self._pseudonymize = Pseudonymizer(key.encode() if isinstance(key, str) else key)

    def of(self, event: dict[str, Any]) -> dict[str, Any]:
        """`event`, which keeps to the plan, with pseudonyms for what the collector would make one of.

        Sensitive and free texts are left out where they are not required: the collector would not keep them.
        """
        changed = dict(event)
        for field in _IDS:
            if present_id(event.get(field)) is not None:
                changed[field] = self._sent(event[field])
        changed["event_id"] = stored_event_id(event["event_id"], self._pseudonymize)
        name = self._plan.resolve(event["event_name"])
        rules = self._plan.events[name].properties if name else {}
        changed["properties"] = {
            key: self._property(value, rules.get(key))
            for key, value in event["properties"].items()
            if not _never_lands(rules.get(key))
        }
        return changed

    def _sent(self, value: str) -> str:
        return SENT_PSEUDONYM + self._pseudonymize(value)

    def _property(self, value: Any, rule: PropertySpec | None) -> Any:
        is_personal = rule is not None and rule.privacy == "personal"
        return self._sent(value) if is_personal and isinstance(value, str) else value


def _never_lands(rule: PropertySpec | None) -> bool:
    return rule is not None and not rule.required and rule.privacy in ("sensitive", "free_text")
