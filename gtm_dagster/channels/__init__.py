"""source, medium, campaign, referrer and click id -> one touch with its channel.

Pure functions over a list of well-known sources (`sources.yaml`); channel names are those of Google Analytics 4.
"""

from gtm_dagster.channels.classify import DIRECT, Touch, classify, click_kind
from gtm_dagster.channels.grouping import CHANNELS, channel_of
from gtm_dagster.channels.sources import KnownSource, known_source

__all__ = ["CHANNELS", "DIRECT", "KnownSource", "Touch", "channel_of", "classify", "click_kind", "known_source"]
