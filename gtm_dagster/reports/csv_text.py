"""A table as CSV that any reader takes and no spreadsheet runs (RFC 4180; a terminal has line feeds, a file both characters)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from gtm_dagster.reports.plain_values import plain_text

_FORMULA = re.compile(r"[ \n]*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?( ?%)?")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]], line_end: str = "\n") -> str:
    """A line a row after a header line. Times as in JSON; NULL is an empty cell and an empty text is `""`.

    A text that a spreadsheet would take for a formula (it begins with = + - @, a tab or a line end, behind blanks too, and is no number) gets
    a `'` before it: campaigns and sources come from anybody. Numbers stay as they are.
    """
    return "".join(",".join(map(_cell, row)) + line_end for row in (columns, *rows))


def _cell(value: Any) -> str:
    text = plain_text(value)
    if text is None:
        return ""
    if isinstance(value, str) and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        text = "'" + text
    if not text or any(character in text for character in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
