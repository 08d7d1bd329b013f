"""`import_spend`: daily ad spend of one file, judged row by row, into a landing zone of its own."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.admission.write_key import NAME_RULE, is_write_key
from gtm_dagster.importing.file_bytes import ImportFailed, SourceFile, find_file, text_blocks
from gtm_dagster.importing.numbers import number_format
from gtm_dagster.importing.result import ImportResult, Reason
from gtm_dagster.importing.spend_mapping import COUNTS, LAST_DAY, NEEDED, SPEND_FIELDS, TEXTS, SpendMapping
from gtm_dagster.taxonomy.event import EMAIL

SPEND_SCHEMA = pa.schema(
    [("write_key", pa.string()), ("day", pa.date32()), *((name, pa.string()) for name in TEXTS), ("cost", pa.float64()),
     *((name, pa.int64()) for name in COUNTS), ("row_no", pa.int64())]
)  # fmt: skip
_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_LONGEST = 512
_FIRST_DAY, _LAST_DAY = date(2000, 1, 1), date(2100, 1, 1)
_SHOWN = 3
_EXCEL_DELIMITER = re.compile(r'"?sep=([\t -~])"?(\r\n?|\n)', re.IGNORECASE)
"""A first line that says only by what cells are divided."""
_TITLES = 20
"""Lines in which the header is looked for: Google Ads has 2 lines of title before it, LinkedIn 5."""
_MORE = "\x00more"
"""Where the CSV reader puts fields behind the last column."""

Refusal = tuple[str, str, str]
"""Field, code and message."""


class SpendZone(Protocol):
    """Where spend lands (`warehouse.landing.landed_spend.SpendLanding` is one)."""

    @property
    def folder(self) -> Path: ...

    def has(self, name: str) -> bool:
        """Whether the batch `name` has landed whole."""
        ...

    def rows_of(self, name: str) -> int: ...

    def write(self, table: pa.Table, name: str, *, file: str, mapping: str | None, write_key: str) -> list[Path]:
        """Land `table` (SPEND_SCHEMA) as the batch `name`, whole or not at all. Raises OSError."""
        ...


def import_spend(
    path: Path, *, landing: SpendZone, write_key: str, mapping: SpendMapping | None = None, mapping_name: str | None = None,
    dry_run: bool = False,
) -> ImportResult:  # fmt: skip
    """Land the rows of a CSV or Parquet file: day, source or channel, currency, cost, and the optional fields.

    A refused row does not land; the result has its reason. Which import of a row counts is `core.spend`'s to say. Raises
    ImportFailed; then nothing has landed.
    """
    if not is_write_key(write_key):
        raise ImportFailed(f"write key {write_key!r}: {NAME_RULE}")
    path, rules = Path(path), mapping or SpendMapping()
    source = find_file(path)
    digest = source.sha256()
    for part in (rules.fingerprint, write_key):
        digest.update(b"\x00" + part.encode())
    name = f"spend-{digest.hexdigest()[:16]}"
    if landing.has(name) and not dry_run:
        rows = landing.rows_of(name)
        return ImportResult(rows, 0, duplicates=rows, quarantined=0, suppressed=0, name=name, known_before=True)
    names, lines = _lines(source, rules)
    columns = {
        **{field: field for field in (*SPEND_FIELDS, LAST_DAY) if field in names and field not in rules.constants},
        **rules.columns,
    }
    there = {*columns, *rules.constants}
    missing = [column for column in rules.columns.values() if column not in names]
    missing += [field for field in NEEDED if field not in there]
    if "source" not in there and "channel" not in there:
        missing.insert(0, "source")
    if missing:
        raise ImportFailed(
            f"{path}: has no column {', '.join(missing)}; it has {', '.join(names[:20])}. {_way_out(names, rules)}"
        )
    accepted: list[dict[str, Any]] = []
    refused: dict[Refusal, list[int]] = {}
    bad = total = 0
    for total, line in enumerate(lines, 1):
        texts = {**rules.constants, **{field: line.get(column) for field, column in columns.items()}}
        row, refusals = _judged(texts, rules)
        if _MORE in line:
            refusals.append(("", "ragged", "has more fields than the header"))
        for refusal in refusals:
            refused.setdefault(refusal, []).append(total)
        if refusals:
            bad += 1
        else:
            accepted.append({**row, "write_key": write_key, "row_no": total})
    table = pa.Table.from_pylist(accepted, schema=SPEND_SCHEMA)
    files: list[Path] = []
    if accepted and not dry_run:
        try:
            files = landing.write(table, name, file=path.name, mapping=mapping_name, write_key=write_key)
        except OSError as error:
            raise ImportFailed(f"{landing.folder}: cannot be written ({error}); nothing was imported") from error
    return ImportResult(
        total, len(accepted), duplicates=0, quarantined=bad, suppressed=0, files=tuple(files), name=name,
        ignored=tuple(column for column in names if column not in columns.values()), known_before=landing.has(name) and dry_run,
        reasons=_reasons(refused), events=tuple({k: v for k, v in row.items() if v is not None} for row in accepted[:_SHOWN]),
    )  # fmt: skip


def _lines(source: SourceFile, rules: SpendMapping) -> tuple[list[str], Iterator[dict[str, str | None]]]:
    """(columns, rows of texts) of a CSV or Parquet file."""
    if source.head(4) == b"PAR1":
        try:
            with source.open() as file:
                table = pq.read_table(file)
        except (pa.ArrowException, OSError) as error:
            raise ImportFailed(f"{source.path}: is not a whole Parquet file ({error}); fetch it again") from error
        rows = table.to_pylist()
        return table.column_names, ({k: None if v is None else str(v) for k, v in row.items()} for row in rows)
    text = b"".join(text_blocks(source, rules.encoding)).decode("utf-8", "surrogatepass")
    named = _EXCEL_DELIMITER.match(text)
    rest = text[named.end() :] if named else text
    try:
        lines = [
            line
            for line in csv.reader(io.StringIO(rest, newline=""), delimiter=named[1] if named else rules.delimiter)
            if line
        ]
    except csv.Error as error:
        raise ImportFailed(
            f"{source.path}: is not a readable CSV file ({error}); check delimiter and quotes"
        ) from error
    start = _header(lines, rules)
    names = lines[start] if lines else []
    if not names or len(set(names)) < len(names):
        raise ImportFailed(f"{source.path}: its header is empty or names a column twice")
    return names, (_cells(names, line) for line in lines[start + 1 :])


def _header(lines: list[list[str]], rules: SpendMapping) -> int:
    """Which line names the columns: the first, or behind the titles that ad platforms write first the one with all columns
    that are asked for."""
    wanted = set(rules.columns.values()) | {
        field for field in NEEDED if field not in (*rules.columns, *rules.constants)
    }
    found = (number for number, line in enumerate(lines[:_TITLES]) if wanted <= set(line))
    return next(found, 0)


def _cells(names: list[str], line: list[str]) -> dict[str, str | None]:
    more = {_MORE: ""} if len(line) > len(names) else {}
    return {**dict(zip(names, line, strict=False)), **more}


def _way_out(names: list[str], rules: SpendMapping) -> str:
    """What may help where columns are missing."""
    other = next((sign for sign in ";\t,|" if sign != rules.delimiter and len(names) == 1 and sign in names[0]), None)
    if other is not None:
        return f"Its cells are divided by {other!r}: say delimiter = {json.dumps(other)} in the mapping"
    if rules.columns:
        return "[columns] of the mapping names columns as the file does; delimiter and encoding have to be those of the file"
    return "Map them with --mapping"


def _judged(texts: dict[str, Any], rules: SpendMapping) -> tuple[dict[str, Any], list[Refusal]]:
    """The row as it lands, and why it does not."""
    row: dict[str, Any] = {}
    refusals: list[Refusal] = []
    for field in SPEND_FIELDS:
        text = (texts.get(field) or "").strip()
        if not text:
            row[field] = None
            if field in NEEDED:
                refusals.append((field, "missing", f"{field} is needed"))
            continue
        value = _value(field, text, rules)
        if isinstance(value, tuple):
            refusals.append((field, *value))
        else:
            row[field] = value
    last = (texts.get(LAST_DAY) or "").strip()
    if last and row.get("day") is not None:
        until = _day(last, rules.day_format)
        if isinstance(until, tuple):
            refusals.append((LAST_DAY, *until))
        elif until != row["day"]:
            refusals.append((LAST_DAY, "several_days", "the row is of several days, such as a total; import it by day"))
    alone = (
        row.get("channel") and not row.get("medium") and not row.get("campaign")
    )  # stands for no campaign of a source
    if not (texts.get("source") or "").strip() and not alone:
        refusals.append(("source", "missing", "source is needed, or a channel alone"))
    return row, refusals


def _value(field: str, text: str, rules: SpendMapping) -> Any:
    """The value of a filled field, or (code, message)."""
    if field == "day":
        return _day(text, rules.day_format)
    if field == "cost" or field in COUNTS:
        return _number(text, rules, whole=field in COUNTS)
    if field == "currency":
        return text if _CURRENCY.match(text) else ("bad_currency", "not a code of ISO 4217, such as EUR")
    if field == "timezone":
        return text if _is_zone(text) else ("bad_timezone", "not an IANA time zone, such as America/New_York")
    if len(text) > _LONGEST:
        return "too_long", f"has more than {_LONGEST} characters"
    if EMAIL.search(text):
        return "personal_data", "looks like an e-mail address"
    return text.lower() if field == "medium" else text


@cache
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, or no name of a file
        return False
    return True


def _day(text: str, day_format: str | None) -> Any:
    day: date | None
    try:
        if day_format is not None:
            day = datetime.strptime(text, day_format).date()  # noqa: DTZ007 - a day has no zone
        else:
            day = date.fromisoformat(text[:10]) if re.fullmatch(r"\d{4}-\d\d-\d\d([T ]00:00:00.*)?", text) else None
    except ValueError:
        day = None
    if day is None:
        return "bad_day", f"not a day of the form {day_format or 'YYYY-MM-DD'}"
    return day if _FIRST_DAY <= day < _LAST_DAY else ("bad_day", "not a day from 2000 to 2099")


def _number(text: str, rules: SpendMapping, *, whole: bool) -> Any:
    plain = number_format(rules.decimal, rules.thousands)(text)
    number = float(plain) if plain is not None else math.nan
    if not math.isfinite(number) or (whole and not number.is_integer()):
        return "not_a_number", "not a whole number" if whole else "not a number; the mapping has decimal and thousands"
    if number < 0:
        return "negative", "is below 0"
    return int(number) if whole else number


def _reasons(refused: dict[Refusal, list[int]]) -> tuple[Reason, ...]:
    ordered = sorted(refused.items(), key=lambda each: (-len(each[1]), each[0]))
    return tuple(
        Reason(code, None, field, len(rows), tuple(rows[:_SHOWN]), message) for (field, code, message), rows in ordered
    )
