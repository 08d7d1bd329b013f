"""Files into rows, whole or not at all: a row that cannot be read becomes a `BrokenRow`, so every row is counted."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from gtm_dagster.importing.mapping import Mapping
from gtm_dagster.taxonomy.event import FieldError

_LARGEST_BLOCK = 1 << 30


class ImportFailed(ValueError):
    """Nothing was imported; the message names the file, what is wrong with it and the way out."""


@dataclass(frozen=True)
class BrokenRow:
    """A row that does not fit the table: its number (from 1, without the header), its text and the reason."""

    row_no: int
    text: str
    error: FieldError


@dataclass(frozen=True)
class Rows:
    """Every row of a file: the readable ones as a table, the number of each of them, and the broken ones."""

    table: pa.Table
    numbers: list[int] | range
    broken: list[BrokenRow] = field(default_factory=list)


def read_bytes(path: Path) -> bytes:
    """The file's bytes as they are. Raises ImportFailed."""
    if path.is_dir():
        raise ImportFailed(f"{path}: is a directory; name the files in it")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImportFailed(f"{path}: does not exist; check the name") from None
    except PermissionError:
        raise ImportFailed(f"{path}: no permission to read it; run chmod u+r on it or ask its owner") from None
    except OSError as error:
        raise ImportFailed(f"{path}: cannot be read ({error})") from error
    if not data:
        raise ImportFailed(f"{path}: is empty; export it again")
    return data


def kind_of(path: Path, data: bytes) -> str:
    """csv, ndjson or parquet. Raises ImportFailed."""
    if data[:4] == b"PAR1":
        return "parquet"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".parquet": "parquet", ".pq": "parquet"}.get(suffixes[-1] if suffixes else "")  # fmt: skip
    if kind is None:
        raise ImportFailed(
            f"{path}: its name does not show its format; rename it to .csv, .ndjson or .parquet (.gz is fine)"
        )
    return kind


def plain_text(path: Path, data: bytes, encoding: str) -> bytes:
    """UTF-8 of a text file, unpacked, without a byte order mark. Raises ImportFailed."""
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ImportFailed(
                f"{path}: the gzip data is cut off or damaged ({error}); fetch the file again"
            ) from error
    elif path.suffix.lower() == ".gz":
        raise ImportFailed(f"{path}: is named .gz but is not gzip; rename it or fetch it again")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ImportFailed(
            f"{path}: line {line}: byte 0x{data[error.start]:02x} is not {encoding}; "
            'set encoding in a mapping (such as encoding = "latin-1") or convert the file'
        ) from error
    if text.startswith("\ufeff"):
        text = text[1:]
    elif encoding.lower().replace("-", "") == "utf8":
        return _not_blank(path, data)
    return _not_blank(path, text.encode("utf-8", "surrogatepass"))


def _not_blank(path: Path, data: bytes) -> bytes:
    if not data.strip():
        raise ImportFailed(f"{path}: is empty; export it again")
    return data


def read_csv(path: Path, data: bytes, mapping: Mapping) -> Rows:
    """The rows of a CSV file, every column as text. Raises ImportFailed."""
    text = plain_text(path, data, mapping.encoding)
    quote: str | bool = mapping.quote or False
    if mapping.quote and text.count(mapping.quote.encode()) % 2:
        _check_quotes(path, text, mapping)
    names = _header(path, text, mapping)
    rejected: list[pacsv.InvalidRow] = []

    def collect(row: pacsv.InvalidRow) -> str:
        rejected.append(row)
        return "skip"

    try:
        table = pacsv.read_csv(
            pa.BufferReader(text),
            read_options=pacsv.ReadOptions(
                use_threads=False, block_size=min(len(text) + 1, _LARGEST_BLOCK), column_names=names, skip_rows=0,
                skip_rows_after_names=1,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=mapping.delimiter, quote_char=quote, double_quote=bool(quote), newlines_in_values=bool(quote),
                invalid_row_handler=collect,
            ),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.string() for name in names}, strings_can_be_null=True,
                null_values=list(mapping.null_values), quoted_strings_can_be_null=True,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error) and "skip" not in str(error):
            raise ImportFailed(f"{path}: is not a readable CSV file ({error}); check delimiter and quotes") from error
        table = pa.table({name: pa.array([], pa.string()) for name in names})
    return _with_ragged(table, names, rejected, mapping)


def _with_ragged(table: pa.Table, names: list[str], rejected: list[pacsv.InvalidRow], mapping: Mapping) -> Rows:
    """The readable rows, then the padded ones; `numbers` holds the place of each in the file."""
    padded: list[list[str | None]] = []
    padded_numbers: list[int] = []
    broken: list[BrokenRow] = []
    rejected_numbers: set[int] = set()
    for row in rejected:
        number = row.number - 1
        rejected_numbers.add(number)
        cells = _cells(row.text, mapping)
        if mapping.ragged == "pad" and cells is not None and len(cells) < len(names):
            padded.append(
                [None if cell in mapping.null_values else cell for cell in cells] + [None] * (len(names) - len(cells))
            )
            padded_numbers.append(number)
        else:
            message = f"{row.actual_columns} fields, the header has {row.expected_columns}"
            broken.append(BrokenRow(number, row.text, FieldError("", "ragged_row", message)))
    if not rejected_numbers:
        return Rows(table, range(1, table.num_rows + 1))
    last = table.num_rows + len(rejected_numbers)
    numbers = [n for n in range(1, last + 1) if n not in rejected_numbers] + padded_numbers
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
    )
    try:
        return next(reader, None)
    except csv.Error:
        return None


def _header(path: Path, text: bytes, mapping: Mapping) -> list[str]:
    line = text.lstrip(b"\r\n")[: 1 << 20].splitlines()[0].decode("utf-8", "replace")
    cells = _cells(line, mapping) or []
    if "\x00" in line or not cells:
        raise ImportFailed(f"{path}: the header line is not text; is it a CSV file?")
    names = [cell.strip() or f"column_{i + 1}" for i, cell in enumerate(cells)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ImportFailed(f"{path}: the header names {', '.join(twice)} twice; rename one of them")
    return names


def _check_quotes(path: Path, text: bytes, mapping: Mapping) -> None:
    reader = csv.reader(
        io.StringIO(text.decode(), newline=""), delimiter=mapping.delimiter, quotechar=mapping.quote, strict=True
    )
    before = csv.field_size_limit(max(len(text), 131_072))
    try:
        line = 1
        for _ in reader:
            line = reader.line_num + 1
    except csv.Error as error:
        raise ImportFailed(
            f'{path}: the row at line {line} opens a quote that never closes ({error}); close it, or set quote = "" in a mapping'
        ) from error
    finally:
        csv.field_size_limit(before)


def read_parquet(path: Path, data: bytes) -> Rows:
    """The rows of a Parquet file, columns in their own types. Raises ImportFailed."""
    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise ImportFailed(f"{path}: is not a whole Parquet file ({error}); fetch it again") from error
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise ImportFailed(f"{path}: has the column {', '.join(twice)} twice; rename one of them")
    return Rows(table, range(1, table.num_rows + 1))
