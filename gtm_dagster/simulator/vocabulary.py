"""The properties of simulated events: small pools of JSON texts that satisfy the packaged tracking plan."""

import json
from collections.abc import Mapping

_PAGES = ("/", "/product", "/docs", "/blog/how-we-measure", "/customers", "/integrations", "/app", "/app/settings")
_FEATURES = ("dashboard", "funnel_builder", "export", "alerts", "segments", "invite")


def _texts(*variants: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(json.dumps(variant, sort_keys=True, separators=(",", ":")) for variant in variants)


POOLS: dict[str, tuple[str, ...]] = {
    "page_viewed": _texts(*({"path": page} for page in _PAGES)),
    "campaign_clicked": _texts({"placement": "search_top"}, {"placement": "feed"}),
    "pricing_viewed": _texts({"plan": "team"}, {"plan": "business"}),
    "demo_requested": _texts({"company_size": "11-50"}, {"company_size": "51-200"}),
    "signup_started": _texts({"method": "email"}, {"method": "google"}),
    "signup_completed": _texts({"method": "email"}, {"method": "google"}),
    "user_identified": _texts({}),
    "consent_updated": _texts({"analytics": True, "marketing": True}, {"analytics": True, "marketing": False}),
    "onboarding_started": _texts({}),
    "onboarding_completed": _texts({"steps": 4}, {"steps": 5}),
    "first_value_reached": _texts({"milestone": "first_report"}, {"milestone": "first_import"}),
    "feature_used": _texts(*({"feature": feature} for feature in _FEATURES)),
    "flag_exposed": _texts(
        {"flag": "new_checkout", "variant": "control", "served": "control", "reason": "SPLIT", "epoch": 1},
        {"flag": "new_checkout", "variant": "treatment", "served": "treatment", "reason": "SPLIT", "epoch": 1},
    ),
    "checkout_started": _texts({"plan": "team"}, {"plan": "business"}),
    "trial_started": _texts({"plan": "team"}, {"plan": "business"}),
    "trial_expired": _texts({"plan": "team"}),
    "subscription_cancelled": _texts({"reason": "too_expensive"}, {"reason": "missing_feature"}),
    "churn_flagged": _texts({"reason": "inactive"}),
    "lead_created": _texts({"channel": "website"}),
}
"""Event name -> property texts to draw from; payments and refunds are written by `money`."""


def money(amount: float, currency: str, payment_id: str) -> str:
    """Properties of a payment or a refund."""
    return f'{{"amount":{amount:.2f},"currency":"{currency}","payment_id":"{payment_id}"}}'
