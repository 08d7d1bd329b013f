"""classify: the touch of one event, from what its context names and refers to."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from gtm_dagster.channels.click_ids import CLICK_IDS, PAID_MEDIA, click_kind
from gtm_dagster.channels.grouping import channel_of, is_direct
from gtm_dagster.channels.hosts import host_of
from gtm_dagster.channels.sites import is_own, same_site
from gtm_dagster.channels.sources import RETURNS, known_page, known_source, referrer_key

NAMED, REFERRED = 1, 2


class Touch(NamedTuple):
    """What brought a visit, and by which rule. `rank`: 1 by a named source, 2 by a referrer, None for a direct visit.

    `rule`: `utm medium MEDIUM`, `utm source` (no medium), `utm campaign` (a campaign alone), `click id KIND`,
    `referrer CATEGORY NAME` (`referrer search google`), `referrer webmail`, `referrer site` (no listed one); of a direct
    visit `no source`, or the referrer that does not count: `own host`, `sign-in page`, `payment page`. Two that decide
    together are joined by a plus.
    """

    rank: int | None
    source: str
    medium: str
    campaign: str | None
    channel: str
    rule: str


DIRECT = Touch(None, "direct", "(none)", None, "Direct", "no source")
"""No source, and no referrer that names one."""

_UNSET = ("(none)", "(not set)")
_NO_CAMPAIGN = frozenset({*_UNSET, "(direct)", "(organic)", "(referral)", "(ai-assistant)"})
"""What Google Analytics writes for a visit without a campaign."""
_MEDIUM = {"search": "organic", "email": "email", "display": "display", "paid_search": "cpc"}
"""The medium of a referrer by its category; of all others it is `referral`."""
_RETURN_RULES = {"identity": "sign-in page", "payment": "payment page"}


def classify(
    source: str | None,
    medium: str | None,
    campaign: str | None,
    referrer: str | None,
    click_id: str | None = None,
    page_url: str | None = None,
    own_hosts: tuple[str, ...] = (),
) -> Touch:
    """The touch of one event; its rank is None when nothing names or refers it.

    The source of the context wins, then the click id (`gclid=...`, or a bare value of a known shape), then a campaign
    alone, then `referrer`. A referrer of the page's own site (one registrable domain) or of `own_hosts` is no touch, nor
    is a sign-in or payment page. docs/channels.md says it in full.
    """
    return touch_of(
        source, medium, campaign, referrer_key(referrer), click_kind(click_id), host_of(page_url), tuple(own_hosts)
    )


@lru_cache(maxsize=65_536)
def touch_of(
    source: str | None,
    medium: str | None,
    campaign: str | None,
    referrer: str | None,
    click: str | None,
    page_host: str | None,
    own_hosts: tuple[str, ...],
) -> Touch:
    """`classify` of what is left of the texts: the `referrer_key`, the `click_kind`, the `host_of` the page."""
    source, medium, campaign = (source or "").strip(), (medium or "").strip().lower(), (campaign or "").strip()
    if campaign.lower() in _NO_CAMPAIGN:
        campaign = ""
    if is_direct(source, medium):
        source, campaign = "", campaign if click else ""
    if medium in _UNSET:
        medium = ""
    clicked = CLICK_IDS[click] if click else None
    if not source and clicked:
        return _named(clicked[0], medium or clicked[1], campaign, f"click id {click}")
    if source and clicked and not medium and clicked[1] in PAID_MEDIA and _called(source, clicked[0]):
        return _named(source, clicked[1], campaign, f"utm source + click id {click}")
    if source or medium:
        return _named(
            source or "(not set)", medium or "(none)", campaign, f"utm medium {medium}" if medium else "utm source"
        )
    referred = _referred(referrer, page_host, own_hosts, campaign) if referrer else DIRECT
    if campaign and referred.rank is None:
        return _named("(not set)", "(not set)", campaign, "utm campaign")
    if campaign:
        return referred._replace(rank=NAMED, rule=f"utm campaign + {referred.rule}")
    return referred


def _called(source: str, name: str) -> bool:
    known = known_source(source)
    return known is not None and known.name == name


def _named(source: str, medium: str, campaign: str, rule: str) -> Touch:
    """The touch of a source that the event names: by its canonical name where one is listed, else as sent."""
    known = known_source(source)
    name, category = known or (source, None)
    return Touch(NAMED, name, medium, campaign or None, channel_of(name, medium, campaign, category), rule)


def _referred(referrer: str, page_host: str | None, own_hosts: tuple[str, ...], campaign: str) -> Touch:
    host, slash, path = referrer.partition("/")
    if (page_host and same_site(host, page_host)) or is_own(host, own_hosts):
        return DIRECT._replace(rule="own host")
    known = known_page(host, slash + path)
    if known is None:
        return Touch(
            REFERRED, host, "referral", campaign or None, channel_of(host, "referral", campaign, None), "referrer site"
        )
    if known.category in RETURNS:
        return DIRECT._replace(rule=_RETURN_RULES[known.category])
    medium = _MEDIUM.get(known.category, "referral")
    category = "search" if known.category == "paid_search" else known.category
    channel = channel_of(known.name, medium, campaign, category)
    rule = (
        "referrer webmail"
        if (known.category, known.name) == ("email", host)
        else f"referrer {known.category} {known.name}"
    )
    return Touch(REFERRED, known.name, medium, campaign or None, channel, rule)
