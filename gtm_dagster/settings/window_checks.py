"""Windows of attribution as a whole: each result has a name of its own, and options that its model reads."""

from __future__ import annotations

from collections.abc import Iterator

from gtm_dagster.settings.analysis import Attribution, Window
from gtm_dagster.settings.source import Origin, SettingsError

_READ_BY = {
    "weights": ("position_based",),
    "half_life_hours": ("time_decay",),
    "order": ("markov",),
    "nulls": ("markov",),
    "removal": ("markov",),
    "game": ("shapley",),
}
_THREE = 3


def check_windows(attribution: Attribution, origin: Origin) -> None:
    """Raises SettingsError for two results of one name and lookback, and for an option that its model does not read."""
    seen: dict[tuple[str, float], int] = {}
    problems = []
    for index, window in enumerate(attribution.windows):
        key = f"attribution.windows[{index}]"
        problems += [f"{problem}{origin.place(key)}" for problem in _problems(key, window)]
        earlier = seen.setdefault((window.label, window.lookback_hours), index)
        if earlier != index:
            problems.append(
                f"{key}: {window.label!r} of {window.lookback_hours:g} hours is already entry {earlier}; "
                f"give one of them a name{origin.place(key)}"
            )
    if problems:
        raise SettingsError(*problems)


def _problems(key: str, window: Window) -> Iterator[str]:
    usual = Window(window.model, window.lookback_hours)
    for option, models in _READ_BY.items():
        if getattr(window, option) != getattr(usual, option) and window.model not in models:
            yield f"{key}.{option}: {window.model} does not read it; it is an option of {', '.join(models)}"
    if window.weights and (len(window.weights) != _THREE or not sum(window.weights) > 0):
        yield (
            f"{key}.weights: {list(window.weights)} are not three shares, of the first touch, those between and the "
            "last, of which one at least is above 0"
        )
    if window.only and window.without:
        yield f"{key}.without: a window that names the channels that count (only) needs no others; keep one of the two"
