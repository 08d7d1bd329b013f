"""Credit by channel, source or campaign with intervals: the persons of a period as a bootstrap needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import duckdb
import numpy as np

from gtm_dagster.attribution.intervals import Intervals, Persons, bootstrap
from gtm_dagster.attribution.models import model
from gtm_dagster.settings import Settings, Window
from gtm_dagster.warehouse.figures.period import Period
from gtm_dagster.warehouse.literals import composed

UNATTRIBUTED = "(unattributed)"
By = Literal["channel", "source", "campaign"]
MOST_LABELS = 40
"""Channels, sources or campaigns that have a row of their own; the others share one."""
MANY_PERSONS = 100_000
"""Converting persons above which 200 replicates replace 1,000: the interval's ends are as good, and it is done in seconds."""
_ROWS_AT_ONCE = 200_000


@dataclass(frozen=True)
class ComputedResult:
    """A result of attribution that is computed: the label in the column `model`, its window in hours, and the model."""

    model: str
    window_hours: float
    rule: str

    def __str__(self) -> str:
        return f"{self.model}, {self.window_hours:g} h"


@dataclass(frozen=True)
class Kind:
    """A conversion type in one currency (None: it has no value), and how many there are in the period.

    `value` is gross, `refunded` what was given back of it so far; both None without values.
    """

    conversion_type: str
    currency: str | None
    conversions: int
    persons: int
    value: float | None = None
    refunded: float | None = None

    def __str__(self) -> str:
        return self.conversion_type if self.currency is None else f"{self.conversion_type}, {self.currency}"


@dataclass(frozen=True)
class Credit:
    """Credit of one kind of conversion by label and result.

    `labels`: with the most credit first, others and (unattributed) last; `others`: the place of others, None without.
    `intervals`: statistics are the conversions of
    each result, and behind them, where the kind has values, the gross and then the net values of each. `replicates`: of the bootstrap.
    """

    kind: Kind
    results: tuple[ComputedResult, ...]
    labels: tuple[str, ...]
    intervals: Intervals
    replicates: int
    others: int | None = None

    @property
    def has_value(self) -> bool:
        """Whether the statistics hold values."""
        return self.intervals.estimate.shape[1] > len(self.results)


def computed_windows(con: duckdb.DuckDBPyConnection, settings: Settings) -> list[Window]:
    """The windows of the settings that are computed, in their order."""
    rows = con.execute("SELECT model, window_hours FROM marts.attribution_status WHERE computed").fetchall()
    computed = set(rows)
    return [each for each in settings.attribution.windows if (each.label, float(each.lookback_hours)) in computed]


def computed_results(con: duckdb.DuckDBPyConnection, settings: Settings) -> tuple[ComputedResult, ...]:
    """The results that give credit to touches and are computed, in the order of the settings."""
    return tuple(
        ComputedResult(each.label, float(each.lookback_hours), each.model)
        for each in computed_windows(con, settings)
        if not model(each.model).data_driven
    )


def kinds(con: duckdb.DuckDBPyConnection, period: Period) -> tuple[Kind, ...]:
    """Conversion types and currencies of the period, the most frequent first."""
    rows = con.execute(
        """SELECT conversion_type, currency, count(*), count(DISTINCT person_no), sum(value), sum(refunded) FROM core.conversions
        WHERE day BETWEEN ? AND ? GROUP BY ALL ORDER BY 3 DESC, 1, 2""",
        [period.since, period.until],
    ).fetchall()
    return tuple(Kind(*row) for row in rows)


_WANTED = """SELECT a.person_no, a.model, a.window_hours, coalesce(a.$by, $nothing) AS label,
  a.credit, a.value, a.net_value
FROM marts.attribution_credits a JOIN (
  SELECT conversion_id FROM core.conversions
  WHERE day BETWEEN $1 AND $2 AND conversion_type = $3 AND currency IS NOT DISTINCT FROM $4
) c USING (conversion_id)
WHERE a.conversion_us >= $5 AND a.conversion_us < $6"""
_DAY_US = 86_400_000_000


def credit_of(
    con: duckdb.DuckDBPyConnection, kind: Kind, period: Period, results: Sequence[ComputedResult], by: By = "channel",
    *, replicates: int | None = None, seed: int = 0,
) -> Credit:  # fmt: skip
    """Credit of the kind in the period, every result of the same persons and the same replicates.

    Memory is bounded: persons come in order, some 200,000 rows at once. What nobody earned is the label (unattributed).
    """
    wanted, values = _asked(kind, period, by)
    labels, others = _labels(con, wanted, values)
    drawn = (1000 if kind.persons <= MANY_PERSONS else 200) if replicates is None else replicates
    parts = _persons(con, wanted, values, labels, others, results, with_value=kind.currency is not None)
    statistics = len(results) * (1 if kind.currency is None else 3)
    intervals = bootstrap(parts, len(labels), statistics, replicates=drawn, seed=seed)
    return Credit(kind, tuple(results), labels, intervals, drawn, others)


def credit_totals(
    con: duckdb.DuckDBPyConnection, kind: Kind, period: Period, results: Sequence[ComputedResult], by: By
) -> dict[str, tuple[float, ...]]:
    """Conversions by label, a number for each result; without intervals."""
    wanted, values = _asked(kind, period, by)
    rows = con.execute(
        composed("SELECT label, model, window_hours, sum(credit) FROM ($wanted) GROUP BY ALL", wanted=wanted), values
    ).fetchall()
    places = {(result.model, result.window_hours): i for i, result in enumerate(results)}
    found: dict[str, list[float]] = {}
    for label, name, hours, credit in rows:
        if (name, hours) in places:
            found.setdefault(label, [0.0] * len(results))[places[name, hours]] = credit
    return {label: tuple(credits) for label, credits in found.items()}


def _asked(kind: Kind, period: Period, by: By) -> tuple[str, list[object]]:
    """The rows of credit of the kind in the period, and the values of their parameters."""
    nothing = "CASE WHEN a.session_key IS NULL THEN '(unattributed)' ELSE '(none)' END"
    epoch = period.since.toordinal() - 719_163  # days since 1970-01-01
    # A local day lies within a day of the same day in UTC: the rows of other months are not read.
    around = [(epoch - 1) * _DAY_US, (epoch + period.days + 1) * _DAY_US]
    values: list[object] = [period.since, period.until, kind.conversion_type, kind.currency, *around]
    return composed(_WANTED, by=by, nothing=nothing), values


def _labels(
    con: duckdb.DuckDBPyConnection, wanted: str, values: Sequence[object]
) -> tuple[tuple[str, ...], int | None]:
    """The labels in the order they are shown, and the place of the one that others share."""
    rows = con.execute(
        composed("SELECT label, sum(credit) FROM ($wanted) GROUP BY 1 ORDER BY 2 DESC, 1", wanted=wanted), values
    ).fetchall()
    named = [label for label, _ in rows if label != UNATTRIBUTED]
    shown = (
        named if len(named) <= MOST_LABELS else [*named[: MOST_LABELS - 1], f"{len(named) - MOST_LABELS + 1} others"]
    )
    others = len(shown) - 1 if len(shown) < len(named) else None
    return (*shown, *([UNATTRIBUTED] if len(named) < len(rows) else [])), others


def _persons(
    con: duckdb.DuckDBPyConnection, wanted: str, values: Sequence[object], labels: tuple[str, ...], others: int | None,
    results: Sequence[ComputedResult], *, with_value: bool,
) -> Iterator[Persons]:  # fmt: skip
    """Rows by person, label and result, cut between persons."""
    if not labels:
        return
    reader = con.sql(
        composed(
            """SELECT person_no, coalesce(list_position($labels, label) - 1, $others) AS label_no,
              list_position($results, model || ' ' || CAST(window_hours AS VARCHAR)) - 1 AS result_no,
              sum(credit) AS credit, sum(value) AS value, sum(net_value) AS net_value
            FROM ($wanted) GROUP BY ALL HAVING result_no IS NOT NULL ORDER BY 1""",
            wanted=wanted, labels="$7", results="$8", others="NULL" if others is None else others,
        ),
        params=[*values, list(labels), [f"{each.model} {float(each.window_hours)}" for each in results]],
    ).to_arrow_reader(_ROWS_AT_ONCE)  # fmt: skip
    kept: np.ndarray = np.zeros((0, 6))
    for batch in reader:
        columns = [batch.column(i).to_numpy(zero_copy_only=False).astype(np.float64) for i in range(6)]
        rows = np.concatenate([kept, np.stack(columns, axis=1)])
        # The last person may go on in the next batch.
        cut = int(np.searchsorted(rows[:, 0], rows[-1, 0]))
        kept = rows[cut:]
        if cut:
            yield _part(rows[:cut], len(labels), len(results), with_value=with_value)
    if len(kept):
        yield _part(kept, len(labels), len(results), with_value=with_value)


def _part(rows: np.ndarray, labels: int, results: int, *, with_value: bool) -> Persons:
    """Entries of a person and a label with the amounts of every result; equal persons become one."""
    _, person = np.unique(rows[:, 0], return_inverse=True)
    key, entry = np.unique(person * labels + rows[:, 1].astype(np.int64), return_inverse=True)
    amounts = np.zeros((len(key), results * (3 if with_value else 1)))
    result = rows[:, 2].astype(np.int64)
    amounts[entry, result] = rows[:, 3]
    if with_value:
        amounts[entry, results + result] = np.nan_to_num(rows[:, 4])
        amounts[entry, 2 * results + result] = np.nan_to_num(rows[:, 5])
    return Persons(np.ones(int(person.max()) + 1), key // labels, key % labels, amounts)
