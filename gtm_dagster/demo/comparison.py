"""The demo's results as the serving copy has them, beside the truth that was planted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gtm_dagster.settings import Settings
from gtm_dagster.simulator.plain_windows import plain_windows
from gtm_dagster.warehouse.serving import query

TOLERANCE = 1e-6


@dataclass(frozen=True)
class Comparison:
    """One figure of the results beside the planted one; `difference` is the largest over its rows."""

    name: str
    planted: str
    found: str
    difference: float

    @property
    def ok(self) -> bool:
        """Equal to 1e-6."""
        return self.difference <= TOLERANCE


def served(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query on the serving copy."""
    return query(settings, sql)[1]


def _furthest(planted: Mapping[Any, float], found: Mapping[Any, float]) -> float:
    return max((abs(planted.get(key, 0.0) - found.get(key, 0.0)) for key in planted.keys() | found.keys()), default=0.0)


def credits_found(settings: Settings) -> dict[tuple[Any, ...], tuple[float, float]]:
    """(conversion type, currency, model, window hours, channel) -> (conversions, value), of windows with a planted truth."""
    plain = set(plain_windows(settings))
    found = served(
        settings,
        "SELECT conversion_type, currency, model, window_hours, channel, sum(conversions), coalesce(sum(value), 0) "
        "FROM marts.channel_attribution GROUP BY ALL",
    )
    return {tuple(row[:5]): (row[5], row[6]) for row in found if row[2:4] in plain}


def credits_planted(truth: Mapping[str, Any]) -> dict[tuple[Any, ...], tuple[float, float]]:
    """The same shape as `credits_found`, from the truth."""
    keys = ("conversion_type", "currency", "model", "window_hours", "channel")
    return {tuple(row[key] for key in keys): (row["conversions"], row["value"] or 0.0) for row in truth["credit"]}


def funnel_found(settings: Settings) -> dict[tuple[str, str], float]:
    """(channel, stage) -> persons."""
    found = served(settings, "SELECT channel, stage, sum(persons) FROM marts.funnel GROUP BY ALL")
    return {(channel, stage): float(persons) for channel, stage, persons in found}


def retention_found(settings: Settings) -> dict[tuple[str, int], tuple[float, float]]:
    """(cohort, period) -> (persons, retained), over all channels."""
    found = served(
        settings, "SELECT cohort, period, sum(persons), sum(retained) FROM marts.retention GROUP BY ALL ORDER BY ALL"
    )
    return {
        (cohort.isoformat(), period): (float(persons), float(retained)) for cohort, period, persons, retained in found
    }


def other_definitions(settings: Settings) -> list[str]:
    """Settings that define sessions, conversions, funnel or retention differently from the planted truth."""
    usual = Settings()
    names = ("report_timezone", "plan_file", "sessions", "conversions", "funnel", "retention")
    changed = [name for name in names if getattr(settings, name) != getattr(usual, name)]
    if settings.attribution.half_life_hours != usual.attribution.half_life_hours:
        changed.append("attribution.half_life_hours")
    return changed


def compare(settings: Settings, truth: Mapping[str, Any], edge_duplicates: int) -> list[Comparison]:
    """Every planted figure beside the one found. `edge_duplicates`: events the collector did not store twice.

    Windows that the history gate holds back are left out; with `other_definitions` only the books are compared.
    """
    clean, duplicates = served(settings, "SELECT sum(clean), sum(duplicates) FROM staging.books")[0]
    refused = served(settings, "SELECT count(DISTINCT event_id) FROM staging.quarantine")[0][0]
    result = [
        _number("unique valid events", truth["unique_valid"], clean or 0),
        _at_least("duplicates (at the edge and in staging)", truth["duplicates"], (duplicates or 0) + edge_duplicates),
        _number("malformed events in quarantine", sum(truth["malformed"].values()), refused),
    ]
    if other_definitions(settings):
        return result
    persons, sessions = served(settings, "SELECT count(DISTINCT person_id), count(*) FROM core.sessions")[0]
    result += [_number("persons", truth["persons"], persons), _number("sessions", truth["sessions"], sessions)]
    planted, found = credits_planted(truth), credits_found(settings)
    not_computed = {(model, hours) for model, hours, _ in gated(settings)}
    for model, hours in sorted({(key[2], key[3]) for key in planted | found} - not_computed):
        for column, what, unit in ((0, "conversions", 0), (1, "value", 1)):
            a, b = (
                {key: row[column] for key, row in rows.items() if (key[2], key[3]) == (model, hours)}
                for rows in (planted, found)
            )
            totals = (_totals_by(a, unit), _totals_by(b, unit))
            result.append(Comparison(f"{model} {hours:g} h, {what} by channel", *totals, _furthest(a, b)))
    people = {(row["channel"], row["stage"]): float(row["persons"]) for row in truth["funnel"]}
    reached = funnel_found(settings)
    result.append(
        Comparison(
            "funnel, persons by channel and stage",
            _total(people.values()),
            _total(reached.values()),
            _furthest(people, reached),
        )
    )
    weeks = {(row["cohort"], row["period"]): float(row["retained"]) for row in truth["retention"]}
    back = {key: retained for key, (_, retained) in retention_found(settings).items()}
    result.append(
        Comparison(
            "retention, persons by cohort and week",
            _total(weeks.values()),
            _total(back.values()),
            _furthest(weeks, back),
        )
    )
    return result


def _number(name: str, planted: float, found: float) -> Comparison:
    return Comparison(name, f"{planted:,}", f"{found:,}", abs(float(planted) - float(found)))


def _at_least(name: str, planted: int, found: int) -> Comparison:
    # A demo that was interrupted while it sent live events sends them again, and the edge counts those copies too.
    return Comparison(name, f"{planted:,}", f"{found:,}", float(max(0, planted - found)))


def _total(numbers: Iterable[float]) -> str:
    return f"{sum(numbers):,.2f}".removesuffix(".00")


def _totals_by(rows: Mapping[tuple[Any, ...], float], unit: int) -> str:
    """Totals by conversion type (`unit` 0) or currency (1): unlike ones are never added."""
    total: dict[str, float] = defaultdict(float)
    for key, number in rows.items():
        if key[unit] is not None:
            total[key[unit]] += number
    return ", ".join(f"{_total([number])} {name.removesuffix('_completed')}" for name, number in sorted(total.items()))


def gated(settings: Settings) -> list[tuple[Any, ...]]:
    """(model, window hours, reason) of the windows that the history gate did not compute."""
    return served(
        settings, "SELECT model, window_hours, reason FROM marts.attribution_status WHERE NOT computed ORDER BY ALL"
    )
