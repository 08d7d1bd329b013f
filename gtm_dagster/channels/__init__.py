"""From source, medium, campaign, referrer, page and click id of an event to its touch, channel and the rule that fired.

Belongs here: pure functions, and the lists they read (`*.yaml`); channel names are those of Google Analytics 4.
Does not belong here: which touch wins a session (warehouse), credit (attribution).
"""

from gtm_dagster.channels.classify import DIRECT, Touch, classify, touch_of
from gtm_dagster.channels.click_ids import CLICK_IDS, click_kind
from gtm_dagster.channels.grouping import CHANNELS, channel_of
from gtm_dagster.channels.hosts import host_of
from gtm_dagster.channels.sites import same_site, site_of
from gtm_dagster.channels.sources import KnownSource, known_source, path_matters, referrer_key

__all__ = [
    "CHANNELS",
    "CLICK_IDS",
    "DIRECT",
    "KnownSource",
    "Touch",
    "channel_of",
    "classify",
    "click_kind",
    "host_of",
    "known_source",
    "path_matters",
    "referrer_key",
    "same_site",
    "site_of",
    "touch_of",
]
