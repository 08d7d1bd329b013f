"""Texts of whole columns: values as text or JSON, JSON objects joined from columns, ids of rows."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.batch_columns import each_distinct, one_array
from gtm_dagster.importing.numbers import number_format

_NAMESPACE = uuid.UUID("6e1f3c0a-7d0b-5b5e-9a53-0f2a4f6d9c11")
_BOOLEANS = {"true": "true", "false": "false", "1": "true", "0": "false", "t": "true", "f": "false"}


def as_text(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The column as text; nested values as JSON, whole floats without a fraction. Nulls stay."""
    array = one_array(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type):
        return array
    if pa.types.is_nested(array.type):
        return pa.array([None if v is None else _json_of_nested(v) for v in array.to_pylist()], pa.string())
    return array.cast(pa.string())


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _json_of_nested(value: object) -> str:
    text = _json(value)
    if "null" in text:
        try:
            json.dumps(value, allow_nan=False, default=str)
        except ValueError:  # msgspec writes NaN as null; json writes NaN, which the plan refuses
            return json.dumps(value, default=str)
    return text


def json_text(array: pa.Array, kind: str = "string", number: Callable[[str], str | None] | None = None) -> pa.Array:
    """The JSON of every value as `kind`; a text that is not a number (boolean) stays a string, and the plan refuses it.

    `number` makes a JSON number of a text, or None (`numbers.number_format`; a decimal point when it is None).
    """
    number = number or number_format(None, "")

    def json_of(text: str) -> str:
        if kind == "number":
            return number(text) or _json(text)
        if kind == "boolean" and text.strip().lower() in _BOOLEANS:
            return _BOOLEANS[text.strip().lower()]
        return _json(text)

    if kind == "string" and not _has_special(array):
        return pc.binary_join_element_wise('"', array, '"', "")
    return each_distinct(array, json_of)


def _has_special(array: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(array, r'["\\\x00-\x1f\x7f]')).as_py())


def json_object(parts: Iterable[tuple[str, pa.Array]], length: int) -> pa.Array:
    """JSON objects from (name, JSON texts), names sorted; a null value is left out."""
    joined = [
        pc.fill_null(pc.binary_join_element_wise(f",{_json(name)}:", array, ""), "") for name, array in sorted(parts)
    ]
    if not joined:
        return pa.repeat("{}", length)
    body = pc.binary_join_element_wise(*joined, "") if len(joined) > 1 else joined[0]
    body = pc.utf8_replace_slice(body, start=0, stop=1, replacement="")
    return pc.binary_join_element_wise("{", body, "}", "")


class RowIds:
    """Ids of rows that carry none: UUIDv5 of write key, row (canonical JSON) and ordinal among equal rows of the file.

    `event_no` tells the events of one row apart; 0, the first, adds nothing.
    """

    def __init__(self, write_key: str, event_no: int = 0) -> None:
        self._base = hashlib.sha1(_NAMESPACE.bytes + write_key.encode() + b"\x00", usedforsecurity=False)
        self._extra = f"\x00{event_no}" if event_no else ""

    def __call__(self, row: str, ordinal: int) -> str:
        digest = self._base.copy()
        digest.update(f"{row}\x00{ordinal}{self._extra}".encode())
        number = int.from_bytes(digest.digest()[:16])
        number = (number & ~(0xF000 << 64) & ~(0xC000 << 48)) | (5 << 76) | (0x8000 << 48)
        h = f"{number:032x}"
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


class Ordinals:
    """The ordinal of each row among the equal rows of a file that is read in parts."""

    def __init__(self) -> None:
        self._hashes = np.empty(0, np.uint64)
        self._counts = np.empty(0, np.int64)

    def of(self, rows: pa.Array) -> np.ndarray:
        """The ordinals of further rows (texts, no nulls), from 0."""
        if not len(rows):
            return np.empty(0, np.int64)
        hashes = pd.util.hash_array(rows.to_numpy(zero_copy_only=False), categorize=False)
        series = pd.Series(hashes)
        ordinals = series.groupby(series, sort=False).cumcount().to_numpy()
        fresh, counts = np.unique(hashes, return_counts=True)
        if len(self._hashes):
            place = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
            ordinals = ordinals + np.where(self._hashes[place] == hashes, self._counts[place], 0)
        self._add(fresh, counts)
        return ordinals

    def _add(self, fresh: np.ndarray, counts: np.ndarray) -> None:
        hashes, place = np.unique(np.concatenate([self._hashes, fresh]), return_inverse=True)
        total = np.zeros(len(hashes), np.int64)
        np.add.at(total, place, np.concatenate([self._counts, counts]))
        self._hashes, self._counts = hashes, total


def row_ids(write_key: str, rows: pa.Array, event_no: int, wanted: pa.Array, ordinals: np.ndarray) -> pa.Array:
    """The id of every row, in the order of `rows`; null where `wanted` is false."""
    id_of = RowIds(write_key, event_no)
    return pa.array(
        [
            id_of(row, ordinal) if is_wanted else None
            for row, ordinal, is_wanted in zip(rows.to_pylist(), ordinals.tolist(), wanted.to_pylist(), strict=True)
        ],
        pa.string(),
    )
