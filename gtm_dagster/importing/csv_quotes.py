"""Where the rows of CSV bytes end, and which of them have text behind a closing quote.

Parsers take such a text as it comes and change it without a word, so the row is cut out before one sees it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import numpy as np

_LINE_ENDS = b"\r\n"


class OpenQuote(ValueError):
    """A quote opens at byte `start` of the row and never closes."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


@dataclass(frozen=True)
class Dialect:
    """How the cells of a CSV file are written; empty `quote` or `escape`: there is none."""

    delimiter: bytes
    quote: bytes
    escape: bytes


@dataclass(frozen=True)
class WholeRows:
    """The first whole rows of some bytes.

    `end`: the byte after them. `rows`: their bytes without the bad ones. `bad`: (place among the rows that are not blank,
    from 0; bytes) of each row with text behind a closing quote.
    """

    end: int
    rows: bytes
    bad: tuple[tuple[int, bytes], ...] = ()


def whole_rows(data: bytes, dialect: Dialect, *, is_last: bool) -> WholeRows:
    """The whole rows that `data` begins with. `is_last`: nothing follows `data`. Raises OpenQuote."""
    has_escape = bool(dialect.escape) and dialect.escape in data
    if not has_escape:
        end = _end_where_regular(data, dialect, is_last)
        if end is not None:
            return WholeRows(end, data[:end])
    return _scanned(data, dialect, is_last, has_escape)


def first_row(data: bytes, dialect: Dialect, *, is_last: bool) -> tuple[bytes, int]:
    """(bytes of the first row, the byte after it), (b"", 0) when it is not whole. Raises OpenQuote."""
    match = _patterns(dialect)[0](data, 0)
    if match and (is_last or match.end() < len(data) or match[2] == b"\n"):
        return match[1], match.end()
    if is_last:
        raise OpenQuote(0)
    return b"", 0


def _end_where_regular(data: bytes, dialect: Dialect, is_last: bool) -> int | None:
    """The byte after the last whole row; None where a quote is anywhere but around a cell or doubled inside one."""
    all_bytes = np.frombuffer(data, np.uint8)
    is_quote = np.zeros(len(data), bool) if not dialect.quote else all_bytes == dialect.quote[0]
    end = len(data) if is_last else _last_line_end(data, is_quote, dialect.quote)
    if not is_quote[:end].any():
        return end
    is_inside = np.logical_xor.accumulate(
        is_quote[:end]
    )  # from the quote that opens to the byte before the one that closes
    around = all_bytes[: end + 1] == dialect.quote[0]
    for byte in dialect.delimiter + _LINE_ENDS:
        around |= all_bytes[: end + 1] == byte
    opens, closes = is_quote[:end] & is_inside, is_quote[:end] & ~is_inside
    if (opens[1:] > around[: end - 1]).any() or (closes[: len(around) - 1] > around[1:]).any():
        return None
    if is_inside[-1]:  # only in the last block
        place = data.rfind(dialect.quote, 0, end)
        raise OpenQuote(_last_line_end(data[:place] + b"x", is_quote[: place + 1], dialect.quote))
    return end


def _last_line_end(data: bytes, is_quote: np.ndarray, quote: bytes) -> int:
    """The byte after the last line end that is in no quoted cell; 0 when there is none."""
    before = last = len(data)
    count = int(np.count_nonzero(is_quote))
    while True:
        place = max(data.rfind(b"\n", 0, before), data.rfind(b"\r", 0, before))
        if place < 0:
            return 0
        count -= int(np.count_nonzero(is_quote[place:last]))
        last = place
        if count % 2:
            before = data.rfind(quote, 0, place)
        elif data[place] == 13 and place == len(data) - 1:  # the line feed of a pair may follow
            before = place
        else:
            return place + 1


def _scanned(data: bytes, dialect: Dialect, is_last: bool, has_escape: bool) -> WholeRows:
    row_at, is_good = _patterns(dialect if has_escape else Dialect(dialect.delimiter, dialect.quote, b""))
    kept: list[bytes] = []
    bad: list[tuple[int, bytes]] = []
    start = run = count = 0
    while start < len(data):
        match = row_at(data, start)
        end = match.end() if match else len(data)
        if match is None or (end == len(data) and not match[2]) or (match[2] == b"\r" and end == len(data)):
            if not is_last:
                break
            if match is None:
                raise OpenQuote(start)
        row = match[1]
        if row and dialect.quote and dialect.quote in row and not is_good(row):
            kept.append(data[run:start])
            run = end
            bad.append((count, row))
        count += bool(row)
        start = end
    kept.append(data[run:start])
    return WholeRows(start, b"".join(kept), tuple(bad))


@cache
def _patterns(dialect: Dialect) -> tuple:
    """(match of a row at a place: its text, its line end), (full match of a row without text behind a closing quote)."""
    delimiter, quote, escape = (re.escape(part) for part in (dialect.delimiter, dialect.quote, dialect.escape))
    escaped = b"|" + escape + rb"(?:.|\Z)" if escape else b""
    text = b"(?:[^" + delimiter + escape + rb"\r\n]" + escaped + b")*+"
    field, good = text, text
    if quote:
        inside = b"[^" + quote + escape + b"]*+"
        quoted = quote + inside + b"(?:(?:" + quote + quote + escaped + b")" + inside + b")*+" + quote
        unquoted = b"(?!" + quote + b")" + text
        field = b"(?:" + quoted + text + b"|" + unquoted + b")"
        good = b"(?:" + quoted + b"|" + unquoted + b")"
    row = field + b"(?:" + delimiter + field + b")*+"
    ends = re.compile(b"(" + row + rb")(\r\n|\n|\r|\Z)", re.DOTALL)
    return ends.match, re.compile(good + b"(?:" + delimiter + good + b")*+", re.DOTALL).fullmatch
