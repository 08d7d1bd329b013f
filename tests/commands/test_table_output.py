"""Rows as a table for 80 columns, CSV, Markdown and JSON."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gtm_dagster.commands.drawn_table import drawn_table
from gtm_dagster.commands.output import Problem
from gtm_dagster.commands.table_output import Form, flat, form_of, say_table

ID = "01a22263-8245-7e11-9d10-0123456789ab"
AT = datetime(2026, 10, 30, 1, 7, 16, 972685)  # noqa: DTZ001 - as DuckDB gives it


def test_what_fits_stands_side_by_side() -> None:
    assert drawn_table(["channel", "conversions"], [("Paid Search", 4.505018523783589), ("Direct", 12)], 80) == (
        "channel      conversions\n"
        "───────────  ───────────\n"
        "Paid Search        4.505\n"
        "Direct                12"
    )  # fmt: skip


def test_what_does_not_fit_is_a_record_below_the_other() -> None:
    columns, row = [f"column_{i}" for i in range(16)], [ID, AT, *range(14)]
    lines = drawn_table(columns, [row, row], 80).splitlines()
    assert lines[0].startswith("─[ 1 ]─") and lines[17].startswith("─[ 2 ]─")
    assert lines[1] == f"column_0   {ID}"
    assert lines[2] == "column_1   2026-10-30 01:07:16.972685Z"


def test_long_texts_break_at_blanks_beside_names_that_do_not() -> None:
    meaning = "One row a channel and a day in the report time zone, of the newest refresh alone"
    lines = drawn_table(["table", "meaning"], [("marts.channel_attribution", meaning)], 80).splitlines()
    assert lines[2].startswith("marts.channel_attribution  One row") and len(lines) == 4
    assert max(map(len, lines)) <= 80


def test_long_texts_of_a_record_break_at_blanks_below_where_they_begin() -> None:
    columns = ["campaign", "document", *(f"column_{i}" for i in range(12))]
    row = ["a very long campaign " * 8, json.dumps({"a b": "c d " * 40}), *("0123456789" for _ in range(12))]
    lines = drawn_table(columns, [row], 80).splitlines()
    assert lines[1].startswith("campaign   a very long") and lines[2].startswith("           ")
    assert [line for line in lines if cell_len(line) > 80] == [f"document   {row[1]}"], "a document is not broken"


def test_a_document_is_not_broken() -> None:
    document = json.dumps({"message": "a text of many words that is longer than a line of the terminal " * 2})
    assert document in drawn_table(["id", "raw"], [(ID, document)], 80)


NUMBERS = {
    "four digits of the largest": ([4.505018523783589, 0.25], ["4.505", "0.250"]),
    "cents of large ones": ([123456.789, 3.0], ["123456.79", "3.00"]),
    "shares": ([0.123456789, 0.5], ["0.1235", "0.5000"]),
    "whole numbers": ([3.0, 100.0], ["3", "100"]),
    "a small one is not 0": ([500.5, 0.00012], ["500.50", "0.00012"]),
    "nothing is a dash, not 0": ([None, float("nan"), 1.5], ["-", "-", "1.500"]),
    "beyond all digits": ([1e300, float("inf")], ["1e+300", "inf"]),
    "decimals are exact": ([Decimal("1.10"), Decimal("1E+2")], ["1.10", "100"]),
    "negative": ([-0.5, -12.25], ["-0.50", "-12.25"]),
    "integers keep every digit": ([9007199254740993], ["9007199254740993"]),
}  # fmt: skip


@pytest.mark.parametrize(("values", "shown"), NUMBERS.values(), ids=NUMBERS.keys())
def test_numbers_of_a_column(values: list[Any], shown: list[str]) -> None:
    lines = drawn_table(["n"], [(value,) for value in values], 80).splitlines()[2:]
    assert [line.strip() for line in lines] == shown


cells = st.one_of(
    st.none(), st.integers(), st.text(max_size=30), st.dates(), st.datetimes(), st.booleans(),
    st.from_regex(r"[a-z0-9_-]{1,90}", fullmatch=True),
)  # fmt: skip


@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=4)))
def test_nothing_is_cut_and_a_table_is_never_wider_than_the_screen(rows: list[list[Any]]) -> None:
    text = drawn_table([f"c{i}" for i in range(len(rows[0]))], rows, 80)
    shown = " ".join(text.split())
    for value in (cell for row in rows for cell in row):
        if isinstance(value, int | date) and not isinstance(value, bool | datetime):
            assert str(value) in shown
        elif isinstance(value, str) and " " not in value and value.isascii() and value.isprintable():
            assert value in shown
    if not text.startswith("─["):
        assert max(map(cell_len, text.splitlines())) <= 80


def test_markdown_has_no_markup_of_strangers(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(["campaign", "n"], [("a|b <img> [x](y) `c`", 1.123456789), (None, 2)], Form.MD)
    assert capsys.readouterr().out.splitlines() == [
        "| campaign | n |",
        "| --- | ---: |",
        r"| a\|b &lt;img> \[x](y) \`c\` | 1.123456789 |",
        "|  | 2 |",
    ]


def test_json_is_a_list_of_objects(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(["a", "a"], [(1, None)], Form.JSON)
    assert json.loads(capsys.readouterr().out) == [{"a": 1, "a_2": None}]


@pytest.mark.parametrize(
    ("format", "as_json", "terminal", "form"),
    [
        pytest.param(None, False, True, Form.TABLE, id="a person"),
        pytest.param(None, False, False, Form.CSV, id="a pipe"),
        pytest.param(None, True, True, Form.JSON, id="--json"),
        pytest.param(Form.JSON, True, False, Form.JSON, id="the same wish twice"),
        pytest.param(Form.MD, False, True, Form.MD, id="--format on a terminal"),
        pytest.param(Form.TABLE, False, False, Form.TABLE, id="--format in a pipe"),
    ],
)
def test_the_form_that_is_asked_for(
    format: Form | None, as_json: bool, terminal: bool, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    assert form_of(format, as_json) is form


def test_two_different_forms_are_wrong_usage() -> None:
    with pytest.raises(Problem, match="--json and --format csv") as error:
        form_of(Form.CSV, True)
    assert error.value.code == 2


def test_a_report_is_text_in_a_pipe_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    assert form_of(None, False, piped=Form.TABLE) is Form.TABLE


def test_documents_as_rows() -> None:
    assert flat([{"a": 1, "b": [2]}, {"a": 3, "b": []}]) == (["a", "b"], [[1, [2]], [3, []]])
    assert flat([]) == ([], [])
