"""Credit for conversions: from paths of touches to shares a channel.

Belongs here: credit models as pure functions, path files, rounding of credit for print. Does not belong here: where
touches come from (warehouse), channel names (channels), any database. Light on import: pandas comes with `attribute`.
"""

from typing import TYPE_CHECKING, Any

from gtm_dagster.attribution.models import MODELS, weights
from gtm_dagster.attribution.rounding import largest_remainder

if TYPE_CHECKING:
    from gtm_dagster.attribution.pathfile import PathsError, read_paths
    from gtm_dagster.attribution.paths import attribute

__all__ = ["MODELS", "PathsError", "attribute", "largest_remainder", "read_paths", "weights"]


def __getattr__(name: str) -> Any:
    """`attribute`, `read_paths` and `PathsError` load pandas and pyarrow, so they load on first use."""
    if name in {"PathsError", "read_paths"}:
        from gtm_dagster.attribution import pathfile

        return getattr(pathfile, name)
    if name == "attribute":
        from gtm_dagster.attribution.paths import attribute

        return attribute
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
