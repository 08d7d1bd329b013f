"""One conversion: every touch with its age, in or out and why, and its credit under each model."""

from __future__ import annotations

from typing import Any

from gtm_dagster.dashboard.notices import NotFoundError
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.view import View
from gtm_dagster.reports.explain_words import (
    adds_up,
    age,
    hidden_line,
    money_of,
    printed,
    source,
    value_line,
    without_credit,
)  # fmt: skip
from gtm_dagster.reports.explained_conversion import Credit, ExplainedConversion, explained, nearest_ids
from gtm_dagster.reports.names_in_text import isolated

BAR = 64
"""Width of the bar of a whole conversion, pixels."""


def context(view: View) -> dict[str, Any]:
    """The explained conversion as cells of its tables. Raises NotFoundError for an id that is not there."""
    conversion_id = view.path["id"]
    with view.reading() as con:
        each = explained(con, view.settings, conversion_id)
        if each is None:
            near = nearest_ids(con, conversion_id)
            there = f"; there are {', '.join(near)}" if near else "; the screen Journeys lists conversions"
            raise NotFoundError(f"there is no conversion {isolated(conversion_id[:200])}{there}")
    return {
        "each": each,
        "value_line": value_line(each),
        "says_value": any(
            kind.value for kind in view.settings.conversions if kind.event == each.conversion["conversion_type"]
        ),
        "hidden": hidden_line(each),
        "touches": [
            {
                "touch": touch, "age": age(touch), "source": source(touch), "is_after": touch.age_us < 0,
                "rule": touch.rule if touch.rule != "no source" else None,
            }
            for touch in each.touches
        ],
        "command": f"gtm attribute explain '{conversion_id}'",
        **_credit_rows(each),
    }  # fmt: skip


def _credit_rows(each: ExplainedConversion) -> dict[str, Any]:
    """Rows of the table of credit: one a touch, what is not shown, what nobody earned, and the sums."""
    texts = [printed(each, result) for result in each.results]
    pairs = list(zip(texts, each.results, strict=True))
    rows = [
        {
            "no": number + 1, "name": touch.channel, "is_after": touch.age_us < 0,
            "cells": [
                _cell(text.credits[number], result.credits[number], without_credit(touch, result.why_out[number]))
                for text, result in pairs
            ],
        }
        for number, touch in enumerate(each.touches)
    ]  # fmt: skip
    for name, part in (("touches not shown", "elsewhere"), ("(unattributed)", "unattributed")):
        cells = [_cell(getattr(text, part), getattr(result, part), "") for text, result in pairs]
        if any(cell["share"] for cell in cells):
            rows.append({"no": "", "name": name, "is_after": False, "cells": cells})
    return {
        "credit_rows": rows,
        "sums": [(text.total, adds_up(result)) for text, result in pairs],
        "money": money_of(each, each.conversion["value"]),
    }


def _cell(text: tuple[str, str] | None, credit: Credit | None, otherwise: str) -> dict[str, Any]:
    """A share with its value and the width of its bar; or the words that stand in its place."""
    if text is None or credit is None:
        return {"share": "", "value": "", "otherwise": otherwise, "bar": 0}
    return {
        "share": text[0], "value": text[1], "otherwise": "", "bar": f"{BAR * min(max(credit.share, 0.0), 1.0):.1f}",
    }  # fmt: skip


SCREEN = Screen(
    name="conversion", path="/conversions/{id:path}", title="One conversion", context=context, order=None, controls=()
)
