"""Why the credit of one conversion is what it is: its touches, in or out and why, and credit by result; from the serving copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gtm_dagster.reports.touch_verdicts import Touch, verdicts

if TYPE_CHECKING:
    import duckdb

    from gtm_dagster.settings import Settings, Window

MOST_TOUCHES = 200
"""Touches that are shown, the newest of those that count first; a person's history has no other end."""
_MOST_OUTSIDE = 50
_TOUCHES = """SELECT t.session_key, t.touch_time, t.age_us, t.source, t.medium, t.campaign, t.channel, o.rule,
    s.source AS session_source, s.source_us
  FROM core.touchpoints t
  LEFT JOIN core.sources o ON o.source_key = t.source_key
  LEFT JOIN core.sessions s ON s.person_no = t.person_no AND s.session_key = t.session_key
  WHERE t.person_no = $1 AND t.conversion_id = $2
  ORDER BY t.touch_us, t.tie_no"""
_OUTSIDE = """SELECT s.session_key, s.session_start, $3 - s.start_us AS age_us, s.source, s.medium, s.campaign, s.channel, o.rule
  FROM core.sessions s
  LEFT JOIN core.sources o ON o.source_key = s.source_key
  WHERE s.person_no = $1
    AND s.session_key NOT IN (SELECT session_key FROM core.touchpoints WHERE person_no = $1 AND conversion_id = $2)
  ORDER BY abs($3 - s.start_us), s.tie_no
  LIMIT $4"""
_CREDITS = """SELECT model, window_hours, session_key, sum(credit), sum(value), sum(net_value)
  FROM marts.attribution_credits WHERE person_no = $1 AND conversion_id = $2 GROUP BY ALL"""


@dataclass(frozen=True)
class Credit:
    """Share of 1 of the conversion, gross value and net value (None: the conversion has no value)."""

    share: float
    value: float | None
    net_value: float | None


@dataclass(frozen=True)
class ResultExplained:
    """One model and window. `why_out` and `credits` have an entry for each touch that is shown (no credit: None).

    `unattributed`: what no touch earned; `elsewhere`: what touches earned that are not shown; `total`: all of it.
    `meaning`: the model in a line, empty where the settings do not name the result any more. `conserves`: the shares add up to 1.
    """

    label: str
    window_hours: float
    meaning: str
    conserves: bool
    why_out: tuple[str | None, ...]
    credits: tuple[Credit | None, ...]
    unattributed: Credit | None
    elsewhere: Credit | None
    total: Credit


@dataclass(frozen=True)
class ExplainedConversion:
    """A conversion (columns of core.conversions), its touches oldest first, and each result.

    `hidden`: sessions of the person that are not shown. `absent`: (label, hours, why) of results without credit by conversion.
    """

    conversion: dict[str, Any]
    touches: tuple[Touch, ...]
    hidden: int
    results: tuple[ResultExplained, ...]
    absent: tuple[tuple[str, float, str], ...]


def explained(con: duckdb.DuckDBPyConnection, settings: Settings, conversion_id: str) -> ExplainedConversion | None:
    """The conversion of that id, explained; None when there is none. `con` reads the serving copy."""
    cursor = con.execute("SELECT * FROM core.conversions WHERE conversion_id = ?", [conversion_id])
    names = [column[0] for column in cursor.description or ()]
    rows = cursor.fetchall()
    if not rows:
        return None
    conversion = dict(zip(names, rows[0], strict=True))
    person, moment = conversion["person_no"], conversion["conversion_us"]
    counted = [_touch(*row) for row in con.execute(_TOUCHES, [person, conversion_id]).fetchall()]
    nearest = con.execute(
        _OUTSIDE, [person, conversion_id, moment, min(_MOST_OUTSIDE, max(MOST_TOUCHES - len(counted), 0))]
    ).fetchall()
    outside = [_touch(*row, kept=False) for row in nearest]
    newest = {touch.key: number for number, touch in enumerate(counted)}
    marked = [replace(touch, is_followed=newest[touch.key] > number) for number, touch in enumerate(counted)]
    everything = sorted([*marked, *outside], key=lambda touch: -touch.age_us)
    shown = _shown(everything)
    sessions = con.execute("SELECT count(*) FROM core.sessions WHERE person_no = ?", [person]).fetchall()[0][0]
    results, absent = _results(con, settings, conversion, everything, shown)
    hidden = int(sessions) - len({everything[number].key for number in shown})
    return ExplainedConversion(conversion, tuple(everything[n] for n in shown), max(hidden, 0), results, absent)


def nearest_ids(con: duckdb.DuckDBPyConnection, conversion_id: str, most: int = 3) -> list[str]:
    """The ids that are most like one that is not there; none that has nothing to do with it."""
    rows = con.execute(
        """SELECT conversion_id FROM core.conversions
        WHERE conversion_id LIKE $2 ESCAPE '!' OR jaro_winkler_similarity(conversion_id, $1) > 0.9
        ORDER BY conversion_id LIKE $2 ESCAPE '!' DESC, jaro_winkler_similarity(conversion_id, $1) DESC, conversion_id LIMIT $3""",
        [conversion_id, f"%{_escaped(conversion_id)}%", most],
    ).fetchall()
    return [str(row[0]) for row in rows]


def _escaped(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _touch(
    key: str, at: Any, age_us: int, source: str | None, medium: str | None, campaign: str | None, channel: str,
    rule: str | None, session_source: str | None = None, source_us: int | None = None, *, kept: bool = True,
) -> Touch:  # fmt: skip
    note = None
    if kept and session_source not in (None, source):
        note = f"{session_source} was named after the conversion and does not count for it"
    return Touch(key, at, age_us, source, medium, campaign, channel, rule, note, kept)


def _shown(touches: Sequence[Touch]) -> list[int]:
    """Places of the touches that are shown: all, or the newest that count, with the oldest."""
    if len(touches) <= MOST_TOUCHES:
        return list(range(len(touches)))
    return [0, *range(len(touches) - MOST_TOUCHES + 1, len(touches))]


def _results(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    conversion: dict[str, Any],
    everything: Sequence[Touch],
    shown: Sequence[int],
) -> tuple[tuple[ResultExplained, ...], tuple[tuple[str, float, str], ...]]:
    from gtm_dagster.attribution.models import TOUCH_MODELS

    credits: dict[tuple[str, float], dict[str | None, Credit]] = {}
    for label, hours, key, *amounts in con.execute(
        _CREDITS, [conversion["person_no"], conversion["conversion_id"]]
    ).fetchall():
        credits.setdefault((label, hours), {})[key] = Credit(*amounts)
    windows = {(window.label, float(window.lookback_hours)): window for window in settings.attribution.windows}
    statuses = con.execute(
        "SELECT model, window_hours, computed, reason FROM marts.attribution_status ORDER BY rowid"
    ).fetchall()
    found, absent = [], []
    for label, hours, computed, reason in statuses:
        window = windows.get((label, hours))
        if (label, hours) in credits:
            by_key = credits[label, hours]
            found.append(_result(label, hours, window, by_key, everything, shown, settings.attribution.max_touches))
        elif not computed:
            absent.append((label, hours, reason))
        elif window is not None and window.model not in TOUCH_MODELS:
            absent.append(
                (label, hours, "is estimated from all paths together; one conversion has no credit of its own")
            )
        else:
            absent.append((label, hours, "has no credit yet; run `gtm refresh`"))
    return tuple(found), tuple(absent)


def _result(
    label: str,
    hours: float,
    window: Window | None,
    by_key: dict[str | None, Credit],
    everything: Sequence[Touch],
    shown: Sequence[int],
    max_touches: int,
) -> ResultExplained:
    from gtm_dagster.attribution.models import model

    unknown = [None if touch.kept else "does not count" for touch in everything]
    why = verdicts(window, everything, max_touches) if window else unknown
    # Where events are touches a session has several: its credit stands with the newest of them that counts.
    place = {touch.key: number for number, touch in enumerate(everything) if why[number] is None}
    placed = {place[key]: credit for key, credit in by_key.items() if key in place}
    visible = set(shown)
    elsewhere = [credit for key, credit in by_key.items() if key is not None and place.get(key, -1) not in visible]
    return ResultExplained(
        label=label,
        window_hours=hours,
        meaning=model(window.model).meaning if window else "",
        conserves=window is None or model(window.model).conserves,
        why_out=tuple(why[number] for number in shown),
        credits=tuple(placed.get(number) for number in shown),
        unattributed=by_key.get(None),
        elsewhere=_sum(elsewhere) if elsewhere else None,
        total=_sum(list(by_key.values())),
    )


def _sum(credits: Sequence[Credit]) -> Credit:
    def added(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    return Credit(
        sum(credit.share for credit in credits),
        added([credit.value for credit in credits]),
        added([credit.net_value for credit in credits]),
    )
