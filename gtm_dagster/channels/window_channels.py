"""The channels that attribution windows name, beside those there are; settings themselves know no channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gtm_dagster.channels.grouping import CHANNELS
from gtm_dagster.settings.nearest import nearest
from gtm_dagster.settings.source import Origin, SettingsError

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings, Window


def check_window_channels(settings: Settings, origin: Origin | None = None) -> None:
    """Raises SettingsError for each name in a window's channels that is no channel, with the nearest one.

    `origin`: where each setting stands, for the messages.
    """
    problems = []
    for index, window in enumerate(settings.attribution.windows):
        for option, name in _named(window):
            if name not in CHANNELS:
                key = f"attribution.windows[{index}]"
                near = " or ".join(nearest(name, CHANNELS, most=1, least=0.0))
                place = (origin or Origin()).place(f"{key}.{option}")
                problems.append(f"{key}.{option}: {name!r} is not a channel; did you mean {near}?{place}")
    if problems:
        raise SettingsError(*problems)


def _named(window: Window) -> Iterator[tuple[str, str]]:
    """Each channel that a window names, behind the option that names it."""
    yield from (("channel_hours", name) for name in window.channel_hours)
    yield from (("only", name) for name in window.only)
    yield from (("without", name) for name in window.without)
    for transform in window.transforms:
        kind, _, argument = transform.partition(":")
        if argument and kind != "newest":
            yield "transforms", argument
