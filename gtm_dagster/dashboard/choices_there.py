"""What the published tables offer to choose from: days, conversion types with their currencies, results, channels, sources."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from gtm_dagster.dashboard.notices import UnavailableError
from gtm_dagster.dashboard.snapshots import Snapshot
from gtm_dagster.reports.number_text import window_text
from gtm_dagster.settings import Settings

_DAYS = "SELECT min(day), max(day) FROM marts.daily"
_KINDS = """SELECT conversion_type, currency, sum(conversions) FROM marts.daily WHERE conversion_type IS NOT NULL
GROUP BY ALL ORDER BY 3 DESC, 1, 2"""
_RESULTS = "SELECT model, window_hours, computed, reason FROM marts.attribution_status"
_NAMES = (
    "SELECT DISTINCT channel, source, medium, campaign FROM marts.campaign_performance",
    "SELECT DISTINCT channel, source, medium, campaign FROM marts.funnel WHERE cohort_day IS NOT NULL",
)
"""What was credited or paid for, and what brought somebody who has not converted."""
NOT_SET = "(not set)"
"""How the URL and the pages name a source, medium or campaign that is NULL."""
_KEY = "choices"


@dataclass(frozen=True)
class Result:
    """A model with its window, and why it is computed or not."""

    model: str
    window_hours: float
    computed: bool
    reason: str
    rule: str = ""
    """What the settings call it by: last_touch, linear, ...; empty where they do not have it any more."""

    @property
    def label(self) -> str:
        """Such as `linear, 7 days`."""
        return f"{self.model}, {window_text(self.window_hours)}"


@dataclass(frozen=True)
class Choices:
    """What there is. `kinds`: conversion type and currency, the first one by default; `names`: channel, source, medium and
    campaign as they occur together. Days are None and the rest is empty before the first refresh."""

    first_day: date | None = None
    last_day: date | None = None
    kinds: tuple[tuple[str, str | None], ...] = ()
    results: tuple[Result, ...] = ()
    names: tuple[tuple[str | None, str | None, str | None, str | None], ...] = ()

    @property
    def types(self) -> list[str]:
        """Conversion types."""
        return list(dict.fromkeys(kind for kind, _ in self.kinds))

    def currencies(self, conversion_type: str | None = None) -> list[str]:
        """Currencies, of one type or of all."""
        found = (each for kind, each in self.kinds if each and conversion_type in (None, kind))
        return list(dict.fromkeys(found))

    @property
    def computed(self) -> list[Result]:
        """Results that are there."""
        return [result for result in self.results if result.computed]

    @property
    def last_touch(self) -> Result | None:
        """The first computed result of last touch, which others are compared with."""
        return next((result for result in self.computed if result.rule == "last_touch"), None)

    def named(self, part: str, **chosen: str | None) -> list[str]:
        """Channels, sources, mediums or campaigns that occur beside those chosen."""
        parts = ("channel", "source", "medium", "campaign")
        wanted = [(parts.index(name), value) for name, value in chosen.items() if value is not None and name != part]
        place = parts.index(part)
        found = {
            shown(row[place]) for row in self.names if all(shown(row[other]) == value for other, value in wanted)
        }  # fmt: skip
        return sorted(found)


def shown(name: str | None) -> str:
    """A name as pages show it; `(not set)` for none."""
    return NOT_SET if name is None else name


def choices_in(snapshot: Snapshot, settings: Settings) -> Choices:
    """What the file offers; what its tables do not hold is empty."""
    if _KEY not in snapshot.memory:
        days = _rows(snapshot, _DAYS) or [(None, None)]
        usual = [each.event for each in settings.conversions]
        kinds = [(kind, currency) for kind, currency, _ in _rows(snapshot, _KINDS)]
        kinds.sort(key=lambda kind: usual.index(kind[0]) if kind[0] in usual else len(usual))
        order = [(each.label, float(each.lookback_hours)) for each in settings.attribution.windows]
        rules = {(each.label, float(each.lookback_hours)): each.model for each in settings.attribution.windows}
        results = [
            Result(row[0], row[1], row[2], row[3], rules.get((row[0], row[1]), "")) for row in _rows(snapshot, _RESULTS)
        ]
        results.sort(key=lambda r: order.index((r.model, r.window_hours)) if (r.model, r.window_hours) in order else 99)
        names = dict.fromkeys(row for statement in _NAMES for row in _rows(snapshot, statement))
        snapshot.memory[_KEY] = Choices(days[0][0], days[0][1], tuple(kinds), tuple(results), tuple(names))
    found = snapshot.memory[_KEY]
    assert isinstance(found, Choices)  # noqa: S101 - nothing else is stored under this key
    return found


def newest_day(snapshot: Snapshot, statement: str | None, choices: Choices) -> date | None:
    """The newest day of a screen: that of the tables, or of its own statement where that is later."""
    own = _rows(snapshot, statement) if statement else []
    return max((day for day in (choices.last_day, own[0][0] if own else None) if day is not None), default=None)


def _rows(snapshot: Snapshot, statement: str) -> list[tuple]:  # type: ignore[type-arg]
    try:
        return list(snapshot.rows(statement).rows)
    except UnavailableError:
        return []
