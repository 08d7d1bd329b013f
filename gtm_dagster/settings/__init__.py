"""Every setting of a deployment as frozen values, and where each value came from.

Belongs here: what a setting means, what is allowed, and how gtm.toml and GTM_* variables are read. Does not belong here:
what a setting does. Nothing reads the environment at import; `cli.py` and `definitions.py` call `load_settings` once.
"""

from gtm_dagster.settings.analysis import (
    Attribution,
    Conversion,
    Funnel,
    FunnelStep,
    Refunds,
    Retention,
    Sessions,
    Window,
)
from gtm_dagster.settings.broker import Kafka
from gtm_dagster.settings.destinations import Destination, Feed
from gtm_dagster.settings.guard_metrics import CONVERSION, UP_THRESHOLD, GuardMetric, GuardPage, stakes
from gtm_dagster.settings.loading import load_settings, read_settings
from gtm_dagster.settings.model import (
    DRILL_EVENT,
    DRILL_FLAG,
    DRILL_GUARD,
    DRILL_REASON,
    Collector,
    Dashboard,
    FlagProvider,
    Guard,
    History,
    Notify,
    Privacy,
    Quarantine,
    Refresh,
    Settings,
    Stream,
    WarehouseSettings,
)
from gtm_dagster.settings.ramp import Ramp
from gtm_dagster.settings.source import Origin, SettingsError

__all__ = [
    "CONVERSION",
    "DRILL_EVENT",
    "DRILL_FLAG",
    "DRILL_GUARD",
    "DRILL_REASON",
    "UP_THRESHOLD",
    "Attribution",
    "Collector",
    "Conversion",
    "Dashboard",
    "Destination",
    "Feed",
    "FlagProvider",
    "Funnel",
    "FunnelStep",
    "Guard",
    "GuardMetric",
    "GuardPage",
    "History",
    "Kafka",
    "Notify",
    "Origin",
    "Privacy",
    "Quarantine",
    "Ramp",
    "Refresh",
    "Refunds",
    "Retention",
    "Sessions",
    "Settings",
    "SettingsError",
    "Stream",
    "WarehouseSettings",
    "Window",
    "load_settings",
    "read_settings",
    "stakes",
]
