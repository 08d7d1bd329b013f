"""What is known of a person when something is to be sent: consent by purpose, time zone, country. Newest event wins."""

from __future__ import annotations

from msgspec import Struct

from gtm_dagster.taxonomy.envelope import PURPOSES
from gtm_dagster.triggers.rule_lint import SERVICE
from gtm_dagster.triggers.trigger_event import TriggerEvent

CONSENT_EVENT = "consent_updated"


class Given(Struct, frozen=True, order=True):
    """Consent to a purpose as an event said it; of two at one moment the refusal is the greater."""

    at_us: int
    refused: bool
    purpose: str


class Place(Struct, frozen=True, order=True):
    """Where an event says that the person is."""

    at_us: int
    timezone: str = ""
    country: str = ""


class Profile(Struct, frozen=True):
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
    said = dict(event.consent)
    if event.name == CONSENT_EVENT:
        said |= {p: event.properties[p] for p in PURPOSES if isinstance(event.properties.get(p), bool)}
    news = Profile(
        tuple(Given(event.at_us, not granted, purpose) for purpose, granted in sorted(said.items())),
        Place(event.at_us, timezone=event.timezone) if event.timezone else None,
        Place(event.at_us, country=event.context["country"]) if event.context.get("country") else None,
    )
    return profile if news == NOBODY else merged_profile(profile, news)


def merged_profile(one: Profile, other: Profile) -> Profile:
    """What two ids of one person say together, the newest of each; in any order."""
    newest: dict[str, Given] = {}
    for each in (*one.consents, *other.consents):
        newest[each.purpose] = max(newest.get(each.purpose, each), each)
    return Profile(
        tuple(newest[purpose] for purpose in sorted(newest)),
        max((each for each in (one.zone, other.zone) if each), default=None),
        max((each for each in (one.country, other.country) if each), default=None),
    )
