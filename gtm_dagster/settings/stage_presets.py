"""Stage presets: the settings that fit a company of a kind, below everything the deployment sets itself.

Each is written as gtm.toml would have it. A preset sets what depends on how much traffic there is and how a sale comes
about: models and windows, the gate, conversions, funnel and retention. Guards, flags and their providers name things of
the deployment's own, so no preset can set them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Stage = Literal["pre_seed", "seed", "series_a", "plg", "sales_led"]


@dataclass(frozen=True)
class Preset:
    """For whom a stage is, and its settings as gtm.toml would have them."""

    meaning: str
    values: dict[str, Any]


def _windows(hours: float, *models: str, **options: Any) -> list[dict[str, Any]]:
    return [{"model": model, "lookback_hours": hours, **options} for model in models]


_PAYMENT = {
    "event": "payment_completed", "value": "amount", "currency": "currency", "unique": "payment_id",
    "refunds": {"event": "payment_refunded"},
}  # fmt: skip

PRESETS: dict[Stage, Preset] = {
    "pre_seed": Preset(
        "Some hundred visitors a week, most of them known by name: first and last touch only, since a model that shares "
        "credit has nothing to share; the funnel ends at the first value.",
        {
            "attribution": {"windows": [*_windows(72, "first_touch"), *_windows(24, "last_touch")]},
            "funnel": {
                "steps": [
                    {"stage": "acquired", "events": ["page_viewed"]},
                    {"stage": "signed_up", "events": ["signup_completed"]},
                    {"stage": "first_value", "events": ["first_value_reached"]},
                ]
            },
        },
    ),
    "seed": Preset(
        "The first repeatable channels: a week of lookback, linear and position-based credit beside first and last touch.",
        {
            "attribution": {
                "windows": [
                    *_windows(168, "first_touch"), *_windows(24, "last_touch"), *_windows(168, "linear", "position_based"),
                ]
            },
        },
    ),
    "series_a": Preset(
        "A budget over several channels: a month of lookback, time decay with a half-life of a week, and direct visits "
        "passed over beside all else.",
        {
            "attribution": {
                "windows": _windows(
                    720, "first_touch", "last_touch", "last_non_direct", "linear", "position_based", "time_decay"
                ),
                "half_life_hours": 168.0,
            },
        },
    ),
    "plg": Preset(
        "The product sells itself: two weeks of lookback, first value counts as a conversion, and coming back means using "
        "a feature.",
        {
            "conversions": [
                _PAYMENT, {"event": "signup_completed"}, {"event": "first_value_reached", "count": "first"},
            ],
            "attribution": {
                "windows": _windows(336, "first_touch", "last_non_direct", "linear", "time_decay"),
                "half_life_hours": 72.0,
            },
            "retention": {"unit": "week", "activity": ["feature_used"]},
        },
    ),
    "sales_led": Preset(
        "People sell, over months and to accounts: a quarter of lookback and of history before credit is shared, credit "
        "for the touches of lead and demo, and cohorts by month.",
        {
            "conversions": [
                _PAYMENT, {"event": "lead_created", "count": "first"}, {"event": "demo_requested", "count": "first"},
            ],
            "account_property": "account_id",
            "attribution": {
                "windows": _windows(2160, "first_touch", "last_non_direct", "w_shaped", "full_path"),
                "stages": ["lead_created", "demo_requested"],
                "min_history_days": 90,
            },
            "funnel": {
                "steps": [
                    {"stage": "acquired", "events": ["page_viewed"]},
                    {"stage": "lead", "events": ["lead_created", "signup_completed"]},
                    {"stage": "demo", "events": ["demo_requested"]},
                    {"stage": "trial", "events": ["trial_started"]},
                    {"stage": "customer", "events": ["payment_completed"]},
                ]
            },
            "retention": {"unit": "month"},
        },
    ),
}  # fmt: skip


def preset_keys(values: dict[str, Any], prefix: str = "") -> list[str]:
    """The keys of a preset as messages name them: `attribution.windows`."""
    found: list[str] = []
    for name, value in values.items():
        key = f"{prefix}{name}"
        found += preset_keys(value, f"{key}.") if isinstance(value, dict) else [key]
    return found
