"""Unleash as the gate's provider: the maintained OpenFeature provider, plus two facts the guard and the gate need.

One is when the client last fetched successfully, kept on disk beside its cache: UnleashClient goes on serving what it
knew, or what lay on the disk, for as long as the server is away. The other is whether a flag splits its units: the
provider calls every "off" DEFAULT, so without it the control group would be invisible.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from openfeature.contrib.provider.unleash import UnleashProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from UnleashClient.cache import FileCache
from UnleashClient.constants import FEATURES_URL

SYNCED = "gtm_synced_at"
"""Key of the time of the last successful fetch in the client's cache."""
WRITE_SECONDS = 5.0
"""The time on disk is at most this much older than the fetch."""


class UnleashFlags(UnleashProvider):
    """Flags of an Unleash server, polled every `refresh_interval` seconds. `url` ends in `/api`.

    `cache_directory` keeps the last state for a start without server (default: the user's cache directory), by
    `app_name`. A fetch takes at most `request_timeout` seconds and is not retried before the next one.
    """

    def __init__(
        self,
        url: str,
        api_token: str,
        *,
        app_name: str = "gtm-gate",
        refresh_interval: int = 2,
        request_timeout: int = 2,
        cache_directory: str | None = None,
        metrics: bool = False,
    ) -> None:
        cache = FileCache(app_name, directory=cache_directory)
        super().__init__(url, app_name, api_token, cache=cache)
        self.client.unleash_refresh_interval = refresh_interval
        self.client.unleash_request_timeout = request_timeout
        self.client.unleash_request_retries = 0
        self.client.unleash_disable_metrics = not metrics
        self.client.unleash_custom_options = {"hooks": {"response": self._on_response}}
        self._fetched: tuple[float, float | None] | None = None
        self._written = 0.0
        self._file = cache
        self._splits: Mapping[str, bool] = splits(cache.get(FEATURES_URL))

    def synced_at(self) -> float | None:
        """Unix seconds of the last successful fetch, of an earlier process when this one had none; None for never."""
        if self._fetched is None:
            return None
        wall, monotonic = self._fetched
        return wall if monotonic is None else time.time() - (time.monotonic() - monotonic)

    def initialize(self, evaluation_context: EvaluationContext | None = None) -> None:
        """Reads the disk cache, then fetches; returns without an error when the server is away."""
        at = self._file.get(SYNCED)
        if isinstance(at, float) and self._fetched is None:
            self._fetched = (at, None)
        super().initialize(evaluation_context)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """The provider's answer; reason SPLIT for either value when the flag's strategies divide its units, else STATIC."""
        details = super().resolve_boolean_details(flag_key, default_value, evaluation_context)
        details.reason = Reason.SPLIT if self._splits.get(flag_key, False) else Reason.STATIC
        return details

    def _on_response(self, response: Any, *_: Any, **__: Any) -> None:
        """Every response of the client passes here, 304 included, which leaves no other trace in the client."""
        if FEATURES_URL not in response.url or response.status_code not in (200, 304):
            return
        if response.status_code == 200:
            self._splits = splits(response.text)
        self._fetched = (time.time(), time.monotonic())
        if time.monotonic() >= self._written:
            self._file.set(SYNCED, time.time())
            self._written = time.monotonic() + WRITE_SECONDS


def splits(state: str | None) -> dict[str, bool]:
    """Per feature of a `/client/features` document: whether some of its units are on and some are off, as far as it says."""
    try:
        features = json.loads(state or "{}").get("features", [])
    except ValueError:
        return {}
    return {feature["name"]: _divides(feature) for feature in features if "name" in feature}


def _divides(feature: Mapping[str, Any]) -> bool:
    if not feature.get("enabled"):
        return False
    shares = [_share(strategy) for strategy in feature.get("strategies") or []]
    if not shares or 1.0 in shares:  # no strategy at all means on for everybody
        return bool(feature.get("dependencies"))
    return any(share is None or share > 0 for share in shares)


def _share(strategy: Mapping[str, Any]) -> float | None:
    """The share of units a strategy turns on; None when it depends on who they are."""
    parameters = strategy.get("parameters") or {}
    percent = parameters.get("rollout", parameters.get("percentage"))
    share = 1.0 if strategy.get("name") == "default" else None
    if share is None and percent is not None:
        try:
            share = float(percent) / 100
        except ValueError:
            return None
    targeted = bool(strategy.get("constraints") or strategy.get("segments"))
    return None if targeted and share != 0 else share
