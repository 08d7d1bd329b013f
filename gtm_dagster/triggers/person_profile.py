"""What is known of a person when something is to be sent: consent by purpose, time zone, country. Newest event wins."""

from __future__ import annotations

from msgspec import Struct

from gtm_dagster.taxonomy.envelope import PURPOSES
from gtm_dagster.triggers.rule_lint import SERVICE
from gtm_dagster.triggers.trigger_event import TriggerEvent

CONSENT_EVENT = "consent_updated"


class Given(Struct, frozen=True, order=True, gc=False):
    """Consent to a purpose as an event said it; of two at one moment the refusal is the greater."""

    at_us: int
    refused: bool
    purpose: str


class Place(Struct, frozen=True, order=True, gc=False):
    """Where an event says that the person is."""

    at_us: int
    timezone: str = ""
    country: str = ""


class Profile(Struct, frozen=True, gc=False):
    """`consents`: the newest of each purpose. A purpose nobody spoke of is not consented to."""

    consents: tuple[Given, ...] = ()
    zone: Place | None = None
    country: Place | None = None

    def consents_to(self, purpose: str) -> bool:
        """Whether a message of `purpose` may go; `service` needs no consent."""
        return purpose == SERVICE or any(each.purpose == purpose and not each.refused for each in self.consents)


NOBODY = Profile()


def profile_after(profile: Profile, event: TriggerEvent) -> Profile:
    """`profile` with what `event` says; late events do not undo newer ones."""
    granted, at_us = event.consent, event.at_us
    if event.name == CONSENT_EVENT:
        properties = event.properties
        granted = dict(granted) | {p: properties[p] for p in PURPOSES if isinstance(properties.get(p), bool)}
    zone, country = event.timezone, event.context.get("country")
    if not granted and not zone and not country:
        return profile
    news = tuple([Given(at_us, not granted[purpose], purpose) for purpose in sorted(granted)])
    return Profile(
        _newest_given(profile.consents, news),
        _newest_place(profile.zone, Place(at_us, timezone=zone) if zone else None),
        _newest_place(profile.country, Place(at_us, country=country) if country else None),
    )


def merged_profile(one: Profile, other: Profile) -> Profile:
    """What two ids of one person say together, the newest of each; in any order."""
    return Profile(
        _newest_given(one.consents, other.consents),
        _newest_place(one.zone, other.zone),
        _newest_place(one.country, other.country),
    )


def _newest_given(one: tuple[Given, ...], other: tuple[Given, ...]) -> tuple[Given, ...]:
    """The newest of each purpose, by purpose, as both are."""
    if not one or not other:
        return one or other
    if len(one) == len(other) == 1 and one[0].purpose == other[0].purpose:  # as nearly always
        return max(one, other)
    newest = {each.purpose: each for each in one}
    for each in other:
        known = newest.get(each.purpose)
        if known is None or known < each:
            newest[each.purpose] = each
    return tuple(newest[purpose] for purpose in sorted(newest))


def _newest_place(one: Place | None, other: Place | None) -> Place | None:
    if one is None or other is None:
        return one or other
    return max(one, other)
