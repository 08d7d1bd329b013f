"""How a module of `screens/` declares a screen: its address, its charts, and what its template is given."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gtm_dagster.dashboard.chart_query import Chart


@dataclass(frozen=True)
class Screen:
    """A screen, rendered from templates/`name`.html with what `context` makes of a View.

    `order`: its place in the menu; None: it is reached by links alone. `controls`: the parameters that the bar at the top
    shows. `more`: parameters of its own with their values, the first by default (no values: any text). `needs_tables`:
    without a serving copy the page says so and nothing else. `newest`: a statement for the newest day of its own tables, where these
    go by another day than that of the event.
    """

    name: str
    path: str
    title: str
    context: Callable[[Any], dict[str, Any]]
    order: int | None
    charts: tuple[Chart, ...] = ()
    controls: tuple[str, ...] = ("from", "to", "compare", "type", "currency")
    more: Mapping[str, Sequence[str]] = field(default_factory=dict)
    needs_tables: bool = True
    newest: str | None = None

    @property
    def has_path_values(self) -> bool:
        """Whether its path holds parts such as {id}, which `View.path` has."""
        return "{" in self.path


@cache
def screens() -> tuple[Screen, ...]:
    """Every screen, in the order of the menu. ValueError for two of one path, or a chart of two screens."""
    from gtm_dagster.dashboard import screens as package

    modules = [
        import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    ]  # fmt: skip
    found = [module.SCREEN for module in modules if hasattr(module, "SCREEN")]
    for what, names in (
        ("path", [screen.path for screen in found]),
        ("chart", [chart.name for screen in found for chart in screen.charts]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"a {what} of two screens: {', '.join(twice)}")
    return tuple(sorted(found, key=lambda screen: (screen.order is None, screen.order or 0, screen.name)))


@cache
def charts() -> dict[str, tuple[Screen, Chart]]:
    """Every chart by name, with its screen."""
    return {chart.name: (screen, chart) for screen in screens() for chart in screen.charts}
