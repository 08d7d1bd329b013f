"""The windows of settings whose truth the simulator knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.models import TOUCH_MODELS, model

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings, Window


def plain_windows(settings: Settings) -> tuple[tuple[str, float], ...]:
    """(model, lookback hours) of the windows that nothing but these two decides: no filter, transform or option, and no
    model that reads stages or all paths together.
    """
    return tuple((w.model, w.lookback_hours) for w in settings.attribution.windows if _is_plain(w))


def _is_plain(window: Window) -> bool:
    usual = type(window)(window.model, window.lookback_hours)
    return window == usual and window.model in TOUCH_MODELS and not model(window.model).needs_stages
