"""The click ids that ad platforms and apps add to links, and the source each of them stands for."""

from __future__ import annotations

import re

CLICK_IDS = {
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "gclsrc": ("google", "cpc"),
    "gad_source": ("google", "cpc"),  # beside gclid; alone where the browser takes the click ids away
    "gad_campaignid": ("google", "cpc"),
    "srsltid": ("google shopping", "organic"),  # Merchant Center, for offers that nobody paid for
    "dclid": ("google", "display"),
    "msclkid": ("bing", "cpc"),
    "yclid": ("yandex", "cpc"),
    "ymclid": ("yandex market", "cpc"),
    "ysclid": ("yandex", "organic"),  # Yandex adds it to links among its search results
    "vmcid": ("yahoo", "cpc"),
    "sznclid": ("seznam", "cpc"),
    "bd_vid": ("baidu", "cpc"),
    "qhclickid": ("so.com", "cpc"),
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
    "ndclid": ("nextdoor", "cpc"),
    "rb_clickid": ("vkontakte", "cpc"),
    "gdt_vid": ("wechat", "cpc"),
    "tblci": ("taboola", "display"),
    "dicbo": ("outbrain", "display"),
    "cto_pld": ("criteo", "display"),
    "irclickid": ("impact", "affiliate"),
    "cjevent": ("cj", "affiliate"),
    "awc": ("awin", "affiliate"),
    "sscid": ("shareasale", "affiliate"),
    "ransiteid": ("rakuten advertising", "affiliate"),
    "tduid": ("tradedoubler", "affiliate"),
    "admitad_uid": ("admitad", "affiliate"),
    "mc_cid": ("mailchimp", "email"),
    "mc_eid": ("mailchimp", "email"),
    "_hsenc": ("hubspot", "email"),
    "_hsmi": ("hubspot", "email"),
    "mkt_tok": ("marketo", "email"),
    "_kx": ("klaviyo", "email"),
    "vero_id": ("vero", "email"),
    "dm_i": ("dotdigital", "email"),
    "ml_subscriber": ("mailerlite", "email"),
    "ml_subscriber_hash": ("mailerlite", "email"),
    "ck_subscriber_id": ("kit", "email"),
    "oly_enc_id": ("omeda", "email"),
    "bsft_clkid": ("blueshift", "email"),
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
