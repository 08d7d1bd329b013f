"""A credit report as one JSON document."""

from __future__ import annotations

from typing import Any

from gtm_dagster.reports.credit_report import Amount, CreditReport, ReportRow
from gtm_dagster.reports.credit_text import solved_rows
from gtm_dagster.warehouse.figures.credit_sample import Kind


def as_json(report: CreditReport) -> dict[str, Any]:
    """Everything of the report, keyed by name; each row has a list of results, each with its model and window."""
    return {
        "since": report.period.since,
        "until": report.period.until,
        "timezone": report.zone,
        "by": report.by,
        **_kind(report.kind),
        "others": [_kind(each) for each in report.other_kinds],
        "spend_currency": report.spend_currency,
        "replicates": report.credit.replicates,
        "rows": [_row(report, row) for row in report.rows],
        "not_computed": [
            {"model": each.model, "window_hours": each.window_hours, "reason": each.reason} for each in report.not_computed
        ],
        "data_driven": [
            {
                "model": solved.result.model, "window_hours": solved.result.window_hours,
                "first_month": solved.first_month, "last_month": solved.last_month, report.by: label,
                **_interval("conversions", pair[0]), **(_interval("value", pair[1]) if pair[1:] else {"value": None}),
            }
            for solved in report.solved
            for label, pair in solved_rows(solved)
        ],
        "definitions": [
            {
                "definition": each.definition,
                "sessions": each.sessions,
                "rows": [
                    {report.by: label, "model": result.model, "window_hours": result.window_hours, "conversions": credit[i]}
                    for label, credit in each.conversions.items()
                    for i, result in enumerate(report.results)
                ],
            }
            for each in report.definitions
        ],
        "findings": list(report.findings),
    }  # fmt: skip


def result_rows(report: CreditReport) -> list[dict[str, Any]]:
    """The figures as a table: a row of the report and a result, which say of what period, type and currency they are."""
    of = {
        "since": report.period.since, "until": report.period.until,
        "conversion_type": report.kind.conversion_type, "currency": report.kind.currency,
    }  # fmt: skip
    rows = [_row(report, row) for row in report.rows]
    return [
        {**of, **{name: row[name] for name in row if name != "results"}, **each}
        for row in rows
        for each in row["results"]
    ]


def _kind(kind: Kind) -> dict[str, Any]:
    return {
        "conversion_type": kind.conversion_type,
        "currency": kind.currency,
        "conversions": kind.conversions,
        "persons": kind.persons,
        "value": kind.value,
        "refunded": kind.refunded,
    }


def _row(report: CreditReport, row: ReportRow) -> dict[str, Any]:
    results = []
    for i, result in enumerate(report.results):
        results.append(
            {
                "model": result.model,
                "window_hours": result.window_hours,
                **_interval("conversions", row.conversions[i]),
                **(_interval("value", row.value[i]) if row.value else {"value": None}),
                **(_interval("net_value", row.net_value[i]) if row.net_value else {"net_value": None}),
                "cpa": row.cpa[i],
                "roas": row.roas[i] if row.roas else None,
            }
        )
    return {
        report.by: row.label,
        "persons": row.persons,
        "too_few": row.too_few,
        "spend": row.spend,
        "results": results,
    }


def _interval(name: str, amount: Amount) -> dict[str, float]:
    return {name: amount.estimate, f"{name}_low": amount.low, f"{name}_high": amount.high}
