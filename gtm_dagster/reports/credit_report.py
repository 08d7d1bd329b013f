"""Credit of one kind of conversion, all models side by side: numbers in frozen rows, as text, JSON and HTML show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from gtm_dagster.reports.definitions_compared import DefinitionResult
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.figures.credit_sample import (
    UNATTRIBUTED,
    By,
    ComputedResult,
    Credit,
    Kind,
    computed_results,
    credit_of,
    kinds,
)
from gtm_dagster.warehouse.figures.period import Period
from gtm_dagster.warehouse.figures.solved_months import SolvedCredit, solved_credit
from gtm_dagster.warehouse.figures.spend_by_label import spend_of


class ReportError(Exception):
    """A report that cannot be made; the message says what is missing and the way out."""


@dataclass(frozen=True)
class Amount:
    """A total with its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class ReportRow:
    """A channel, source or campaign; one entry for each result in `conversions`, `value`, `cpa` and `roas`.

    `value` (gross) and `net_value` are empty where the kind has none. `spend`, `cpa`, `roas`: None where unknown or undefined. `persons`: the most
    converting persons any result gives it. `too_few`: below 30 of them, so it is not ranked.
    """

    label: str
    conversions: tuple[Amount, ...]
    value: tuple[Amount, ...]
    net_value: tuple[Amount, ...]
    spend: float | None
    cpa: tuple[float | None, ...]
    roas: tuple[float | None, ...]
    persons: int
    too_few: bool


@dataclass(frozen=True)
class NotComputed:
    """A result that the history gate holds back, and why."""

    model: str
    window_hours: float
    reason: str


@dataclass(frozen=True)
class CreditReport:
    """One report: what was asked, the rows, what is left out, and the findings in words.

    `solved`: what data-driven models say of the months of the period. `credit` and `before` (the period before, where it
    is compared) hold the replicates, from which findings come.
    """

    period: Period
    zone: str
    by: By
    kind: Kind
    other_kinds: tuple[Kind, ...]
    results: tuple[ComputedResult, ...]
    rows: tuple[ReportRow, ...]
    not_computed: tuple[NotComputed, ...]
    credit: Credit
    before: Credit | None = None
    before_note: str = ""
    spend_currency: str | None = None
    definitions: tuple[DefinitionResult, ...] = ()
    solved: tuple[SolvedCredit, ...] = ()
    findings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Kind, period and time zone in one line."""
        return f"{self.kind} by {self.by}, {self.period} ({self.zone})"

    @property
    def refunds(self) -> bool:
        """Whether some of the value was given back, so that net differs from gross."""
        return abs(self.kind.refunded or 0.0) > 1e-9

    @property
    def one_window(self) -> bool:
        """Whether every result has the same window, which then need not be repeated."""
        return len({result.window_hours for result in self.results}) == 1

    def name(self, result: ComputedResult) -> str:
        """A result as a heading: with its window where windows differ."""
        return result.model if self.one_window else str(result)


def credit_report(
    con: duckdb.DuckDBPyConnection, period: Period, settings: Settings, *, by: By = "channel",
    conversion_type: str | None = None, currency: str | None = None, before: bool = False,
) -> CreditReport:  # fmt: skip
    """The report of one conversion type and currency (the most frequent where none is named), without findings.

    Raises ReportError when nothing converted in the period, or not so.
    """
    found = kinds(con, period)
    kind = _kind(found, period, conversion_type, currency)
    results = computed_results(con, settings)
    if not results:
        raise ReportError("no model is computed: see marts.attribution_status, or run `gtm refresh`")
    credit = credit_of(con, kind, period, results, by)
    spend = spend_of(con, kind, period, results[0], by)
    earlier, note = _before(con, kind, period, results, by) if before else (None, "")
    absent = con.execute(
        "SELECT model, window_hours, reason FROM marts.attribution_status WHERE NOT computed ORDER BY rowid"
    ).fetchall()
    return CreditReport(
        period, settings.report_timezone, by, kind, tuple(each for each in found if each != kind), results, _rows(credit, spend.by_label),
        tuple(NotComputed(*row) for row in absent), credit, earlier, note, spend.currency,
        solved=solved_credit(con, settings, kind, period) if by == "channel" else (),
    )  # fmt: skip


def _kind(found: Sequence[Kind], period: Period, conversion_type: str | None, currency: str | None) -> Kind:
    """The kind that was asked for, else the most frequent."""
    if not found:
        raise ReportError(f"no conversion from {period}: choose another period with --since and --until")
    wanted = [
        each
        for each in found
        if (conversion_type is None or each.conversion_type == conversion_type)
        and (currency is None or (each.currency or "").lower() == currency.lower())
    ]
    if not wanted:
        asked = " in ".join(filter(None, (conversion_type or "any conversion", currency)))
        there = "; ".join(f"{each} ({each.conversions:,})" for each in found)
        raise ReportError(f"{asked}: none from {period}; there are: {there}")
    return wanted[0]


def _before(
    con: duckdb.DuckDBPyConnection, kind: Kind, period: Period, results: Sequence[ComputedResult], by: By
) -> tuple[Credit | None, str]:
    """Credit of the same kind in the period before; None, and why, where the data do not reach so far back."""
    earlier = period.before
    first = con.execute("SELECT min(day) FROM core.conversions").fetchall()[0][0]
    if first is None or first > earlier.since:
        return None, f"the period before ({earlier}) is not compared: conversions begin on {first}"
    same = [each for each in kinds(con, earlier) if str(each) == str(kind)]
    if not same:
        return None, f"the period before ({earlier}) has no {kind}"
    return credit_of(con, same[0], earlier, results, by, seed=1), ""


def _rows(credit: Credit, spend: Mapping[str, float]) -> tuple[ReportRow, ...]:
    n = len(credit.results)
    found = credit.intervals

    def amounts(row: int, first: int) -> tuple[Amount, ...]:
        return tuple(
            Amount(float(found.estimate[row, i]), float(found.bounds[0, row, i]), float(found.bounds[1, row, i]))
            for i in range(first, first + n)
        )

    rows = []
    for number, label in enumerate(credit.labels):
        conversions = amounts(number, 0)
        value, net = (amounts(number, n), amounts(number, 2 * n)) if credit.has_value else ((), ())
        cost = spend.get(label)
        persons = round(float(found.persons[number, :n].max()))
        rows.append(
            ReportRow(
                label, conversions, value, net, cost,
                tuple(_ratio(cost, each.estimate) for each in conversions),
                tuple(_ratio(each.estimate, cost) for each in value),
                persons, label != UNATTRIBUTED and bool(found.too_few[number, :n].all()),
            )
        )  # fmt: skip
    # Spend that brought nothing is a row as well.
    nothing = (Amount(0.0, 0.0, 0.0),) * n
    worthless = nothing if credit.has_value else ()
    for label in sorted(spend.keys() - set(credit.labels)):
        rows.append(
            ReportRow(
                label, nothing, worthless, worthless, spend[label], (None,) * n, (0.0,) * len(worthless), 0, False
            )
        )
    return tuple(rows)


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    """None where either is unknown, or nothing would be divided by."""
    if numerator is None or not denominator or denominator <= 1e-9:
        return None
    return numerator / denominator
