"""Files into rows, a part at a time, so that memory does not grow with the file; a row that cannot be read is a `BrokenRow`."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.importing.csv_rows import csv_rows
from gtm_dagster.importing.file_bytes import ImportFailed, SourceFile
from gtm_dagster.importing.file_rows import Rows
from gtm_dagster.importing.mapping import Mapping
from gtm_dagster.importing.ndjson import tables_of_lines

_PARQUET_ROWS = 100_000
_KINDS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".parquet": "parquet", ".pq": "parquet"}  # fmt: skip


_WORKBOOKS = {b"PK\x03\x04": "a zip file, as workbooks of Excel are", b"\xd0\xcf\x11\xe0": "a workbook of Excel"}


def kind_of(source: SourceFile) -> str:
    """csv, ndjson or parquet. Raises ImportFailed."""
    head = source.head(4)
    if head == b"PAR1":
        return "parquet"
    if head in _WORKBOOKS:
        raise ImportFailed(
            f"{source.path}: is {_WORKBOOKS[head]}; save its sheet as CSV, or unpack it, and import that"
        )
    suffixes = [suffix.lower() for suffix in source.path.suffixes if suffix.lower() != ".gz"]
    kind = _KINDS.get(suffixes[-1] if suffixes else "")
    if kind is None:
        raise ImportFailed(
            f"{source.path}: its name does not show its format; rename it to .csv, .ndjson or .parquet (.gz is fine)"
        )
    return kind


def read_rows(source: SourceFile, kind: str, mapping: Mapping | None) -> Iterator[Rows]:
    """The rows of a file of this kind in parts, at least one; without a mapping, a .tsv file is delimited by tabs.

    Raises ImportFailed.
    """
    if kind == "parquet":
        return read_parquet(source)
    is_tsv = mapping is None and ".tsv" in {suffix.lower() for suffix in source.path.suffixes}
    layout = mapping or (Mapping(delimiter="\t") if is_tsv else Mapping())
    return csv_rows(source, layout) if kind == "csv" else tables_of_lines(source, layout.encoding)


def read_parquet(source: SourceFile) -> Iterator[Rows]:
    """The rows of a Parquet file, columns in their own types. Raises ImportFailed."""
    try:
        with source.open() as opened:
            file = pq.ParquetFile(pa.PythonFile(opened, "r"))
            yield from _parquet_parts(source, file)
    except (pa.ArrowException, OSError) as error:
        raise ImportFailed(f"{source.path}: is not a whole Parquet file ({error}); fetch it again") from error


def _parquet_parts(source: SourceFile, file: pq.ParquetFile) -> Iterator[Rows]:
    names = file.schema_arrow.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ImportFailed(f"{source.path}: has the column {', '.join(twice)} twice; rename one of them")
    done = 0
    for batch in file.iter_batches(_PARQUET_ROWS):
        source.done = (done + batch.num_rows) / file.metadata.num_rows
        yield Rows(pa.Table.from_batches([batch]), range(done + 1, done + batch.num_rows + 1))
        done += batch.num_rows
    if not done:
        yield Rows(file.schema_arrow.empty_table(), range(0))
