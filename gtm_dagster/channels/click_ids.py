"""The click ids that ad platforms and apps add to links, and the source each of them stands for."""

from __future__ import annotations

import re

CLICK_IDS = {
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "gclsrc": ("google", "cpc"),
    "dclid": ("google", "display"),
    "msclkid": ("bing", "cpc"),
    "yclid": ("yandex", "cpc"),
    "ysclid": ("yandex", "organic"),  # Yandex adds it to links among its search results
    "fbclid": ("facebook", "referral"),  # Facebook adds it to every outgoing link, paid or not
    "igshid": ("instagram", "referral"),
    "igsh": ("instagram", "referral"),
    "ttclid": ("tiktok", "cpc"),
    "twclid": ("twitter", "cpc"),
    "li_fat_id": ("linkedin", "cpc"),
    "epik": ("pinterest", "cpc"),
    "rdt_cid": ("reddit", "cpc"),
    "sccid": ("snapchat", "cpc"),
    "qclid": ("quora", "cpc"),
}
"""Name of the parameter in lower case -> (source, medium)."""
PAID_MEDIA = ("cpc", "display")

_NAMED = re.compile(rf"({'|'.join(CLICK_IDS)})(?:[=:].*)?\Z", re.IGNORECASE | re.DOTALL)
_BARE = (
    (re.compile(r"(?:Cj|EAIaIQ)[\w-]{10,}\Z"), "gclid"),
    (re.compile(r"Iw(?:AR|Y2|ZX)[\w-]{10,}\Z"), "fbclid"),
)


def click_kind(click_id: str | None) -> str | None:
    """The kind (`gclid`, `fbclid`, ...) of a click id: `gclid`, `gclid=...`, `gclid:...` or a bare value of a known shape."""
    if not click_id:
        return None
    click_id = click_id.strip()
    named = _NAMED.match(click_id)
    if named:
        return named.group(1).lower()
    return next((kind for shape, kind in _BARE if shape.match(click_id)), None)
