"""Where an event came from, as its context and its page say it: campaign, click id, page and referrer in one form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from gtm_dagster.taxonomy.absent import present_text
from gtm_dagster.taxonomy.envelope import CAMPAIGN_FIELDS, CONTEXT_LIMITS, UTM_FIELDS

AD_CLICK_IDS = frozenset(
    {
        "gclid", "gbraid", "wbraid", "gclsrc", "dclid", "msclkid", "yclid", "ymclid", "fbclid", "ttclid", "twclid",
        "li_fat_id", "epik", "rdt_cid", "sccid", "qclid", "ndclid", "rb_clickid", "sznclid", "bd_vid", "gdt_vid",
        "qhclickid", "vmcid", "tblci", "dicbo", "cto_pld", "irclickid", "cjevent", "awc", "sscid", "ransiteid", "tduid",
        "admitad_uid",
    }
)  # fmt: skip
"""Parameters with the click that ad platforms, networks of partners and apps add to a link."""
FAINT_CLICK_IDS = frozenset(
    {
        "gad_source", "gad_campaignid", "srsltid", "ysclid", "igshid", "igsh",
    }
)  # fmt: skip
"""Parameters that say where a click came from, and not which it was: any other one goes before them."""
MAIL_CLICK_IDS = frozenset(
    {
        "mc_cid", "mc_eid", "_hsenc", "_hsmi", "mkt_tok", "_kx", "vero_id", "dm_i", "ml_subscriber",
        "ml_subscriber_hash", "ck_subscriber_id", "oly_enc_id", "bsft_clkid",
    }
)  # fmt: skip
"""Parameters of mailing systems: their values name a person of a list, so that the name of the parameter alone lands."""
CLICK_ID_NAMES = AD_CLICK_IDS | FAINT_CLICK_IDS | MAIL_CLICK_IDS
"""All that are read from a page; a test holds them to those that `channels` knows."""
_NAMED_ID = re.compile(r"([A-Za-z_]+)\s*[=:]")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
HostOf = Callable[[str], str | None]
_UTM = dict(zip(UTM_FIELDS, CAMPAIGN_FIELDS, strict=True))


class Touch(NamedTuple):
    """Texts of the context that say where a person came from; None where nothing is said."""

    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    term: str | None = None
    content: str | None = None
    click_id: str | None = None
    page_url: str | None = None
    referrer: str | None = None

    @property
    def is_browsing(self) -> bool:
        """Whether it names a page or an origin, which a server on its own does not have."""
        return any((self.page_url, self.referrer, self.source, self.medium, self.campaign, self.click_id))


NO_TOUCH = Touch()


@lru_cache(8192)
def normal_touch(sent: Touch, host_of: HostOf | None = None) -> Touch:
    """`sent` in the form that lands, but for its page, which keeps its query until it is scrubbed.

    Words for nothing are absent. Campaign texts sent percent-encoded are decoded. Where no source, medium or click id is
    named, the parameters of the page's URL fill what is absent. A referrer without a host (`host_of`) is absent.
    """
    five = [present_text(text) for text in sent[:5]]
    if any(text is not None and "%" in text and _ENCODED.search(text) for text in five):
        five = [present_text(_decoded(text)) if text is not None else None for text in five]
    click_id, page_url, referrer = map(present_text, sent[5:])
    if click_id is not None and (mail := _NAMED_ID.match(click_id)) and mail.group(1).lower() in MAIL_CLICK_IDS:
        click_id = mail.group(1).lower()
    if five[0] is None and five[1] is None and click_id is None and page_url is not None:
        named, click_id = _of_url(page_url)
        five = [
            text if text is not None else named.get(field) for field, text in zip(CAMPAIGN_FIELDS, five, strict=True)
        ]
    if referrer is not None and host_of is not None and host_of(referrer) is None:
        referrer = None
    return Touch._make((*five, click_id, page_url, referrer))


def _of_url(url: str) -> tuple[dict[str, str], str | None]:
    """(campaign fields, click id as `gclid=VALUE`) that the parameters of a URL name; the first one with a value wins,
    of click ids the first of an ad."""
    query = url.partition("#")[0].partition("?")[2]
    named: dict[str, str] = {}
    click_id = utm_id = None
    is_faint = True
    for name, value in _parameters(query):
        if field := _UTM.get(name):
            named.setdefault(field, value[: CONTEXT_LIMITS[field]])
        elif name == "utm_id":
            utm_id = utm_id or value[: CONTEXT_LIMITS["campaign"]]
        elif name in CLICK_ID_NAMES and (click_id is None or (is_faint and name not in FAINT_CLICK_IDS)):
            is_faint = name in FAINT_CLICK_IDS
            click_id = name if name in MAIL_CLICK_IDS else f"{name}={value}"[: CONTEXT_LIMITS["click_id"]]
    if utm_id is not None:
        named.setdefault("campaign", utm_id)
    return named, click_id


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    """(name in lower case, decoded value) of the parameters that have a value."""
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if (text := present_text(_decoded(value))) is not None:
            yield _decoded(name).lower().removeprefix("amp;"), text.strip()  # &amp; of a page's source


_BLANK = re.compile(r"\+(?![\w.-]{0,64}(?:@|%40)[\w-]+\.\w)")
"""Every plus but one inside the local part of an e-mail address."""


def _decoded(text: str) -> str:
    """`text` decoded once: a plus is a blank, but for one inside an e-mail address, which is masked as a whole; bytes that are not UTF-8 are Latin-1. NUL characters go."""
    if "%" not in text and "+" not in text:
        return text.replace("\x00", "")
    raw = unquote_to_bytes(_BLANK.sub(" ", text))
    try:
        decoded = raw.decode()
    except UnicodeDecodeError:
        decoded = raw.decode("latin-1")
    return decoded.replace("\x00", "")
