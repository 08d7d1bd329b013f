"""Whether a person agreed to an event, asked before it leaves the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gtm_dagster.privacy.consent import REQUIRED
from gtm_dagster.taxonomy.envelope import PURPOSES
from gtm_dagster.taxonomy.plan import Plan

Purposes = Mapping[str, bool]
"""What somebody agreed to: analytics, marketing, personalization."""
ConsentOf = Callable[[str | None, str | None], Purposes | None]
"""Called with the user id and the anonymous id of an event; None where nothing is known of the person."""
Consent = Purposes | Mapping[str, Purposes] | ConsentOf | None


class ConsentGate:
    """The consent of a tracker: one for all its events, or one a person. `asks`: whether it is one a person.

    Asked by person it is a gate: an event that rests on consent (`basis` in the plan) is withheld unless its person
    agreed to analytics, by the rule of a collector with `privacy.consent = "required"`. ValueError for a purpose that
    there is not.
    """

    def __init__(self, plan: Plan, consent: Consent) -> None:
        self._basis = {name: spec.basis for name, spec in plan.events.items()}
        self._basis |= {alias: self._basis[name] for alias, name in plan.aliases.items()}
        self._for_all: dict[str, bool] = {}
        self._by_person: ConsentOf | None = None
        if callable(consent):
            self._by_person = consent
        elif consent is not None and not consent:
            raise ValueError(
                "consent={} says neither who agreed nor to what; leave it out, or give a function of (user_id, anonymous_id)"
            )
        elif consent and all(isinstance(value, Mapping) for value in consent.values()):
            self._by_person = _looked_up(consent)  # type: ignore[arg-type]
        else:
            self._for_all = _known(consent or {})
        self.asks = self._by_person is not None

    def consent_of(self, user_id: str | None, anonymous_id: str | None) -> Purposes:
        """What the person agreed to; empty where nothing is known. Raises ValueError for what is no consent."""
        if self._by_person is None:
            return self._for_all
        found = self._by_person(user_id, anonymous_id)
        return {} if found is None else _known(found)

    def withholds(self, event_name: str, context: Mapping[str, Any]) -> bool:
        """Whether an event that keeps to the plan must not be sent, by the consent in its `context`."""
        analytics = (context.get("consent") or {}).get("analytics")
        return REQUIRED.suppresses(analytics, self._basis[event_name], context.get("country"), context.get("region"))


def _looked_up(consent: Mapping[str, Purposes]) -> ConsentOf:
    """The consent of the user, else of the visitor; the mapping is asked anew for each event."""

    def of(user_id: str | None, anonymous_id: str | None) -> Purposes | None:
        for person in (user_id, anonymous_id):
            if person is not None and (found := consent.get(person)) is not None:
                return found
        return None

    return of


def _known(consent: Mapping[str, Any]) -> dict[str, bool]:
    for purpose, granted in consent.items():
        if purpose not in PURPOSES or not isinstance(granted, bool):
            raise ValueError(
                f"consent={{{purpose!r}: {granted!r}}}: a purpose is one of {', '.join(PURPOSES)}, its value a bool"
            )
    return dict(consent)
