"""Unleash's flags evaluated by the engine inside its SDKs: what a client that starts now is served."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gtm_dagster.rollout.providers.base.writer import ProviderError


def evaluated(features: dict[str, Any], flag: str, units: Sequence[str]) -> list[bool]:
    """Whether each user id is served the new flow; `features` as the client API answers. Raises ProviderError."""
    try:
        from yggdrasil_engine.engine import UnleashEngine, YggdrasilError
    except ImportError as error:
        raise ProviderError("unleash: the SDK's engine is not installed; pip install 'gtm-dagster[unleash]'") from error
    engine = UnleashEngine()
    try:
        engine.take_state(json.dumps(features))
        answers = [engine.is_enabled(flag, {"userId": unit}) for unit in units]
    except YggdrasilError as error:
        raise ProviderError(f"unleash, flag {flag}: the SDK's engine cannot evaluate it ({error})") from error
    return [
        bool(getattr(answer, "is_enabled", answer)) for answer in answers
    ]  # engines before 2.0 answer with the bool itself
