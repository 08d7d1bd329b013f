"""CSV that comes back as it was, and that no spreadsheet runs."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.reports.csv_text import csv_text

CELLS = {
    "nothing": (None, ""),
    "an empty text is not nothing": ("", '""'),
    "a comma": ("a,b", '"a,b"'),
    "quotes": ('say "a"', '"say ""a"""'),
    "a line end": ("a\nb", '"a\nb"'),
    "a time without zone is UTC": (datetime(2026, 10, 30, 1, 7, 16, 972685), "2026-10-30T01:07:16.972685Z"),  # noqa: DTZ001
    "a time": (datetime(2026, 10, 30, tzinfo=UTC), "2026-10-30T00:00:00Z"),
    "a day": (date(2026, 10, 30), "2026-10-30"),
    "no digit is lost": (4.505018523783589, "4.505018523783589"),
    "a decimal": (Decimal("12.50"), "12.5"),
    "a decimal of more digits than a float": (Decimal("12345678901234567.89"), "12345678901234567.89"),
    "a small decimal without an exponent": (Decimal("1E-12"), "0.000000000001"),
    "a decimal in a list": ([Decimal("0.10000000000000000001")], "[0.10000000000000000001]"),
    "a truth value as in JSON": (True, "true"),
    "a list as JSON": (["a", 1], '"[""a"", 1]"'),
    "not a number": (float("nan"), ""),
    "a formula": ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
    "a command": ("@SUM(1)", "'@SUM(1)"),
    "a formula behind a tab": ("\t=1", "'\t=1"),
    "a full-width formula": ("＝1", "'＝1"),
    "a telephone number": ("+49 170", "'+49 170"),
    "a dash": ("-", "'-"),
    "a negative number": (-3.5, "-3.5"),
    "a negative number as a text": ("-3.5", "-3.5"),
    "a share as a text": ("-24%", "-24%"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "cell"), CELLS.values(), ids=CELLS.keys())
def test_a_cell(value: object, cell: str) -> None:
    assert csv_text(["a", "b"], [(1, value)]) == f"a,b\n1,{cell}\n"


def test_a_header_is_a_cell_too() -> None:
    assert csv_text(["=1", "a,b"], []) == '\'=1,"a,b"\n'


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_every_text_comes_back(rows: list[tuple[str, str]]) -> None:
    found = list(csv.reader(io.StringIO(csv_text(["a", "b"], rows), newline="")))[1:]
    assert [[cell.removeprefix("'") for cell in row] for row in found] == [
        [cell.removeprefix("'") for cell in row] for row in rows
    ]
    assert not [cell for row in found for cell in row if cell.startswith(("=", "@", "\t", "\r"))]
