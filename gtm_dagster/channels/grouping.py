"""The default channel grouping: the first rule that matches names the channel.

Rules and their order: Google Analytics 4 "Default channel group" (support.google.com/analytics/answer/9756891), which
ignores case. It has the channel "AI Assistant" since May 2026.
"""

from __future__ import annotations

import re

CHANNELS = (
    "Direct",
    "Cross-network",
    "Paid Shopping",
    "Paid Search",
    "Paid Social",
    "Paid Video",
    "Display",
    "Paid Other",
    "AI Assistant",
    "Organic Shopping",
    "Organic Social",
    "Organic Video",
    "Organic Search",
    "Referral",
    "Email",
    "Affiliates",
    "Audio",
    "SMS",
    "Mobile Push Notifications",
    "Unassigned",
)
"""Every channel that `channel_of` can name, in the order of the rules."""

_PAID = re.compile(r"(?:.*cp.*|ppc|retargeting|paid.*)\Z")
_SHOP = re.compile(r"(?:[^a-df-z]|^)shop|shopping")
_MAIL = frozenset({"email", "e-mail", "e_mail", "e mail"})
_DISPLAY = frozenset({"display", "banner", "expandable", "interstitial", "cpm"})
_SOCIAL = frozenset({"social", "social-network", "social-media", "sm", "social network", "social media"})
_ASSISTANT = frozenset({"ai-assistant", "ai assistant", "ai_assistant"})
_REFERRAL = frozenset({"referral", "app", "link"})
_NO_MEDIUM = frozenset({"", "(none)", "(not set)", "none"})
_PAID_OF = {"shopping": "Paid Shopping", "search": "Paid Search", "social": "Paid Social", "video": "Paid Video"}


def is_direct(source: str, medium: str) -> bool:
    """Whether source and medium name a direct visit: `direct` or `(direct)` without a medium."""
    return source.lower() in ("direct", "(direct)") and medium.lower() in _NO_MEDIUM


def channel_of(source: str, medium: str, campaign: str, category: str | None) -> str:
    """The channel of a touch. `category` is that of the source: search, social, video, shopping, assistant, another or None."""
    source, medium, campaign = source.lower(), medium.lower(), campaign.lower()
    if is_direct(source, medium):
        return "Direct"
    if "cross-network" in campaign:
        return "Cross-network"
    if category != "shopping" and _SHOP.search(campaign):
        category = "shopping"
    if _PAID.match(medium):
        paid = _PAID_OF.get(category or "")
        if paid:
            return paid
        return "Display" if medium in _DISPLAY else "Paid Other"
    if medium in _DISPLAY:
        return "Display"
    return _organic(source, medium, category)


def _organic(source: str, medium: str, category: str | None) -> str:
    if (category == "assistant" and medium not in _MAIL) or medium in _ASSISTANT:
        return "AI Assistant"
    if category == "shopping":
        return "Organic Shopping"
    if category == "social" or medium in _SOCIAL:
        return "Organic Social"
    if category == "video" or "video" in medium:
        return "Organic Video"
    if category == "search" or medium == "organic":
        return "Organic Search"
    if medium in _REFERRAL:
        return "Referral"
    if source in _MAIL or medium in _MAIL:
        return "Email"
    if medium in ("affiliate", "affiliates"):
        return "Affiliates"
    if medium == "audio":
        return "Audio"
    if source == "sms" or medium == "sms":
        return "SMS"
    if medium.endswith("push") or "mobile" in medium or "notification" in medium or source == "firebase":
        return "Mobile Push Notifications"
    return "Unassigned"
