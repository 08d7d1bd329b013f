"""CSV files in parts: the rows do not depend on where a part ends; a text behind a closing quote is no cell."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.importing.csv_rows import csv_rows
from gtm_dagster.importing.file_bytes import ImportFailed, find_file
from gtm_dagster.importing.mapping import Mapping
from tests.profiles import examples

Row = tuple[int, object]


def rows_of(path: Path, text: str | bytes, block: int = 1 << 20, **layout: object) -> list[Row]:
    """(number, cells or the reason's code) of every row of a file with this text."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    found: list[Row] = []
    for part in csv_rows(find_file(path), Mapping(**layout), block):  # type: ignore[arg-type]
        columns = [column.to_pylist() for column in part.table.columns]
        found += [(int(number), cells) for number, *cells in zip(part.numbers, *columns, strict=True)]
        found += [(row.row_no, row.error.code) for row in part.broken]
    return sorted(found, key=lambda row: row[0])


@pytest.mark.parametrize(
    ("text", "layout", "expected"),
    [
        ('"x",1\ny,2\n', {}, [["x", "1"], ["y", "2"]]),
        ('"x ""y"" z",1\n', {}, [['x "y" z', "1"]]),
        ('"x\ny",1\n"a\r\n\r\nb",2\nc,3\n', {}, [["x\ny", "1"], ["a\r\n\r\nb", "2"], ["c", "3"]]),
        ('5" disk,1\n"x",2\n', {}, [['5" disk', "1"], ["x", "2"]]),
        (' "x",1\n', {}, [[' "x"', "1"]]),
        ('"He said \\"spring\\" sale",1\nplain,2\n', {}, ["bad_quotes", ["plain", "2"]]),
        ('ok,0\n"a" b,1\n"c",2\n', {}, [["ok", "0"], "bad_quotes", ["c", "2"]]),
        ('"a"b"c",1\nd,2\n', {}, ["bad_quotes", ["d", "2"]]),
        ('"a","b"x\n', {}, ["bad_quotes"]),
        ('"a\nb"x,1\n\nd,2\n', {}, ["bad_quotes", ["d", "2"]]),
        ('"a" ,1\n', {}, ["bad_quotes"]),
        ('"He said \\"spring\\" sale",1\n', {"escape": "\\"}, [['He said "spring" sale', "1"]]),
        ('"ends in \\"",1\nx,2\n', {"escape": "\\"}, [['ends in "', "1"], ["x", "2"]]),
        ('"a\\\\",1\n', {"escape": "\\"}, [["a\\", "1"]]),
        ('"both \\" and """,1\n', {"escape": "\\"}, [['both " and "', "1"]]),
        ('"a\\"\nb",1\nx,2\n', {"escape": "\\"}, [['a"\nb', "1"], ["x", "2"]]),
        ('\\N,1\n"\\N",2\nx\\\\N,\\N\n', {"escape": "\\"}, [[None, "1"], ["N", "2"], ["x\\N", None]]),
        ('a\\,b,1\n', {"escape": "\\"}, [["a,b", "1"]]),
        ('"a" b,1\n', {"escape": "\\"}, ["bad_quotes"]),
        ('"a" b,1\nc\\"d,2\n', {"escape": "\\"}, ["bad_quotes", ['c"d', "2"]]),
        ("'it''s',1\n", {"quote": "'"}, [["it's", "1"]]),
        ("'it'is,1\n", {"quote": "'"}, ["bad_quotes"]),
        ('"a" b,1\n', {"quote": ""}, [['"a" b', "1"]]),
        ('"a" b;1\nc;2\n', {"delimiter": ";"}, ["bad_quotes", ["c", "2"]]),
        ("x,1\n\n\ny\nz,3\n", {}, [["x", "1"], "ragged_row", ["z", "3"]]),
        ("x,1\ny\nz,3\n", {"ragged": "pad"}, [["x", "1"], ["y", None], ["z", "3"]]),
        ("x,1\r\ny,2\r\n", {}, [["x", "1"], ["y", "2"]]),
        ("x,1\ry,2", {}, [["x", "1"], ["y", "2"]]),
        ("", {}, []),
        ("\n\n", {}, []),
    ],
    ids=[
        "quoted", "doubled", "cells of lines", "an inch mark", "a blank before a quote", "backslash quotes without escape",
        "text after a quote", "quotes glued together", "in the last cell", "after a cell of lines", "a blank after a quote",
        "escape", "an escaped quote last", "an escaped escape", "both ways", "an escaped quote before a line end", "MySQL's NULL",
        "an escaped delimiter", "text after a quote with escape", "with escape elsewhere", "single quotes", "single quotes, text after",
        "no quotes", "semicolons", "ragged after blank lines", "padded", "CRLF", "CR", "no rows", "blank lines",
    ],
)  # fmt: skip
@pytest.mark.parametrize("block", [1, 3, 1 << 20])
def test_rows_are_whole_whatever_the_parts(tmp_path: Path, text: str, layout: dict, expected: list, block: int) -> None:
    header = "a;b\n" if layout.get("delimiter") else "a,b\n"
    assert rows_of(tmp_path / "e.csv", header + text, block, **layout) == list(enumerate(expected, 1))


TITLES = "# ----\n# Free form\n# 20261101-20261130\n\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param(TITLES + "a,b\n1,2\n", ["1", "2"], id="lines of title"),
        pytest.param(TITLES + "a,b\n1,2", ["1", "2"], id="without an end of line"),
        pytest.param("x\n" * 20 + "a,b\n1,2\n", ["1", "2"], id="the last line that is looked at"),
        pytest.param("a,b\n1,2\n" + "\n" * 60, ["1", "2"], id="no title"),
        pytest.param("a,b\na,b\n", ["a", "b"], id="a row like the header"),
    ],
)
@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_lines_of_title_before_the_header_are_no_rows(tmp_path: Path, text: str, names: list[str], block: int) -> None:
    columns = {"user_id": "a", "event_name": "b"}
    assert rows_of(tmp_path / "e.csv", text, block, columns=columns) == [(1, names)]


def test_without_a_header_that_fits_the_first_line_is_it(tmp_path: Path) -> None:
    text = "x\n" * 21 + "a,b\n"
    assert len(rows_of(tmp_path / "e.csv", text, columns={"user_id": "a", "event_name": "b"})) == 21


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_the_line_in_which_excel_names_the_delimiter_is_read_so(tmp_path: Path, block: int) -> None:
    assert rows_of(tmp_path / "e.csv", 'sep=;\r\na;b\r\n"x,y";1\r\n', block) == [(1, ["x,y", "1"])]


cell = st.text(alphabet='ab",\n\r\\ ;é', max_size=6)


@given(st.lists(st.tuples(cell, cell), max_size=12), st.integers(1, 40), st.sampled_from(["\n", "\r\n"]))
@examples(200)
def test_what_a_csv_writer_writes_comes_back(tmp_path_factory, rows, block, ending):  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("csv") / "e.csv"
    written = io.StringIO()
    csv.writer(written, lineterminator=ending, quoting=csv.QUOTE_ALL).writerows([("x", "y"), *rows])
    expected = [[cell or None for cell in row] for row in rows]
    assert rows_of(path, written.getvalue(), block) == list(enumerate(expected, 1))


@given(st.text(alphabet='ab",\n\r\\', max_size=30), st.integers(1, 8), st.sampled_from(["", "\\"]))
@examples(300)
def test_parts_change_nothing_in_any_text(tmp_path_factory, text, block, escape):  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("csv") / "e.csv"

    def outcome(block: int) -> list[Row] | str:
        try:
            return rows_of(path, "x,y\n" + text, block, escape=escape)
        except ImportFailed as error:
            return str(error)

    assert outcome(block) == outcome(1 << 20)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('a,b\nx,1\n"y,2\nz,3\n', r'line 3 opens a quote that never closes; .*escape = "\\\\"'),
        ('a,b\nx,1\n"a\nb",1\n"y,2\nz,3\n', "line 5 opens a quote"),
        ('a,b\n5" x,1\n"y,2\n', "line 3 opens a quote"),
        ('"a,b\nx,1\n', "header"),
    ],
    ids=["one", "after a cell of lines", "after an inch mark", "in the header"],
)
@pytest.mark.parametrize("block", [5, 1 << 20])
def test_a_quote_that_never_closes_is_named_by_its_line(tmp_path: Path, text: str, says: str, block: int) -> None:
    with pytest.raises(ImportFailed, match=says):
        rows_of(tmp_path / "e.csv", text, block)


@pytest.mark.parametrize("block", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "utf-8-sig"])
def test_a_character_that_two_parts_share_is_whole(tmp_path: Path, encoding: str, block: int) -> None:
    text = 'Stadt,"größer\nals"\nKöln,1\nDüsseldorf,2\n'
    rows = rows_of(tmp_path / "e.csv", text.encode(encoding), block, encoding=encoding)
    assert rows == [(1, ["Köln", "1"]), (2, ["Düsseldorf", "2"])]


def test_a_wrong_byte_is_named_by_its_line_in_any_part(tmp_path: Path) -> None:
    for block in (1, 4, 1 << 20):
        with pytest.raises(ImportFailed, match="line 3: byte 0xfc is not utf-8"):
            rows_of(tmp_path / "e.csv", b"a,b\nx,1\n\xfcber,2\n", block)
