"""A credit report as plain text of at most 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from gtm_dagster.reports.credit_report import Amount, CreditReport, ReportRow
from gtm_dagster.reports.definitions_compared import results_that_differ
from gtm_dagster.reports.number_text import amount, counted, money
from gtm_dagster.warehouse.figures.solved_months import SolvedCredit

COLUMNS = 80
_LABEL = 22
_CAUTION = (
    "Intervals are 95 %, from {replicates:,} draws of whole persons; of twenty sentences about chance one may be chance. "
    "Credit is correlation: only an experiment tells what a channel causes."
)


def as_text(report: CreditReport) -> str:
    """The report for a terminal or a pipe."""
    return "\n".join(line.rstrip() for line in _lines(report)) + "\n"


def _lines(report: CreditReport) -> Iterator[str]:
    yield from _wrapped(report.title)
    yield "=" * min(len(report.title), COLUMNS)
    yield from _wrapped(summary(report))
    yield ""
    yield from _wrapped(f"Credited conversions{windows(report)}")
    headings = [report.name(result) for result in report.results]
    yield from _blocks(report, headings, [[_cell(each) for each in row.conversions] for row in report.rows])
    if report.credit.has_value:
        yield ""
        yield f"Credited value in {report.kind.currency}{', gross' if report.refunds else ''}"
        yield from _blocks(report, headings, [[_cell(each) for each in row.value] for row in report.rows])
    if report.refunds:
        yield ""
        yield f"Credited value in {report.kind.currency}, net of what was given back"
        yield from _blocks(report, headings, [[_cell(each) for each in row.net_value] for row in report.rows])
    for solved in report.solved:
        yield ""
        yield from _wrapped(f"{solved.result} credits conversions by whole months: {months(solved)}")
        rows = [(label, [_solved(each) for each in pair]) for label, pair in solved_rows(solved)]
        yield from _table(report.by, solved_headings(report, solved), rows)
    yield from _money(report, headings)
    if any(row.too_few for row in report.rows):
        yield "* fewer than 30 converting persons"
    yield from comparison_lines(report)
    yield ""
    yield "Findings"
    for sentence in report.findings:
        yield from textwrap.wrap(sentence, COLUMNS - 2, initial_indent="- ", subsequent_indent="  ")
    yield ""
    yield from _wrapped(_CAUTION.format(replicates=report.credit.replicates))


def _money(report: CreditReport, headings: Sequence[str]) -> Iterator[str]:
    """Spend with the cost of a conversion and the value it brought, of what has spend."""
    spent = [row for row in report.rows if row.spend is not None]
    if not spent:
        return
    yield ""
    yield f"Spend in {report.spend_currency}, and what a conversion costs (CPA)"
    yield from _blocks(report, ["spend", *headings], [[money(row.spend), *map(money, row.cpa)] for row in spent], spent)
    if report.credit.has_value:
        yield ""
        yield "Value per spend (ROAS)"
        yield from _blocks(report, headings, [[*map(_times, row.roas)] for row in spent], spent)


def summary(report: CreditReport) -> str:
    """How many there are, and what else happened in the period that is not added here."""
    text = f"{counted(report.kind.conversions, 'conversion')} of {counted(report.kind.persons, 'person')}."
    if report.kind.value is not None:
        text += f" Value {money(report.kind.value)} {report.kind.currency}"
        text += f", of which {money(report.kind.refunded)} were given back." if report.refunds else "."
    if report.other_kinds:
        others = "; ".join(f"{each} ({each.conversions:,})" for each in report.other_kinds)
        text += f" Not in this report, for unlike things are not added: {others}."
    return text


def windows(report: CreditReport) -> str:
    """The lookback that all results share, else nothing: it stands behind each name then."""
    return f", at most {report.results[0].window_hours:g} h before each conversion" if report.one_window else ""


def comparison_lines(report: CreditReport) -> Iterator[str]:
    """Sessions and credit under other definitions of a session, beside those of the settings."""
    if not report.definitions:
        return
    yield ""
    yield "The same events under each definition of a session"
    names = [each.definition for each in report.definitions]
    yield from _table("", names, [("sessions", [f"{each.sessions:,}" for each in report.definitions])])
    differing = results_that_differ(report.definitions, len(report.results))
    for number in differing:
        rows = [
            (row.label, [amount(each.credit_of(row.label, number)) for each in report.definitions])
            for row in report.rows
        ]
        yield ""
        yield from _table(report.name(report.results[number]), names, rows)
    if len(differing) < len(report.results):
        same = [report.name(result) for i, result in enumerate(report.results) if i not in differing]
        yield from _wrapped(f"No difference in {', '.join(same)}.")


def _blocks(
    report: CreditReport, headings: Sequence[str], cells: Sequence[Sequence[str]], of: Sequence[ReportRow] | None = None
) -> Iterator[str]:
    """The table of the rows (`of`: some of them) in as many blocks of columns as 80 characters need."""
    of = report.rows if of is None else of
    widths = [max(len(heading), *(len(row[i]) for row in cells)) for i, heading in enumerate(headings)]
    first = 0
    while first < len(headings):
        last, used = first + 1, _LABEL + 2 + widths[first]
        while last < len(headings) and used + 2 + widths[last] <= COLUMNS:
            used += 2 + widths[last]
            last += 1
        rows = [(_label(row), cells[i][first:last]) for i, row in enumerate(of)]
        yield from _table(report.by, headings[first:last], rows)
        first = last
        if first < len(headings):
            yield ""


def _table(corner: str, headings: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    widths = [max(len(heading), *(len(row[i]) for _, row in rows)) for i, heading in enumerate(headings)]
    for label, row in [(corner, headings), *rows]:
        short = _cut(label, _LABEL)
        yield (
            short
            + " " * (_LABEL - cell_len(short))
            + "".join(f"  {cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        )


def _label(row: ReportRow) -> str:
    """At most as wide as its column, with the mark of too few."""
    mark = "*" if row.too_few else ""
    return _cut(row.label, _LABEL - len(mark)) + mark


def _cut(label: str, width: int) -> str:
    if cell_len(label) <= width:
        return label
    while cell_len(label) > width - 1:
        label = label[:-1]
    return label + "…"


def _cell(each: Amount) -> str:
    return f"{amount(each.estimate)} ({amount(each.low)}–{amount(each.high)})"


def months(solved: SolvedCredit) -> str:
    """The months in words."""
    first, last = f"{solved.first_month:%Y-%m}", f"{solved.last_month:%Y-%m}"
    return first if first == last else f"{first} to {last}"


def solved_headings(report: CreditReport, solved: SolvedCredit) -> list[str]:
    """What the columns of a data-driven result hold."""
    return ["conversions", *([f"value, {report.kind.currency}"] if solved.value is not None else [])]


def solved_rows(solved: SolvedCredit) -> list[tuple[str, list[Amount]]]:
    """Label, and its conversions and value; the ends of an interval are NaN where there is none."""
    tables = [solved.conversions, *([solved.value] if solved.value is not None else [])]
    return [
        (label, [Amount(*(float(each) for each in table[i])) for table in tables])
        for i, label in enumerate(solved.labels)
    ]


def _solved(each: Amount) -> str:
    return _cell(each) if each.low == each.low else amount(each.estimate)


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, COLUMNS)
