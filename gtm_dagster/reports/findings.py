"""What a report says in words: one sentence a finding, each from the replicates and none from two intervals side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gtm_dagster.attribution.intervals import Difference
from gtm_dagster.reports.credit_report import CreditReport, ReportRow
from gtm_dagster.reports.number_text import amount, money, share
from gtm_dagster.warehouse.figures.credit_sample import UNATTRIBUTED

MOST_OF_A_KIND = 5
"""Sentences of one sort; the largest differences come first, the others are counted."""


def findings(report: CreditReport) -> tuple[str, ...]:
    """The sentences, the most useful first."""
    return (
        *_leader(report), *_opens_or_closes(report), *_money(report), *_since_before(report),
        *_definitions(report), *_too_few(report),
        *_unattributed(report), *_held_back(report),
    )  # fmt: skip


def _named(report: CreditReport) -> list[tuple[int, ReportRow]]:
    """The rows of one channel, source or campaign that earned something, each with its place in the intervals."""
    earned = report.rows[: len(report.credit.labels)]
    return [(i, row) for i, row in enumerate(earned) if row.label != UNATTRIBUTED and i != report.credit.others]


def _leader(report: CreditReport) -> Iterator[str]:
    """Who is first: by every model the same, or not."""
    ranked = [(i, row) for i, row in _named(report) if not row.too_few]
    if len(ranked) < 2:
        return
    first_by: dict[str, list[str]] = {}
    for result, declared in enumerate(report.results):
        best = max(ranked, key=lambda each: each[1].conversions[result].estimate)
        first_by.setdefault(best[1].label, []).append(report.name(declared))
    if len(first_by) > 1:
        places = "; ".join(f"{label} by {_listed(models)}" for label, models in first_by.items())
        yield f"The first place depends on the model: {places}."
        return
    order = sorted(ranked, key=lambda each: -each[1].conversions[0].estimate)
    (one, leader), (other, second) = order[0], order[1]
    lead = report.credit.intervals.difference(one, 0, 0, other_label=other)
    by = "" if len(report.results) == 1 else " by every model"
    yield (
        f"{leader.label} has most{by}: {amount(leader.conversions[0].estimate)} by {report.name(report.results[0])}, "
        f"{second.label} {amount(second.conversions[0].estimate)}; the lead is {_chance(lead)}."
    )


def _opens_or_closes(report: CreditReport) -> Iterator[str]:
    """Channels that first_touch and last_touch value differently."""
    places = {result.rule: i for i, result in reversed(list(enumerate(report.results)))}
    if not {"first_touch", "last_touch"} <= places.keys():
        return
    first, last = places["first_touch"], places["last_touch"]
    found: list[tuple[ReportRow, Difference]] = []
    for i, row in _named(report):
        difference = report.credit.intervals.difference(i, last, first)
        if difference.beyond and not row.too_few:
            found.append((row, difference))
    found.sort(key=lambda each: -abs(each[1].estimate))
    hours = {report.results[first].window_hours, report.results[last].window_hours}
    caution = "" if len(hours) == 1 else ", and some of it is their windows'"
    for row, difference in found[:MOST_OF_A_KIND]:
        opens = difference.estimate < 0
        yield (
            f"{row.label} gets {amount(row.conversions[last].estimate)} conversions by {report.name(report.results[last])} "
            f"and {amount(row.conversions[first].estimate)} by {report.name(report.results[first])}: it "
            f"{'opens more than it closes' if opens else 'closes more than it opens'}; "
            f"the difference is beyond chance{caution}."
        )
    if len(found) > MOST_OF_A_KIND:
        yield f"So do {len(found) - MOST_OF_A_KIND} others, by less."
    if not found:
        yield f"No {report.by} differs between first_touch and last_touch beyond chance."


def _money(report: CreditReport) -> Iterator[str]:
    """What a conversion costs, and spend that brought none."""
    currency = report.spend_currency or ""
    paid = [row for row in report.rows if row.spend]
    priced = [(row, row.cpa[0]) for row in paid if row.cpa[0] is not None and not row.too_few]
    if len(priced) >= 2:
        cheap, dear = min(priced, key=lambda each: each[1] or 0), max(priced, key=lambda each: each[1] or 0)
        yield (
            f"By {report.name(report.results[0])} a conversion costs {money(cheap[1])} {currency} in {cheap[0].label} "
            f"and {money(dear[1])} {currency} in {dear[0].label}."
        )
    for row in paid:
        if all(each.estimate <= 1e-9 for each in row.conversions):
            yield f"{row.label} costs {money(row.spend)} {currency} and has no conversion by any model."


def _since_before(report: CreditReport) -> Iterator[str]:
    """What changed against the period before."""
    if report.before_note:
        yield report.before_note[0].upper() + report.before_note[1:] + "."
    if report.before is None:
        return
    places = {label: i for i, label in enumerate(report.before.labels)}
    now, then = report.credit.intervals, report.before.intervals
    found = []
    for i, row in _named(report):
        if row.label not in places or row.too_few:
            continue
        earlier = float(then.estimate[places[row.label], 0])
        drawn = now.replicates[i, :, 0] - _resized(then.replicates[places[row.label], :, 0], now.replicates.shape[1])
        low, high = np.quantile(drawn, [0.025, 0.975])
        if (low > 0 or high < 0) and earlier > 0:
            found.append((row.label, row.conversions[0].estimate, earlier))
    found.sort(key=lambda each: -abs(each[1] - each[2]))
    for label, current, earlier in found[:MOST_OF_A_KIND]:
        yield (
            f"{label}: {amount(current)} conversions by {report.name(report.results[0])} after {amount(earlier)} in the period "
            f"before ({current / earlier - 1:+.0%}), beyond chance."
        )
    if not found:
        yield f"No {report.by} differs from the period before ({report.period.before}) beyond chance."


def _resized(drawn: np.ndarray, n: int) -> np.ndarray:
    """As many independent replicates; two periods may have had different numbers of them."""
    return np.resize(drawn, n)


def _definitions(report: CreditReport) -> Iterator[str]:
    """What each other definition of a session changes: sessions, and the label it moves most by any result."""
    if not report.definitions:
        return
    own = report.definitions[0]
    for other in report.definitions[1:]:
        moved = [
            (other.credit_of(label, i) - own.credit_of(label, i), label, i)
            for label in {*own.conversions, *other.conversions}
            for i in range(len(report.results))
        ]
        change, label, i = max(moved, key=lambda each: (abs(each[0]), each[1], -each[2]))
        sentence = f"Under the definition {other.definition} there are {other.sessions:,} sessions, under {own.definition} {own.sessions:,}"
        if abs(change) < 0.05:
            yield f"{sentence}; the credit of no {report.by} changes."
            continue
        yield (
            f"{sentence}; most changes for {label}: {amount(other.credit_of(label, i))} conversions by "
            f"{report.name(report.results[i])} in place of {amount(own.credit_of(label, i))}."
        )


def _too_few(report: CreditReport) -> Iterator[str]:
    few = [row for _, row in _named(report) if row.too_few]
    if not few:
        return
    if len(few) == 1:
        yield f"{few[0].label}: too few conversions ({_most(few[0])}) to rank."
        return
    shown = ", ".join(f"{row.label} ({_most(row)})" for row in few[:8])
    more = f" and {len(few) - 8} more" if len(few) > 8 else ""
    yield f"Too few conversions to rank: {shown}{more}."


def _most(row: ReportRow) -> str:
    return amount(max(each.estimate for each in row.conversions))


def _unattributed(report: CreditReport) -> Iterator[str]:
    row = next((row for row in report.rows if row.label == UNATTRIBUTED), None)
    if row is None or not report.kind.conversions:
        return
    shares = [each.estimate / report.kind.conversions for each in row.conversions]
    least, most = min(shares), max(shares)
    if most <= 1e-9:
        return
    models = [report.name(report.results[i]) for i, each in enumerate(shares) if each > most - 1e-9]
    span = share(most) if most - least < 0.005 else f"{share(least)} to {share(most)}"
    whose = "" if len(models) == len(shares) else f" (most by {_listed(models)})"
    yield f"Nobody earned {span} of the conversions: no touch in the window before them{whose}."


def _held_back(report: CreditReport) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for each in report.not_computed:
        reasons.setdefault(each.reason, []).append(f"{each.model} {each.window_hours:g} h")
    for reason, models in reasons.items():
        yield f"Not computed: {_listed(models)}: {reason}."


def _chance(difference: Difference) -> str:
    return "beyond chance" if difference.beyond else "within chance"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
