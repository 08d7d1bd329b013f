"""Credit for conversions: from paths of touches to shares a channel.

Belongs here: the credit models as pure functions, path files, and how credit is rounded for print.
Does not belong here: where touches come from (warehouse), channel names (channels), any database.
"""

from gtm_dagster.attribution.models import MODELS, largest_remainder, weights
from gtm_dagster.attribution.pathfile import PathsError, read_paths
from gtm_dagster.attribution.paths import attribute

__all__ = ["MODELS", "PathsError", "attribute", "largest_remainder", "read_paths", "weights"]
