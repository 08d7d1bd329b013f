"""Reading a file of paths: CSV or Parquet, one path a row."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import csv, parquet


class PathsError(ValueError):
    """Paths that cannot be attributed; the message names the file, the row or column, and the way out."""


class PathsUsage(PathsError):
    """What was asked for cannot be done with any file, or names a column that this one does not have."""


_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NOT_UTF_8 = "its header is not UTF-8; save the file as UTF-8 with commas between its cells"


def read_paths(file: str | Path, *, text_columns: tuple[str, ...] = ("path",)) -> pd.DataFrame:
    """The rows of a CSV (also .gz, .bz2, .zst) or Parquet file; `text_columns` are never read as numbers.

    Raises PathsError for a file that is missing, unreadable, empty, ragged, not UTF-8, or names a column twice.
    """
    path = Path(file)
    if path.is_dir():
        raise PathsError(f"{path}: is a directory; name a CSV or Parquet file of paths")
    try:
        if path.stat().st_size == 0:
            raise PathsError(f"{path}: the file is empty; expected a header line and one path a row")
        if path.suffix.lower() in {".parquet", ".pq"}:
            table = parquet.read_table(path)
        else:
            with path.open("rb") as opened:
                if opened.read(2) in _UTF_16_MARKS:
                    raise PathsError(f"{path}: {_NOT_UTF_8}")
            options = csv.ConvertOptions(column_types={name: pa.large_string() for name in text_columns})
            table = csv.read_csv(path, convert_options=options, parse_options=csv.ParseOptions(newlines_in_values=True))
    except FileNotFoundError:
        raise PathsError(f"{path}: no such file") from None
    except PermissionError:
        raise PathsError(f"{path}: may not be read; check its permissions") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise PathsError(f"{path}: cannot be read as a table of paths: {str(error).strip()}") from None
    try:
        names = table.column_names
    except UnicodeDecodeError:
        raise PathsError(f"{path}: {_NOT_UTF_8}") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PathsError(f"{path}: column {twice[0]!r} is there more than once; rename one of them")
    columns = table.columns
    del table  # nothing else keeps the chunks that are put together
    return _in_one_piece(names, columns).to_pandas()


def _in_one_piece(names: list[str], columns: list[pa.ChunkedArray]) -> pa.Table:
    """The table with each text column as one array, the form in which paths are told apart without a further copy.

    A column at a time, which leaves `columns`, and memory goes back at once: the peak is that of reading.
    """
    pieces: list[pa.ChunkedArray] = []
    while columns:
        column = columns.pop(0)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pa.chunked_array([column.cast(pa.large_string()).combine_chunks()])
        pieces.append(column)
    pa.default_memory_pool().release_unused()
    return pa.table(pieces, names=names)
