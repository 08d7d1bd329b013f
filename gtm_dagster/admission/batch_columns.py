"""Columns of a batch: in one piece, and a function applied once to each distinct text."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.taxonomy.absent import present_id

WRITTEN_TIME = "written_time"
"""The column with the time as the file wrote it; events before admission have it."""

TIME_REASON = "time_reason"
"""The column with the reason code of a time that could not be read, null beside one that could."""


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column in one piece."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks == 1:
            return column.chunk(0)
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column


def each_distinct(array: pa.Array, function: Callable[[str], str | None]) -> pa.Array:
    """`function` of every text, called once for each distinct one; null stays null."""
    if array.null_count == len(array):
        return array
    coded = array.dictionary_encode()
    return pa.array([function(text) for text in coded.dictionary.to_pylist()], pa.string()).take(coded.indices)


_NAMES_SOMETHING = "(?i)[1-9ghkmpqrsvwxyz_@:]"
"""A character that no word for nothing has."""


def present_ids(ids: pa.Array) -> pa.Array:
    """The ids, null where a text names nothing (`taxonomy.absent`)."""
    doubtful = pc.fill_null(pc.invert(pc.match_substring_regex(ids, _NAMES_SOMETHING)), False)
    if not pc.any(doubtful).as_py():
        return ids
    return pc.if_else(doubtful, each_distinct(pc.if_else(doubtful, ids, None), present_id), ids)
