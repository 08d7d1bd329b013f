"""A credit report as one HTML page: no script, no other file, no other host; light, dark and on paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources

from gtm_dagster.reports.credit_report import Amount, CreditReport, ReportRow
from gtm_dagster.reports.credit_text import months, solved_headings, solved_rows, summary, windows
from gtm_dagster.reports.definitions_compared import results_that_differ
from gtm_dagster.reports.drawing.page_svg import Band, Dot, dots_and_intervals
from gtm_dagster.reports.names_in_text import isolated_in_page
from gtm_dagster.reports.number_text import amount, money

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def as_html(report: CreditReport) -> str:
    """The whole page."""
    style = (resources.files("gtm_dagster.reports") / "page.css").read_text()
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(report.title)}</title><style>{style}</style></head><body>\n"
        + "\n".join(_sections(report))
        + "\n</body></html>\n"
    )


def _sections(report: CreditReport) -> Iterator[str]:
    names = [report.name(result) for result in report.results]
    when = f"{report.period} ({report.zone})"
    yield (
        f"<header><h1>{escape(f'{report.kind} by {report.by}')}<span>{escape(when)}</span></h1>"
        f'<p class="soft">{escape(summary(report))}</p></header>'
    )
    yield _findings(report)
    yield f"<h2>Credited conversions{escape(windows(report))}</h2>"
    yield '<p class="soft">A line is the 95 % interval, the dot the credit; paler where fewer than 30 persons converted.</p>'
    chart = dots_and_intervals(report.title, [_band(report, row) for row in report.rows])
    yield f'<div class="wide">{chart}</div>'
    yield _amounts(report, names, "Conversions by model, with 95 % intervals", [row.conversions for row in report.rows])
    if report.credit.has_value:
        yield f"<h2>Credited value in {escape(report.kind.currency or '')}</h2>"
        yield _amounts(report, names, "Gross value by model, with 95 % intervals", [row.value for row in report.rows])
    if report.refunds:
        caption = "Net value: what was given back is taken off, in the day of the conversion"
        yield _amounts(report, names, caption, [row.net_value for row in report.rows])
    for solved in report.solved:
        yield f"<h2>{escape(str(solved.result))}: whole months, {months(solved)}</h2>"
        rows = solved_rows(solved)
        cells = [[_cell(each) for each in pair] for _, pair in rows]
        headings = [report.by, *solved_headings(report, solved)]
        yield _table("A data-driven model is solved by month", headings, [(label, False) for label, _ in rows], cells)
    if any(row.spend is not None for row in report.rows):
        yield from _money(report, names)
    if report.definitions:
        yield from _definitions(report)
    yield (
        f"<footer><p>Intervals: {report.credit.replicates:,} draws of whole persons (bootstrap), percentiles 2.5 and 97.5. "
        "Of twenty sentences about chance one may be chance.</p><p>Credit is correlation: it tells which touches went "
        "before conversions, not what would have happened without them. Only an experiment tells that.</p></footer>"
    )


def _findings(report: CreditReport) -> str:
    names = [row.label for row in report.rows]
    items = "".join(f"<li>{isolated_in_page(sentence, names)}</li>" for sentence in report.findings)
    return f'<ul class="findings">{items}</ul>' if items else ""


def _band(report: CreditReport, row: ReportRow) -> Band:
    dots = tuple(
        Dot(each.estimate, each.low, each.high, f"{amount(each.estimate)} {report.name(result)}")
        for result, each in zip(report.results, row.conversions, strict=True)
    )
    return Band(row.label, dots, row.too_few)


def _amounts(report: CreditReport, names: Sequence[str], caption: str, rows: Sequence[Sequence[Amount]]) -> str:
    cells = [[_cell(each) for each in amounts] for amounts in rows]
    return _table(caption, [report.by, *names], [(row.label, row.too_few) for row in report.rows], cells)


def _cell(each: Amount) -> str:
    """A figure over its interval, where it has one."""
    ends = f" <small>{amount(each.low)}–{amount(each.high)}</small>" if each.low == each.low else ""
    return amount(each.estimate) + ends


def _money(report: CreditReport, names: Sequence[str]) -> Iterator[str]:
    yield f'<h2>Spend, cost a conversion, value per spend</h2><p class="soft">In {escape(report.spend_currency or "")}.</p>'
    spent = [row for row in report.rows if row.spend is not None]
    labels = [(row.label, row.too_few) for row in spent]
    cells = [[money(row.spend), *map(money, row.cpa)] for row in spent]
    yield _table("Spend, and what a conversion costs (CPA) by model", [report.by, "spend", *names], labels, cells)
    if report.credit.has_value:
        roas = [["–" if each is None else f"{each:,.2f}" for each in row.roas] for row in spent]
        yield _table("Value per spend (ROAS) by model", [report.by, *names], labels, roas)


def _definitions(report: CreditReport) -> Iterator[str]:
    yield "<h2>The same events under each definition of a session</h2>"
    names = [each.definition for each in report.definitions]
    yield _table(
        "Sessions", ["", *names], [("sessions", False)], [[f"{each.sessions:,}" for each in report.definitions]]
    )
    labels = [(row.label, False) for row in report.rows]
    differing = results_that_differ(report.definitions, len(report.results))
    for number in differing:
        cells = [[amount(each.credit_of(row.label, number)) for each in report.definitions] for row in report.rows]
        yield _table(f"Conversions by {report.name(report.results[number])}", [report.by, *names], labels, cells)
    if len(differing) < len(report.results):
        same = [report.name(result) for i, result in enumerate(report.results) if i not in differing]
        yield f'<p class="soft">No difference in {escape(", ".join(same))}.</p>'


def _few(few: bool) -> str:
    return ' class="few"' if few else ""


def _table(
    caption: str, headings: Sequence[str], labels: Sequence[tuple[str, bool]], cells: Sequence[Sequence[str]]
) -> str:
    """A table whose cells are HTML already; labels and headings are escaped here."""
    head = "".join(f'<th scope="col">{escape(heading).replace("_", "_<wbr>")}</th>' for heading in headings)
    body = "".join(
        f'<tr{_few(few)}><th scope="row"><bdi>{escape(label)}</bdi></th>'
        + "".join(f"<td>{cell}</td>" for cell in row)
        + "</tr>"
        for (label, few), row in zip(labels, cells, strict=True)
    )
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
