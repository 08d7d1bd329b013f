"""classify: the touch of one event, from what its context names and refers to."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from gtm_dagster.channels.grouping import channel_of, is_direct
from gtm_dagster.channels.sources import host_of, known_host, known_source, same_site

NAMED, REFERRED = 1, 2


class Touch(NamedTuple):
    """What brought a visit. `rank`: 1 by a named source, 2 by a referrer, None for a direct visit.

    The lowest rank of a session is its source.
    """

    rank: int | None
    source: str
    medium: str
    campaign: str | None
    channel: str


DIRECT = Touch(None, "direct", "(none)", None, "Direct")
"""No source, and no referrer that names one."""

_CLICK_IDS = {
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "gclsrc": ("google", "cpc"),
    "dclid": ("google", "display"),
    "msclkid": ("bing", "cpc"),
    "yclid": ("yandex", "cpc"),
    "fbclid": ("facebook", "referral"),  # Facebook adds it to every outgoing link, paid or not
    "igshid": ("instagram", "referral"),
    "ttclid": ("tiktok", "cpc"),
    "twclid": ("twitter", "cpc"),
    "li_fat_id": ("linkedin", "cpc"),
    "epik": ("pinterest", "cpc"),
    "rdt_cid": ("reddit", "cpc"),
    "sccid": ("snapchat", "cpc"),
    "qclid": ("quora", "cpc"),
}
_NAMED_CLICK_ID = re.compile(rf"({'|'.join(_CLICK_IDS)})(?:[=:].*)?\Z", re.IGNORECASE | re.DOTALL)
_BARE_CLICK_IDS = (
    (re.compile(r"(?:Cj|EAIaIQ)[\w-]{10,}\Z"), "gclid"),
    (re.compile(r"Iw(?:AR|Y2|ZX)[\w-]{10,}\Z"), "fbclid"),
)
_PAID_MEDIA = ("cpc", "display")
_UNSET = ("(none)", "(not set)")


def classify(
    source: str | None,
    medium: str | None,
    campaign: str | None,
    referrer: str | None,
    click_id: str | None = None,
    page_url: str | None = None,
) -> Touch:
    """The touch of one event; DIRECT when nothing names or refers it.

    The source of the context wins, then the click id (`gclid=...`, or a bare value of a known shape), then the host of
    `referrer`. With `page_url`, a referrer of the same site is not a touch. A payment page never is.
    """
    return _classify(source, medium, campaign, host_of(referrer), click_id, host_of(page_url))


@lru_cache(maxsize=65_536)
def _classify(
    source: str | None,
    medium: str | None,
    campaign: str | None,
    referrer: str | None,
    click_id: str | None,
    own_host: str | None,
) -> Touch:
    source, medium, campaign = (source or "").strip(), (medium or "").strip(), (campaign or "").strip()
    click = _source_of_click(click_id)
    if is_direct(source, medium):
        source = medium = ""
    if not source and click:
        return _touch(NAMED, click[0], medium if medium not in ("", *_UNSET) else click[1], campaign)
    if source or (medium and medium.lower() not in _UNSET):
        if click and not medium and click[1] in _PAID_MEDIA and _same_source(source, click[0]):
            medium = click[1]
        return _touch(NAMED, source or "(not set)", medium or "(none)", campaign)
    return _referred(referrer, own_host, campaign) if referrer else DIRECT


def click_kind(click_id: str | None) -> str | None:
    """The kind (`gclid`, `fbclid`, ...) of a click id: `gclid`, `gclid=...`, `gclid:...` or a bare value of a known shape."""
    if not click_id:
        return None
    click_id = click_id.strip()
    named = _NAMED_CLICK_ID.match(click_id)
    if named:
        return named.group(1).lower()
    return next((kind for shape, kind in _BARE_CLICK_IDS if shape.match(click_id)), None)


def _source_of_click(click_id: str | None) -> tuple[str, str] | None:
    kind = click_kind(click_id)
    return _CLICK_IDS[kind] if kind else None


def _same_source(source: str, name: str) -> bool:
    known = known_source(source)
    return known is not None and known.name == name


def _touch(rank: int, source: str, medium: str, campaign: str) -> Touch:
    known = known_source(source)
    channel = channel_of(source, medium, campaign, known.category if known else None)
    return Touch(rank, source, medium, campaign or None, channel)


def _referred(host: str, own_host: str | None, campaign: str) -> Touch:
    if own_host and same_site(host, own_host):
        return DIRECT
    known = known_host(host)
    if known is None:
        return _touch(REFERRED, host, "referral", campaign)
    if known.category == "payment":
        return DIRECT
    medium = {"search": "organic", "email": "email", "display": "display", "paid_search": "cpc"}.get(
        known.category, "referral"
    )
    category = "search" if known.category == "paid_search" else known.category
    return Touch(REFERRED, known.name, medium, campaign or None, channel_of(known.name, medium, campaign, category))
