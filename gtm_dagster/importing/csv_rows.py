"""CSV files as rows, a part of the file at a time, every column as text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from gtm_dagster.importing.csv_quotes import Dialect, OpenQuote, first_row, whole_rows
from gtm_dagster.importing.file_bytes import BLOCK, ImportFailed, SourceFile, text_blocks
from gtm_dagster.importing.file_rows import BrokenRow, Rows
from gtm_dagster.importing.mapping import Mapping, used_columns
from gtm_dagster.taxonomy.event import FieldError

_EXCEL_DELIMITER = re.compile(rb'"?sep=([\t -~])"?', re.IGNORECASE)
"""A first line that says only by what cells are divided, as Excel writes and reads it: the header is the line behind it."""
_TITLES = 20
"""Lines in which the header is looked for."""
_LONGEST_ROW = 64 << 20
_LONGEST_HEADER = 1 << 20
_QUOTE_HELP = 'close it, set quote = "" in a mapping when the file does not quote, or escape = "\\\\" when it writes \\" inside quotes'


def csv_rows(source: SourceFile, mapping: Mapping, block: int = BLOCK) -> Iterator[Rows]:
    """The rows of a CSV file in parts of about `block` bytes, at least one. Raises ImportFailed."""
    return _CsvReader(source, mapping).rows(block)


class _CsvReader:
    def __init__(self, source: SourceFile, mapping: Mapping) -> None:
        self._source = source
        self._read_as(mapping)
        self._names: list[str] = []
        self._rows_done = 0
        self._lines_done = 0

    def _read_as(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._dialect = Dialect(mapping.delimiter.encode(), mapping.quote.encode(), mapping.escape.encode())

    def rows(self, block_size: int) -> Iterator[Rows]:
        buffer = b""
        for block, is_last in _and_whether_last(text_blocks(self._source, self._mapping.encoding, block_size)):
            buffer += block
            if not self._names:
                buffer = self._without_header(buffer, is_last)
                if not self._names:
                    continue
            try:
                part = whole_rows(buffer, self._dialect, is_last=is_last)
            except OpenQuote as quote:
                raise self._failure(buffer, quote.start, f"opens a quote that never closes; {_QUOTE_HELP}") from None
            if not part.end and len(buffer) > _LONGEST_ROW:
                raise self._failure(buffer, 0, f"is longer than 64 MiB; if a quote in it never closes, {_QUOTE_HELP}")
            if part.end or is_last:
                yield self._part(part.rows, part.bad)
            self._lines_done += buffer.count(b"\n", 0, part.end)
            buffer = buffer[part.end :]

    def _failure(self, buffer: bytes, start: int, what: str) -> ImportFailed:
        line = self._lines_done + buffer.count(b"\n", 0, start) + 1
        return ImportFailed(f"{self._source.path}: the row at line {line} {what}")

    def _without_header(self, buffer: bytes, is_last: bool) -> bytes:
        """`buffer` after the header, which becomes the names; as it is while the header is not whole."""
        path = self._source.path
        blank = len(buffer) - len(buffer.lstrip(b"\r\n"))
        try:
            row, end = first_row(buffer[blank:], self._dialect, is_last=is_last or len(buffer) > _LONGEST_HEADER)
        except OpenQuote:
            raise ImportFailed(f"{path}: the header opens a quote that never closes; {_QUOTE_HELP}") from None
        if not end:
            return buffer
        named = _EXCEL_DELIMITER.fullmatch(row)
        if named and not self._lines_done:
            self._read_as(msgspec.structs.replace(self._mapping, delimiter=named[1].decode()))
            self._lines_done = buffer.count(b"\n", 0, blank + end)
            return self._without_header(buffer[blank + end :], is_last)
        cells = _cells(row.decode("utf-8", "replace"), self._mapping)
        wanted = used_columns(self._mapping) - {cell.strip() for cell in cells or ()}
        if wanted:
            is_enough = is_last or buffer.count(b"\n", blank + end) > 2 * _TITLES or len(buffer) > _LONGEST_HEADER
            if not is_enough:
                return buffer
            behind = self._behind_titles(buffer[blank + end :], is_last)
            if behind is not None:
                cells, titles = behind
                end += titles
        if not cells or b"\x00" in row or len(row) > _LONGEST_HEADER:
            raise ImportFailed(f"{path}: the header line is not text; is it a CSV file?")
        end += blank
        self._names = [cell.strip() or f"column_{i + 1}" for i, cell in enumerate(cells)]
        twice = sorted({name for name in self._names if self._names.count(name) > 1})
        if twice:
            raise ImportFailed(f"{path}: the header names {', '.join(twice)} twice; rename one of them")
        self._lines_done += buffer.count(b"\n", 0, end)
        return buffer[end:]

    def _behind_titles(self, rest: bytes, is_last: bool) -> tuple[list[str], int] | None:
        """The row with all columns that the mapping reads, and where it ends: reports begin with lines of title, as those of
        Google Analytics do. None where none of the next rows has them."""
        wanted = used_columns(self._mapping)
        at = 0
        for _ in range(_TITLES):
            at += len(rest[at:]) - len(rest[at:].lstrip(b"\r\n"))
            try:
                row, end = first_row(rest[at : at + _LONGEST_HEADER], self._dialect, is_last=is_last)
            except OpenQuote:
                return None
            if not end:
                return None
            at += end
            cells = _cells(row.decode("utf-8", "replace"), self._mapping) or []
            if wanted <= {cell.strip() for cell in cells}:
                return cells, at
        return None

    def _part(self, text: bytes, bad: tuple[tuple[int, bytes], ...]) -> Rows:
        rejected: list[pacsv.InvalidRow] = []
        table = self._table(text, rejected)
        count = table.num_rows + len(rejected)
        cut = np.fromiter((place for place, _ in bad), np.int64, len(bad))
        numbers = np.delete(np.arange(count + len(bad)), cut) + self._rows_done + 1
        broken = [
            BrokenRow(
                self._rows_done + place + 1,
                row.decode("utf-8", "replace"),
                FieldError("", "bad_quotes", "text behind a closing quote; double quotes inside quotes, or name the escape in a mapping"),
            )
            for place, row in bad
        ]  # fmt: skip
        self._rows_done += count + len(bad)
        return _with_ragged(table, self._names, numbers, rejected, broken, self._mapping)

    def _table(self, text: bytes, rejected: list[pacsv.InvalidRow]) -> pa.Table:
        mapping, names = self._mapping, self._names
        quote: str | bool = mapping.quote or False
        if mapping.escape and mapping.escape.encode() in text:
            text = _without_escaped_nulls(text, self._dialect, mapping)

        def collect(row: pacsv.InvalidRow) -> str:
            rejected.append(row)
            return "skip"

        try:
            return pacsv.read_csv(
                pa.BufferReader(text),
                read_options=pacsv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
                parse_options=pacsv.ParseOptions(
                    delimiter=mapping.delimiter, quote_char=quote, double_quote=bool(quote),
                    escape_char=mapping.escape or False, newlines_in_values=bool(quote) or bool(mapping.escape),
                    invalid_row_handler=collect,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types={name: pa.string() for name in names}, strings_can_be_null=True,
                    null_values=list(mapping.null_values), quoted_strings_can_be_null=True,
                ),
            )  # fmt: skip
        except pa.ArrowInvalid as error:
            if text.strip(b"\r\n") and not rejected:
                raise ImportFailed(
                    f"{self._source.path}: is not a readable CSV file ({error}); check delimiter and quotes"
                ) from error
            return pa.table({name: pa.array([], pa.string()) for name in names})


def _and_whether_last(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    block = next(blocks, b"")
    for following in blocks:
        yield block, False
        block = following
    yield block, True


def _without_escaped_nulls(text: bytes, dialect: Dialect, mapping: Mapping) -> bytes:
    """`text` with cells that are the escape and N alone empty: MySQL writes NULL so, and a parser would make N of it."""
    empty = next((value for value in mapping.null_values if mapping.escape not in value), None)
    if empty is None:
        return text
    quote, escape, delimiter = (re.escape(part) for part in (dialect.quote, dialect.escape, dialect.delimiter))
    beside = b"[^" + delimiter + rb"\r\n]"
    null = b"(?<!" + beside + b")" + escape + b"N(?!" + beside + b")"
    inside = b"[^" + quote + escape + b"]*+"
    quoted = quote + inside + b"(?:" + escape + b"." + inside + b")*+" + quote
    pattern = re.compile((quoted + b"|" if quote else b"") + b"(" + null + b")", re.DOTALL)
    return pattern.sub(lambda match: empty.encode() if match[1] else match[0], text)


def _with_ragged(
    table: pa.Table, names: list[str], numbers: np.ndarray, rejected: list[pacsv.InvalidRow], broken: list[BrokenRow],
    mapping: Mapping,
) -> Rows:  # fmt: skip
    """The readable rows, then the padded ones; `numbers` holds the place in the file of every row that was parsed."""
    padded: list[list[str | None]] = []
    padded_numbers: list[int] = []
    places = [row.number - 1 for row in rejected]
    for row, place in zip(rejected, places, strict=True):
        cells = _cells(row.text, mapping)
        if mapping.ragged == "pad" and cells is not None and len(cells) < len(names):
            padded.append(
                [None if cell in mapping.null_values else cell for cell in cells] + [None] * (len(names) - len(cells))
            )
            padded_numbers.append(int(numbers[place]))
        else:
            message = f"{row.actual_columns} fields, the header has {row.expected_columns}"
            broken.append(BrokenRow(int(numbers[place]), row.text, FieldError("", "ragged_row", message)))
    numbers = np.concatenate([np.delete(numbers, places), np.array(padded_numbers, np.int64)])
    if padded:
        columns = {name: pa.array([row[i] for row in padded], pa.string()) for i, name in enumerate(names)}
        table = pa.concat_tables([table, pa.table(columns)])
    return Rows(table, numbers, broken)


def _cells(text: str, mapping: Mapping) -> list[str] | None:
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=mapping.delimiter,
        quotechar=mapping.quote or None,
        quoting=csv.QUOTE_MINIMAL if mapping.quote else csv.QUOTE_NONE,
        escapechar=mapping.escape or None,
    )
    try:
        return next(reader, None)
    except csv.Error:
        return None
