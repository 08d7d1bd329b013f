"""From source, medium, campaign, referrer, page and click id of an event to its touch and channel.

Belongs here: pure functions, and the data they read (`sources.yaml`); channel names are those of Google Analytics 4.
Does not belong here: which touch wins a session (warehouse), credit (attribution).
"""

from gtm_dagster.channels.classify import DIRECT, Touch, classify, click_kind
from gtm_dagster.channels.grouping import CHANNELS, channel_of
from gtm_dagster.channels.sources import KnownSource, known_source

__all__ = ["CHANNELS", "DIRECT", "KnownSource", "Touch", "channel_of", "classify", "click_kind", "known_source"]
