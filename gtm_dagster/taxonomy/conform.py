"""A landing frame in the types that the schema checks; a frame that has no such types breaks the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, ID_LIMITS

if TYPE_CHECKING:  # many modules want ContractBreak alone
    from collections.abc import Sequence

    import pandas as pd

TEXT_COLUMNS = (*ID_LIMITS, "event_name", "properties", *CONTEXT_LIMITS, "device_type", "consent")
INT_COLUMNS = ("event_us", "received_us")


class ContractBreak(ValueError):
    """The frame is not a landing frame: a column is missing or has another type. None of its rows was judged."""


def conform(frame: pd.DataFrame, names: Sequence[str] = (*TEXT_COLUMNS, *INT_COLUMNS)) -> pd.DataFrame:
    """The judged columns `names` of `frame`, texts as `str`, times as `Int64`, index 0..n-1. Raises ContractBreak.

    All-null columns may have any type. Whole floats count as integers: pandas makes floats of integers with a null.
    """
    import pandas as pd

    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ContractBreak(f"landing column {', '.join(missing)} is missing; land the batch again with this version")
    columns = {name: (_texts if name in TEXT_COLUMNS else _integers)(name, frame[name]) for name in names}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)))


def _texts(name: str, series: pd.Series) -> pd.Series:
    import pandas as pd

    if series.dtype == "str":
        return series.reset_index(drop=True)
    array = _arrow(name, series)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or array.null_count == len(array)):
        raise ContractBreak(f"landing column {name} holds {array.type}, not text; land the batch again")
    return pd.Series(array.cast(pa.large_string()) if len(array) else [], dtype="str")


def _integers(name: str, series: pd.Series) -> pd.Series:
    import pandas as pd

    if pd.api.types.is_integer_dtype(series.dtype) and series.dtype != "uint64":
        return series.reset_index(drop=True).astype("Int64")
    array = _arrow(name, series)
    if array.null_count == len(array):
        array = pa.nulls(len(array), pa.int64())
    elif not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise ContractBreak(f"landing column {name} holds {array.type}, not integer microseconds; land the batch again")
    try:
        array = array.cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise ContractBreak(f"landing column {name} has numbers that are not whole microseconds ({error})") from error
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    return pd.Series(pd.arrays.IntegerArray(pc.fill_null(array, 0).to_numpy(zero_copy_only=False).copy(), ~valid))


def _arrow(name: str, series: pd.Series) -> pa.Array:
    try:
        array = pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
        raise ContractBreak(f"landing column {name} holds mixed types ({error})") from error
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
